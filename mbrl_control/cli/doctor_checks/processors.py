"""Processors, what limits them, and the clock that paces every loop."""

from __future__ import annotations

import ctypes
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mbrl_control.cli.doctor_checks.check import Check
from mbrl_control.cli.doctor_checks.kernel_files import group_limits, text

_NEEDED = 2
"""The whole graph in simulation takes about one core, in bursts; the planner wants one for itself."""
_SLOW_SOURCES = frozenset({"hpet", "acpi_pm", "jiffies", "pit", "refined-jiffies"})
"""Clock sources outside the processor: each reading is a slow device access or a system call (kernel, timekeeping)."""
_TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronized."""


@dataclass(frozen=True, slots=True)
class Processors:
    """Numbers of processors."""

    allowed: tuple[int, ...]
    """This process may run on."""
    online: str
    """Of the machine, as the kernel writes them (`0-7`)."""
    isolated: str
    """Kept free by the kernel's command line (`isolcpus`)."""
    quota: float | None
    """Most cores' worth of time that the control group gives; None: no limit."""


def read_processors(root: Path = Path("/")) -> Processors:
    """Of this process."""
    cpu = root / "sys/devices/system/cpu"
    return Processors(
        allowed=tuple(sorted(os.sched_getaffinity(0))),
        online=text(cpu / "online"),
        isolated=text(cpu / "isolated"),
        quota=_quota(root),
    )


def _quota(root: Path) -> float | None:
    """The tightest limit on the way from this process's control group up."""
    new = [limit.split() for limit in group_limits(root, "cpu", "cpu.max", "")]
    quotas = group_limits(root, "cpu", "", "cpu.cfs_quota_us")
    old = zip(quotas, group_limits(root, "cpu", "", "cpu.cfs_period_us"), strict=True)
    limited = [(quota, period) for quota, period in [*new, *old] if quota not in ("max", "-1")]
    return min((int(quota) / int(period) for quota, period in limited), default=None)


def cores_check(processors: Processors) -> Check:
    """Two or more; the graph reserves the last allowed one for planner and collector."""
    count = len(processors.allowed)
    isolated = f"isolated: {processors.isolated}" if processors.isolated else "none isolated"
    found = f"{count} allowed of {processors.online or '?'}, {isolated}"
    if count >= _NEEDED:
        return Check("cores", "ok", f"{found}; {processors.allowed[-1]} reserved for the planner")
    remedy = "give the process 2 processors (`taskset`, `--cpuset-cpus`), or expect late plans"
    return Check("cores", "warn", found, remedy)


def quota_check(processors: Processors) -> Check:
    """A control group that has used up its time stands still for the rest of the period, real-time threads too."""
    name = "CPU quota"
    if processors.quota is None:
        return Check(name, "ok", "no limit")
    found = f"{processors.quota:.2f} cores"
    if processors.quota >= _NEEDED:
        return Check(name, "info", f"{found}; when they are used up every process stands still for some 10 ms")
    remedy = "below 2 cores every process is stalled again and again: --cpus=2 or more, better none and --cpuset-cpus"
    return Check(name, "warn", found, remedy)


def read_governors(root: Path = Path("/")) -> dict[str, int]:
    """Frequency governors and how many of the allowed processors each has; empty where the machine shows none."""
    cpu = root / "sys/devices/system/cpu"
    found = (text(cpu / f"cpu{number}" / "cpufreq/scaling_governor") for number in os.sched_getaffinity(0))
    return dict(Counter(name for name in found if name))


def governor_check(governors: dict[str, int]) -> Check:
    """A governor that slows a core down between ticks makes the next one late."""
    name = "governor"
    if not governors:
        return Check(name, "ok", "not shown by this machine (virtual, or a fixed frequency)")
    found = ", ".join(f"{governor} on {count}" for governor, count in sorted(governors.items()))
    if set(governors) == {"performance"}:
        return Check(name, "ok", found)
    remedy = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    return Check(name, "warn", found, f"keep the frequency up: {remedy}")


def idle_check(halts_are_dear: bool) -> Check:
    """A guest's processor that halts is given to others, and is back late."""
    if not halts_are_dear:
        return Check("idle", "ok", "idle processors are this machine's own, or have states to choose from")
    found = (
        "virtual machine without idle states: `up` and `demo` keep its processors awake where SCHED_FIFO is permitted"
    )
    return Check("idle", "info", f"{found}; what that is worth here: `mbrl-control bench awake`")


def read_clock_source(root: Path = Path("/")) -> str:
    """What the kernel counts with."""
    return text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")


def clock_check(resolution_s: float, source: str) -> Check:
    """CLOCK_MONOTONIC, which paces every loop."""
    found = f"{resolution_s * 1e9:.0f} ns, source {source or 'unknown'}"
    if resolution_s > 1e-5:
        return Check("clock", "warn", found, "use a kernel with high-resolution timers (CONFIG_HIGH_RES_TIMERS)")
    if source in _SLOW_SOURCES:
        remedy = "slow to read: `dmesg | grep -i clocksource` says why the processor's own counter is not trusted"
        return Check("clock", "warn", found, remedy)
    return Check("clock", "ok", found)


def read_synchronized() -> bool | None:
    """Whether something (NTP, PTP) disciplines the wall clock; None where the kernel does not say."""
    # struct timex: with modes 0 it is only filled in, 208 bytes on 64-bit Linux.
    answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    return None if answer < 0 else bool(answer != _TIME_ERROR)


def wall_clock_check(synchronized: bool | None) -> Check:
    """The graph's clock never steps; only logs and other machines notice."""
    name = "wall clock"
    if synchronized:
        return Check(name, "ok", "synchronized")
    found = "not synchronized" if synchronized is False else "the kernel does not say whether it is synchronized"
    remedy = "a graph keeps its own pace; times of two machines do not compare: sudo timedatectl set-ntp true"
    return Check(name, "info", found, remedy)


def monotonic_resolution() -> float:
    """Seconds."""
    return time.get_clock_info("monotonic").resolution
