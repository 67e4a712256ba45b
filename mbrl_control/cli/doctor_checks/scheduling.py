"""Real-time priority, locked memory, and how punctually a process of this machine wakes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mbrl_control.cli.doctor_checks.check import Check
from mbrl_control.cli.doctor_checks.children import Ended, run_code, run_module
from mbrl_control.cli.doctor_checks.kernel_files import text
from mbrl_control.scheduling import Placement, divide_processors

GUARD_PRIORITY = 50
"""As in launch/graph.yaml; a test compares."""
GUARD_PERIOD_MS = 5.0
RELAY_PATIENCE_MS = 20.0
"""Without a command for this long the relay and the driver stop the arm (README, section on the guard)."""
PUNCTUAL_P99_MS = 1.0
"""A fifth of the guard's period; its work takes about 0.4 ms of the rest."""
MEASURED_S = 1.0
_REALTIME = f"import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param({GUARD_PRIORITY}))"
_LOCK = (
    "import sys; from mbrl_control.scheduling import lock_memory; "
    "told = lock_memory(); sys.exit(None if told == 'memory locked' else told)"
)
_PROBE = "mbrl_control.cli.doctor_checks.wakeups_probe"


@dataclass(frozen=True, slots=True)
class Wakeups:
    """How late a 200 Hz loop woke."""

    failure: str | None
    """It could not be measured; None: the rest counts."""
    ticks: int = 0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    skipped: int = 0
    """Deadlines that passed wholly."""
    scheduling: str = ""
    """What was in force."""


def read_realtime() -> str | None:
    """What asking for SCHED_FIFO in a child said, None when it was granted."""
    return run_code(_REALTIME, 10.0).failure


def read_lock() -> str | None:
    """What locking all memory in a child said, None when it worked."""
    return run_code(_LOCK, 10.0).failure


def read_wakeups(realtime: bool) -> Wakeups:
    """One second of the guard's loop without its work; ``realtime``: placed as the guard is."""
    _, others = divide_processors(tuple(sorted(os.sched_getaffinity(0))))
    placement = Placement(GUARD_PRIORITY, others) if realtime else Placement()
    environment = dict(os.environ) | placement.environment()
    return wakeups(run_module(_PROBE, str(MEASURED_S), limit_s=MEASURED_S + 8.0, environment=environment))


def wakeups(ended: Ended) -> Wakeups:
    """From what the child told."""
    if ended.failure is not None:
        return Wakeups(ended.failure)
    (told,) = ended.told
    return Wakeups(None, **told)


def realtime_check(failure: str | None) -> Check:
    """``failure``: of asking for SCHED_FIFO, None when it was granted."""
    if failure is None:
        return Check("SCHED_FIFO", "ok", "permitted")
    remedy = _allow("rtprio 60", "rtprio=60")
    return Check("SCHED_FIFO", "warn", failure, remedy)


def memory_lock_check(failure: str | None) -> Check:
    """``failure``: of locking all memory, None when it worked."""
    if failure is None:
        return Check("locked memory", "ok", "permitted")
    remedy = _allow("memlock unlimited", "memlock=-1")
    return Check("locked memory", "warn", failure, remedy)


def read_throttling(root: Path = Path("/")) -> tuple[int, int] | None:
    """Runtime and period, us, that the kernel allows real-time threads of a processor; None where it does not say."""
    words = [text(root / f"proc/sys/kernel/sched_rt_{name}_us") for name in ("runtime", "period")]
    return (int(words[0]), int(words[1])) if all(words) else None


def throttling_check(allowed: tuple[int, int] | None) -> Check:
    """What happens to a processor whose real-time threads are busier than allowed."""
    name = "RT throttling"
    if allowed is None:
        return Check(name, "info", "the kernel does not say")
    runtime, period = allowed
    if runtime < 0 or runtime >= period:
        return Check(name, "ok", "off")
    found = f"after {runtime / 1e3:g} of {period / 1e3:g} ms the real-time threads of a processor stand still"
    return Check(
        name,
        "info",
        f"{found}: a graph that loads a processor so far stops the arm; once it is proven on that computer: "
        "sudo sysctl kernel.sched_rt_runtime_us=-1",
    )


def _allow(limit: str, ulimit: str) -> str:
    line = f'echo "$USER - {limit}" | sudo tee -a /etc/security/limits.d/mbrl_control.conf'
    return f"`{line}`, then log in again; for a container: --ulimit {ulimit}"


def wakeup_checks(normal: Wakeups, urgent: Wakeups | None) -> list[Check]:
    """``urgent``: at the guard's priority, None where that is not permitted; where it is, only that one matters."""
    first = _wakeup_check("wake-ups", normal, "allow SCHED_FIFO (above), and end what else runs here")
    if urgent is None:
        return [first, Check("wake-ups FIFO", "info", "not measured: SCHED_FIFO is not permitted")]
    second = _wakeup_check(
        "wake-ups FIFO", urgent, "virtual machine, power saving or firmware: see governor; try a PREEMPT_RT kernel"
    )
    if first.level == "warn" and second.level == "ok":
        first = Check(first.name, "info", f"{first.found}; the nodes run with SCHED_FIFO, see next line")
    return [first, second]


def _wakeup_check(name: str, measured: Wakeups, remedy: str) -> Check:
    if measured.failure is not None:
        return Check(name, "warn", f"not measured: {measured.failure}", "run it again on an idle machine")
    found = f"p99 {measured.p99_ms:.2f} ms, max {measured.max_ms:.2f} ms late of {measured.ticks} at 200 Hz"
    if measured.skipped:
        found += f", {measured.skipped} missed"
    found += f" ({measured.scheduling})"
    if measured.max_ms >= RELAY_PATIENCE_MS:
        return Check(name, "warn", found, f"such a stall stops the arm (watchdog {RELAY_PATIENCE_MS:.0f} ms): {remedy}")
    if measured.skipped or measured.max_ms >= GUARD_PERIOD_MS or measured.p99_ms > PUNCTUAL_P99_MS:
        return Check(name, "warn", found, f"the guard's {GUARD_PERIOD_MS:.0f} ms tick would suffer: {remedy}")
    return Check(name, "ok", found)
