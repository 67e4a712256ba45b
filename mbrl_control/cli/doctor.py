"""`mbrl-control doctor`: what is installed, what is missing, whether the machine is fit for real time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import typer

Level = Literal["ok", "warn", "fail"]
_MIB = 2**20
_SETUP = "run `make setup`"
_REALTIME = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))"
_LOCK = "from mbrl_control.scheduling import lock_memory; told = lock_memory(); assert told == 'memory locked', told"
_GRAPH = "import rclpy, mbrl_msgs.msg, mbrl_msgs.srv"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    level: Level
    found: str
    remedy: str = ""
    """What to do; empty when ok."""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON on standard output.")] = False,
) -> None:
    """Say what is installed, what is missing, and whether this machine is fit for real time.

    Exit status 1 when a line fails. Example: mbrl-control doctor --json
    """
    checks = examine()
    failed = any(check.level == "fail" for check in checks)
    if as_json:
        typer.echo(json.dumps({"ok": not failed, "checks": [asdict(check) for check in checks]}))
    else:
        for check in checks:
            typer.echo(f"{check.level:<5}{check.name:<16}{check.found}")
            if check.remedy:
                typer.echo(f"{'':<21}-> {check.remedy}")
    raise typer.Exit(1 if failed else 0)


def examine() -> list[Check]:
    """All checks of this machine, in the order they are printed."""
    installed = {name: installed_version(name) for name in _PACKAGES}
    return [
        python_check(sys.version_info[:2]),
        *package_checks(installed),
        inference_check(installed),
        graph_check(_run_child(_GRAPH)),
        cores_check(len(os.sched_getaffinity(0))),
        realtime_check(_run_child(_REALTIME)),
        memory_check(_run_child(_LOCK)),
        clock_check(time.get_clock_info("monotonic").resolution),
        shared_memory_check(Path("/dev/shm")),
        disk_check(shutil.disk_usage(Path.cwd()).free),
        *environment_checks(os.environ),
    ]


_REQUIRED = {"torch": "torch", "mujoco": "mujoco", "ros-rclpy": "rclpy"}
_PACKAGES = (*_REQUIRED, "onnxruntime", "onnxruntime-gpu")


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution, None when it is absent."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def python_check(found: tuple[int, ...]) -> Check:
    """The ROS wheels in use exist for CPython 3.11."""
    text = ".".join(map(str, found))
    if found == (3, 11):
        return Check("python", "ok", text)
    return Check("python", "fail", text, "use Python 3.11: `make setup` finds it")


def package_checks(installed: Mapping[str, str | None]) -> list[Check]:
    """Presence and version of what every part needs."""
    checks = []
    for distribution, name in _REQUIRED.items():
        found = installed[distribution]
        if found is None:
            # On a robot with a full ROS 2 installation rclpy is no wheel; the graph check decides there.
            level: Level = "warn" if name == "rclpy" else "fail"
            checks.append(Check(name, level, "no wheel installed", _SETUP))
        elif name == "mujoco" and int(found.split(".")[0]) >= 4:
            checks.append(Check(name, "fail", found, "4.0 has a wrong sparse Newton Hessian: pip install 'mujoco<4'"))
        else:
            checks.append(Check(name, "ok", found))
    return checks


def inference_check(installed: Mapping[str, str | None]) -> Check:
    """Exactly one ONNX Runtime: the CPU and the GPU package overwrite each other's files."""
    cpu, gpu = installed["onnxruntime"], installed["onnxruntime-gpu"]
    if cpu and gpu:
        remedy = "they overwrite each other: pip uninstall both, then `make setup` or `make setup GPU=1`"
        return Check("onnxruntime", "fail", f"onnxruntime {cpu} and onnxruntime-gpu {gpu}", remedy)
    if not (cpu or gpu):
        return Check("onnxruntime", "fail", "not installed", _SETUP)
    return Check("onnxruntime", "ok", cpu or f"{gpu} (gpu)")


def graph_check(failure: str | None) -> Check:
    """``failure``: what importing rclpy and the messages in a fresh process said, None when it worked."""
    if failure is None:
        return Check("mbrl_msgs", "ok", "rclpy and the messages import")
    return Check("mbrl_msgs", "fail", failure, f"{_SETUP}; on a robot: colcon build, then source install/setup.bash")


def cores_check(cores: int) -> Check:
    """The whole graph in simulation takes about one core; the planner wants one that nothing urgent preempts it on."""
    if cores >= 2:
        return Check("cores", "ok", f"{cores}, the last one reserved for the planner")
    return Check("cores", "warn", str(cores), "give the process 2 cores, or expect late plans")


def realtime_check(failure: str | None) -> Check:
    """``failure``: what asking for SCHED_FIFO in a child said, None when it was granted."""
    if failure is None:
        return Check("SCHED_FIFO", "ok", "permitted")
    remedy = "allow it: `<user> - rtprio 60` in /etc/security/limits.d, or --ulimit rtprio=60 for a container"
    return Check("SCHED_FIFO", "warn", failure, remedy)


def memory_check(failure: str | None) -> Check:
    """``failure``: what locking all memory in a child said, None when it worked."""
    if failure is None:
        return Check("locked memory", "ok", "permitted")
    remedy = "allow it: `<user> - memlock unlimited` in /etc/security/limits.d, or --ulimit memlock=-1 for a container"
    return Check("locked memory", "warn", failure, remedy)


def clock_check(resolution_s: float) -> Check:
    """Resolution of CLOCK_MONOTONIC, which paces every loop."""
    found = f"{resolution_s * 1e9:.0f} ns"
    if resolution_s <= 1e-5:
        return Check("clock", "ok", found)
    return Check("clock", "warn", found, "use a kernel with high-resolution timers (CONFIG_HIGH_RES_TIMERS)")


def shared_memory_check(folder: Path) -> Check:
    """Fast DDS passes messages through this folder; a full one stops them without an error."""
    udp = "set FASTDDS_BUILTIN_TRANSPORTS=UDPv4"
    if not os.access(folder, os.W_OK):
        return Check("shared memory", "warn", f"{folder} is not writable", f"mount it, or {udp}")
    free = shutil.disk_usage(folder).free
    segments = sum(len(list(folder.glob(pattern))) for pattern in ("fastrtps_*", "fastdds_*"))
    found = f"{free // _MIB} MiB free in {folder}, {segments} Fast DDS files"
    if free < 64 * _MIB:
        return Check(
            "shared memory", "warn", found, f"with no graph running remove {folder}/fast*_*, --shm-size=256m, or {udp}"
        )
    return Check("shared memory", "ok", found)


def disk_check(free: int) -> Check:
    """A demo writes some hundred MiB of logs, truth and video."""
    found = f"{free / 2**30:.1f} GiB free here"
    if free < 512 * _MIB:
        return Check("disk", "fail", found, "free 512 MiB, or run in another folder")
    if free < 2048 * _MIB:
        return Check("disk", "warn", found, "free 2 GiB for long runs")
    return Check("disk", "ok", found)


def environment_checks(env: Mapping[str, str]) -> list[Check]:
    """ROS and loader variables that change what a node does without saying so."""
    findings = [*_domain(env), *_security(env), *_foreign_ros(env)]
    rmw = env.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    if rmw != "rmw_fastrtps_cpp":
        findings.append(Check("RMW", "warn", rmw, "only rmw_fastrtps_cpp is tested: unset RMW_IMPLEMENTATION"))
    return findings or [Check("environment", "ok", "no ROS or loader variable in the way")]


def _domain(env: Mapping[str, str]) -> list[Check]:
    domain = env.get("ROS_DOMAIN_ID")
    if domain is None or (domain.isdecimal() and int(domain) <= 101):
        return []
    return [Check("ROS_DOMAIN_ID", "fail", domain, "use a whole number from 0 to 101")]


def _security(env: Mapping[str, str]) -> list[Check]:
    """The wheels' Fast DDS knows no security: with it asked for, a node would start insecurely and say nothing."""
    if env.get("ROS_SECURITY_ENABLE", "").lower() != "true":
        return []
    remedy = "unset ROS_SECURITY_ENABLE, or use a ROS 2 installation whose Fast DDS is built with security"
    return [Check("ROS security", "fail", "asked for, not available in the wheels", remedy)]


def _foreign_ros(env: Mapping[str, str]) -> list[Check]:
    names = ("AMENT_PREFIX_PATH", "LD_LIBRARY_PATH", "PYTHONPATH")
    mixed = [name for name in names if "/opt/ros/" in env.get(name, "")]
    if not mixed or installed_version("ros-rclpy") is None:
        return []
    remedy = "two ROS installations mix: start from a shell that has not sourced /opt/ros/*/setup.bash"
    return [Check("environment", "warn", ", ".join(mixed), remedy)]


def _run_child(code: str) -> str | None:
    """Run ``code`` in a fresh process, which keeps its effects off this one; return its last error line or None."""
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "no answer within 60 s"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"
