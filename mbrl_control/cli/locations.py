"""Where the files of a checkout or an installation are: arms, graph, parameter files, models."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from mbrl_control.robot import ArmError


def arm_file(robot: str) -> Path:
    """YAML of a named arm (`panda`), or of a path to an own one."""
    if robot.endswith(".urdf"):
        raise ArmError(f"{robot}: {_instead_of_urdf(Path(robot))}")
    if robot.endswith((".yaml", ".yml")):
        path = Path(robot)
        if not path.is_file():
            raise ArmError(f"{path}: no such arm description; name a YAML file or one of {', '.join(known_arms())}")
        return path.resolve()
    path = _robots_folder() / f"{robot}.yaml"
    if not path.is_file():
        raise ArmError(f"--robot {robot}: unknown arm; known: {', '.join(known_arms())}, or give a path to a YAML file")
    return path


def yaml_beside(urdf: Path) -> Path | None:
    """The arm description of that name beside a URDF."""
    return next((path for suffix in (".yaml", ".yml") if (path := urdf.with_suffix(suffix)).is_file()), None)


def _instead_of_urdf(path: Path) -> str:
    if not path.is_file():
        return f"no such file; name an arm's YAML or one of {', '.join(known_arms())}"
    beside = yaml_beside(path)
    if beside is not None:
        return f"a URDF; give the YAML beside it: {beside}"
    return f"a URDF alone; write its YAML first: mbrl-control robot new --urdf {path}"


def known_arms() -> list[str]:
    return sorted(path.stem for path in _robots_folder().glob("*.yaml"))


def _robots_folder() -> Path:
    # Found without importing it: only the simulator's own process imports `sim`.
    spec = importlib.util.find_spec("sim")
    if spec is None or not spec.submodule_search_locations:
        raise ArmError("package `sim` is not installed; run `make setup`")
    return Path(next(iter(spec.submodule_search_locations))) / "robots"


def launch_file(name: str) -> Path:
    """A file of launch/: beside the package in a checkout, below share/ in an installation."""
    return _shared(Path("launch", name), "mbrl_control", Path("launch", name))


def params_file(name: str) -> Path:
    """A parameter file of the nodes: in their sources in a checkout, below share/ in an installation."""
    return _shared(Path("params", name), "mbrl_nodes", Path("ros2_ws", "src", "mbrl_nodes", "params", name))


def shipped_models() -> Path:
    """Registry of the bundles that come with the package; not to be written."""
    return _shared(Path("models", "README.md"), "mbrl_control", Path("models", "README.md")).parent


def _shared(name: Path, package: str, in_checkout: Path) -> Path:
    """First place that has the file: checkout, sourced ROS workspaces, this Python's own prefix."""
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    places = [Path(__file__).resolve().parents[2] / in_checkout]
    places += [Path(prefix, "share", package) / name for prefix in prefixes]
    return next((place for place in places if place.is_file()), places[-1])
