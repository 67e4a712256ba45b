"""What each extra of setup.py adds: which of its packages are missing, and what that makes impossible."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, requires

from mbrl_control.cli.doctor_checks.check import Check, Level
from mbrl_control.cli.doctor_checks.installation import PROJECT, add
from mbrl_control.cli.doctor_checks.ros import SETUP, RosSource, installed_version

ADDS = {
    "cpu": "running models: planner, export, models verify",
    "gpu": "running models on an NVIDIA GPU; instead of `cpu`, never beside it",
    "data": "recordings from elsewhere and tables of logs (log export --format parquet)",
    "ray": "learning on several machines",
    "ros": "the nodes (up, demo), where no ROS 2 is installed",
    "build": "building the messages (make setup)",
    "test": "make test",
}
"""By extra, as setup.py names them; a test compares."""
GPU_SETUP = "on a machine with an NVIDIA GPU `make setup GPU=1` makes the environment anew, with onnxruntime-gpu"
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)")
_EXTRA = re.compile(r"""\bextra\s*==\s*['"]([a-z]+)['"]""")


def read_extras(lines: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Packages by extra, from the metadata of the installed project; empty when it is not installed."""
    if lines is None:
        try:
            lines = requires(PROJECT) or []
        except PackageNotFoundError:
            lines = []
    found: dict[str, list[str]] = {}
    for line in lines:
        name, extra = _REQUIREMENT.match(line), _EXTRA.search(line)
        if name and extra:
            found.setdefault(extra[1], []).append(name[1])
    return found


def extra_checks(
    extras: dict[str, list[str]], ros: RosSource, version_of: Callable[[str], str | None] = installed_version
) -> list[Check]:
    """One line for each extra."""
    return [_extra_check(extra, extras.get(extra), ros, version_of) for extra in ADDS]


def _extra_check(
    extra: str, packages: list[str] | None, ros: RosSource, version_of: Callable[[str], str | None]
) -> Check:
    name = f"extra {extra}"
    if packages is None:
        return Check(name, "info", f"unknown, the project is not installed; for: {ADDS[extra]}", SETUP)
    missing = [package for package in packages if version_of(package) is None]
    if not missing:
        return Check(name, "ok", f"{_named(packages)}; for: {ADDS[extra]}")
    found = f"{_named(missing)} not installed; for: {ADDS[extra]}"
    if ros.installed and extra in ("ros", "build"):
        return Check(name, "ok", f"not needed: ROS 2 {ros.distribution} is installed and brings its own")
    if extra == "gpu":
        return Check(name, "info", found, GPU_SETUP)
    if extra == "cpu" and version_of("onnxruntime-gpu") is not None:
        return Check(name, "ok", "not needed: onnxruntime-gpu runs models on the processor too")
    # The runtime has a line of its own that fails, rclpy too.
    level: Level = "info" if extra in ("cpu", "test") or ros.installed else "warn"
    return Check(name, level, found, add(ros, missing))


def _named(packages: Sequence[str]) -> str:
    return ", ".join(packages) if len(packages) <= 3 else f"{len(packages)} packages"
