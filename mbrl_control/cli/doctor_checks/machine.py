"""Kernel, memory, disk and text encoding."""

from __future__ import annotations

import locale
import os
from dataclasses import dataclass
from pathlib import Path

from mbrl_control.cli.doctor_checks.check import Check
from mbrl_control.cli.doctor_checks.children import Ended, run_module
from mbrl_control.cli.doctor_checks.kernel_files import group_limits, text
from mbrl_control.cli.doctor_checks.shared_memory import in_container

_MIB, _GIB = 2**20, 2**30
GRAPH_BYTES = int(1.2 * _GIB)
"""Measured: proportional set size of the nine processes of a 7-joint arm's graph, memory locked as in real time."""
COMFORTABLE_BYTES = 2 * _GIB
"""Also room for retraining beside it."""
SLOW_SYNC_MS = 200.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes."""

    available: int
    """Without swapping, of the whole machine."""
    limit: int | None
    """Of the control group, None: no limit."""


def kernel_check(release: str, realtime: bool, container: bool) -> Check:
    """For the reader of a report from another machine."""
    kind = "PREEMPT_RT" if realtime else "not PREEMPT_RT"
    return Check("kernel", "ok", f"{release}, {kind}{', in a container' if container else ''}")


def read_kernel(root: Path = Path("/")) -> Check:
    """The running one."""
    return kernel_check(os.uname().release, text(root / "sys/kernel/realtime") == "1", in_container(root))


def read_memory(root: Path = Path("/")) -> Memory:
    """From /proc/meminfo and the control groups."""
    lines = dict(line.split(":", 1) for line in text(root / "proc/meminfo").splitlines())
    limits = group_limits(root, "memory", "memory.max", "memory.limit_in_bytes")
    available, total = (int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    # No limit reads as `max`, or in version 1 as more than any machine has.
    real = [int(limit) for limit in limits if limit.isdecimal() and int(limit) < total]
    return Memory(available, min(real, default=None))


def memory_check(memory: Memory) -> Check:
    """Nodes that lock their memory need it all at once."""
    usable = memory.available if memory.limit is None else min(memory.available, memory.limit)
    found = f"{memory.available / _GIB:.1f} GiB available"
    if memory.limit is not None:
        found += f", container limited to {memory.limit / _GIB:.1f} GiB"
    if usable < GRAPH_BYTES:
        return Check(
            "memory", "fail", found, "the graph of a 7-joint arm takes 1.2 GiB: end other programs, lift limits"
        )
    if usable < COMFORTABLE_BYTES:
        return Check("memory", "warn", found, "enough for the graph; retraining beside it wants 2 GiB")
    return Check("memory", "ok", found)


def read_disk() -> Ended:
    """Of the current folder: a network folder may hang."""
    return run_module("mbrl_control.cli.doctor_checks.disk_probe", limit_s=8.0)


def disk_check(ended: Ended, folder: str) -> Check:
    """A demo writes some hundred MiB of logs, truth and video below the current folder."""
    if ended.failure is not None:
        return Check(
            "disk", "fail", f"{folder}: {ended.failure}", "run in a folder of a local disk that you may write to"
        )
    (told,) = ended.told
    free, sync_ms = told["free"], told["sync_ms"]
    found = f"{free / _GIB:.1f} GiB free here, 256 KiB written and synced in {sync_ms:.0f} ms at worst"
    if free < 512 * _MIB:
        return Check("disk", "fail", found, "free 512 MiB, or run in another folder")
    if free < 2048 * _MIB:
        return Check("disk", "warn", found, "free 2 GiB for long runs")
    if sync_ms > SLOW_SYNC_MS:
        return Check("disk", "info", found, "slow: the logger buffers, control does not wait; a local disk is better")
    return Check("disk", "ok", found)


def encoding_check(encoding: str) -> Check:
    """Python's own choice for names, pipes and files whose encoding a library does not name."""
    if encoding.lower().replace("-", "") == "utf8":
        return Check("text encoding", "ok", encoding)
    remedy = "paths and joint names beyond ASCII break: export PYTHONUTF8=1 (or LANG=C.UTF-8)"
    return Check("text encoding", "warn", encoding, remedy)


def read_encoding() -> str:
    """In force in this process."""
    return locale.getpreferredencoding(False)
