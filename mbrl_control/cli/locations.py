"""Where the files of a checkout or an installation are: arm descriptions and the graph description."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from mbrl_control.robot import ArmError


def arm_file(robot: str) -> Path:
    """YAML of a named arm (`panda`), or of a path to an own one."""
    if robot.endswith((".yaml", ".yml")):
        path = Path(robot)
        if not path.is_file():
            raise ArmError(f"{path}: no such arm description; name a YAML file or one of {', '.join(known_arms())}")
        return path.resolve()
    path = _robots_folder() / f"{robot}.yaml"
    if not path.is_file():
        raise ArmError(f"--robot {robot}: unknown arm; known: {', '.join(known_arms())}, or give a path to a YAML file")
    return path


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
    checkout = Path(__file__).resolve().parents[2] / "launch" / name
    return checkout if checkout.is_file() else Path(sys.prefix) / "share" / "mbrl_control" / "launch" / name
