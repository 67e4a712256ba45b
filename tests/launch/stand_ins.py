"""Stand-ins for ROS's `launch` and `launch_ros`, which no wheel has: they record what the launch files ask for."""

from __future__ import annotations

import runpy
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "launch"
GRAPHS = ("sim.launch.py", "real.launch.py")


@dataclass
class Recorded:
    """Any action or substitution: its class by name, and what it was made with."""

    kind: str
    positional: tuple[Any, ...]
    keywords: dict[str, Any]

    def perform(self, context: dict[str, str]) -> str:
        """As a `LaunchConfiguration`; an argument that nobody declared is a KeyError."""
        assert self.kind == "LaunchConfiguration"
        return context[self.positional[0]]


@dataclass
class Description:
    """LaunchDescription."""

    entities: list[Recorded]


_NAMES = {
    "launch": ("LaunchContext",),
    "launch.actions": (
        "DeclareLaunchArgument",
        "ExecuteProcess",
        "IncludeLaunchDescription",
        "LogInfo",
        "OpaqueFunction",
        "Shutdown",
    ),
    "launch.launch_description_sources": ("AnyLaunchDescriptionSource",),
    "launch.substitutions": ("LaunchConfiguration", "PathJoinSubstitution"),
    "launch_ros": (),
    "launch_ros.actions": ("Node",),
    "launch_ros.substitutions": ("FindPackageShare",),
}


def _recorder(kind: str) -> type:
    def make(*positional: Any, **keywords: Any) -> Recorded:
        return Recorded(kind, positional, keywords)

    return make  # type: ignore[return-value]


@contextmanager
def stand_ins() -> Iterator[None]:
    """In `sys.modules` for as long as the context lasts."""
    modules = {name: types.ModuleType(name) for name in _NAMES}
    for name, kinds in _NAMES.items():
        for kind in kinds:
            setattr(modules[name], kind, _recorder(kind))
    modules["launch"].LaunchDescription = Description  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


@dataclass
class Run:
    """One launch file, run with some arguments."""

    declared: dict[str, dict[str, Any]]
    actions: list[Recorded] = field(default_factory=list)

    def of(self, kind: str) -> list[Recorded]:
        return [action for action in self.actions if action.kind == kind]


def declared(file: str) -> Run:
    """The declared arguments of a launch file."""
    return run(file, None)


def run(file: str, arguments: dict[str, str] | None) -> Run:
    """Evaluate a launch file as `ros2 launch FILE name:=value ...` does; ``arguments`` None: only its description."""
    with stand_ins():
        namespace = runpy.run_path(str(FOLDER / file))
        entities = namespace["generate_launch_description"]().entities
        found = {e.keywords["name"]: e.keywords for e in entities if e.kind == "DeclareLaunchArgument"}
        result = Run(found)
        if arguments is None:
            return result
        unknown = set(arguments) - set(found)
        assert not unknown, f"not declared: {unknown}"
        context = {name: keywords["default_value"] for name, keywords in found.items()} | arguments
        for name, value in context.items():
            assert value in found[name].get("choices", [value]), f"{name}:={value}"
        for opaque in (e for e in entities if e.kind == "OpaqueFunction"):
            result.actions += opaque.keywords["function"](context)
    return result


def values_of(action: Recorded) -> dict[str, Any]:
    """Parameters that a started node ends up with: its files in order, the later one winning."""
    merged: dict[str, Any] = {}
    for path in action.keywords["parameters"]:
        for pattern, row in yaml.safe_load(Path(path).read_text()).items():
            if pattern in ("/**", f"/**/{action.keywords['executable']}"):
                merged |= row["ros__parameters"]
    return merged
