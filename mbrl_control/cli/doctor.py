"""`mbrl-control doctor`: what is installed, what is missing, whether the machine is fit for real time."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mbrl_control.cli.awake import halts_are_dear
from mbrl_control.cli.doctor_checks import (
    extras,
    gpu,
    installation,
    machine,
    processors,
    rollouts,
    ros,
    round_trip,
    scheduling,
    shared_memory,
)
from mbrl_control.cli.doctor_checks.check import Check, Group, as_json, as_text, failed
from mbrl_control.cli.doctor_checks.children import Ended


def doctor(
    json_: Annotated[bool, typer.Option("--json", help="One line of JSON on standard output.")] = False,
) -> None:
    """Say what is installed, what is missing, and whether this machine is fit for real time. About 12 s.

    Nothing is changed. ok and info need nothing; warn works, but worse; fail does not work. Exit status 1 when a
    line fails. --json: {"ok": bool, "checks": [{"name", "level", "found", "remedy"}, ...]}; names and limits stand
    in docs/doctor.md.

    Example: mbrl-control doctor --json
    """
    groups = examine()
    typer.echo(as_json(groups) if json_ else as_text(groups))
    raise typer.Exit(1 if failed(groups) else 0)


def examine() -> list[Group]:
    """All checks of this machine, in the order they are printed."""
    _say("trying packages, messages, DDS, GPU and disk in child processes ...")
    tried = try_out()
    _say(f"measuring how punctually a process wakes, {2 * scheduling.MEASURED_S:.0f} s ...")
    return [
        Group("Installation", tuple(_installation(tried))),
        Group("ROS 2", tuple(_ros(tried))),
        Group("Real time", tuple(_real_time())),
        Group("Machine", tuple(_machine(tried))),
    ]


@dataclass(frozen=True, slots=True)
class Tried:
    """What children found out."""

    source: ros.RosSource
    gpu: gpu.Gpu
    installed: installation.Installed
    git: Ended
    torch_gpu: Ended | None
    onnx_gpu: Ended | None
    messages: str | None
    exchanges: tuple[round_trip.Exchange, round_trip.Exchange | None]
    disk: Ended


def try_out() -> Tried:
    """Whatever may take long or hang, side by side, each with its own time limit; the measurements come after it."""
    source, found = ros.read_ros(os.environ), gpu.read_gpu()
    with ThreadPoolExecutor() as pool:
        exchanges = pool.submit(round_trip.read_round_trip)
        installed, messages = pool.submit(installation.read_installed), pool.submit(ros.read_messages)
        torch_gpu, onnx_gpu = pool.submit(gpu.try_torch, found), pool.submit(gpu.try_onnx, found)
        git, disk = pool.submit(installation.read_git), pool.submit(machine.read_disk)
        return Tried(
            source=source,
            gpu=found,
            installed=installed.result(),
            git=git.result(),
            torch_gpu=torch_gpu.result(),
            onnx_gpu=onnx_gpu.result(),
            messages=messages.result(),
            exchanges=exchanges.result(),
            disk=disk.result(),
        )


def _installation(tried: Tried) -> list[Check]:
    installed, source = tried.installed, tried.source
    tested = installation.read_tested()
    return [
        installation.python_check(sys.version_info[:3], source),
        installation.project_check(ros.installed_version(installation.PROJECT), tried.git),
        *installation.package_checks(installed, source),
        gpu.runtime_check(tried.gpu, installed.broken.get(installation.RUNTIME)),
        installation.tested_check(tested, {name: ros.installed_version(name) for name in tested or ()}),
        *extras.extra_checks(extras.read_extras(), source),
        gpu.torch_check(tried.gpu, tried.torch_gpu),
        gpu.onnx_check(tried.gpu, tried.onnx_gpu),
    ]


def _ros(tried: Tried) -> list[Check]:
    return [
        ros.ros_check(tried.source),
        ros.messages_check(tried.messages, tried.source),
        *ros.environment_checks(os.environ, tried.source),
        shared_memory.shared_memory_check(shared_memory.read_shared_memory()),
        round_trip.round_trip_check(*tried.exchanges, tried.messages, os.environ),
    ]


def _real_time() -> list[Check]:
    realtime = scheduling.read_realtime()
    cores = processors.read_processors()
    normal = scheduling.read_wakeups(realtime=False)
    urgent = scheduling.read_wakeups(realtime=True) if realtime is None else None
    return [
        scheduling.realtime_check(realtime),
        scheduling.memory_lock_check(scheduling.read_lock()),
        scheduling.throttling_check(scheduling.read_throttling()),
        processors.cores_check(cores),
        processors.quota_check(cores),
        processors.governor_check(processors.read_governors()),
        processors.idle_check(halts_are_dear()),
        processors.clock_check(processors.monotonic_resolution(), processors.read_clock_source()),
        processors.wall_clock_check(processors.read_synchronized()),
        *scheduling.wakeup_checks(normal, urgent),
        rollouts.rollouts_check(rollouts.read_rollouts()),
    ]


def _machine(tried: Tried) -> list[Check]:
    return [
        machine.read_kernel(),
        machine.memory_check(machine.read_memory()),
        machine.disk_check(tried.disk, str(Path.cwd())),
        machine.encoding_check(machine.read_encoding()),
    ]


def _say(text: str) -> None:
    """To standard error: standard output is the report alone."""
    typer.echo(f"doctor: {text}", err=True)
