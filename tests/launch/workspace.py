"""A colcon workspace built as a user builds it, in a folder of its own. The sources are only read."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.architecture.source import MESSAGES, NODES, ROOT
from tests.patience import HUNG_S

WHOLE = "MBRL_WHOLE_WORKSPACE"
"""Set (continuous integration does): mbrl_msgs is built too, which takes a minute; else the environment's serves."""


@dataclass(frozen=True)
class Workspace:
    """Installed packages."""

    install: Path
    packages: tuple[str, ...]
    merged: bool

    def prefix(self, package: str) -> Path:
        return self.install if self.merged else self.install / package

    def run(self, command: list[str], timeout_s: float = HUNG_S) -> subprocess.CompletedProcess[str]:
        """A command in a shell that has sourced the workspace, far from the checkout."""
        line = f"source {shlex.quote(str(self.install / 'setup.bash'))} && exec {shlex.join(command)}"
        return subprocess.run(
            ["bash", "-c", line],
            cwd=self.install,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def build(folder: Path, *options: str) -> Workspace:
    """`colcon build OPTIONS` of the repository's packages into ``folder``; the messages only without options."""
    messages = [MESSAGES] if os.environ.get(WHOLE) and not options else []
    python = f"-DPython3_EXECUTABLE={sys.executable}"
    command = [_tool("colcon"), "--log-base", str(folder / "log"), "build", *options]
    command += ["--base-paths", str(ROOT), str(NODES), *map(str, messages)]
    command += ["--build-base", str(folder / "build"), "--install-base", str(folder / "install")]
    command += ["--cmake-args", python, "-DBUILD_TESTING=OFF"] if messages else []
    done = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    packages = ("mbrl_control", "mbrl_nodes", *(["mbrl_msgs"] if messages else []))
    return Workspace(folder / "install", packages, "--merge-install" in options)


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _environment() -> dict[str, str]:
    """As after sourcing ROS: the wheels' prefix is the underlay; nothing of this checkout is on Python's path."""
    dropped = ("PYTHONPATH", "LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
    inherited = {name: value for name, value in os.environ.items() if name not in dropped}
    prefixes = {name: sys.prefix for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "COLCON_PREFIX_PATH")}
    return inherited | prefixes | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
