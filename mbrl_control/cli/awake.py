"""Keeps the processors of a virtual machine awake while a graph runs.

A virtual processor that halts is given to other guests, and comes back milliseconds after the timer or message that
wakes it: the guest's kernel counts that as stolen time, a real-time thread as lateness, and its throttling of
real-time threads as their own use. Bare metal has `cpu_dma_latency` against the like; a guest without idle states has
nothing but work to do: one process per processor that spins under SCHED_IDLE, and that every other thread preempts at
once. Measured by `mbrl-control bench awake`.

``python -m mbrl_control.cli.awake PROCESSOR`` is one of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from mbrl_control.cli.spawn import spawn


def halts_are_dear(root: Path = Path("/")) -> bool:
    """Whether this is a virtual machine whose processors have no idle state to choose but halting."""
    flags = (root / "proc/cpuinfo").read_text(encoding="utf-8")
    if "hypervisor" not in flags.split():
        return False
    driver = root / "sys/devices/system/cpu/cpuidle/current_driver"
    return not driver.is_file() or driver.read_text(encoding="utf-8").strip() == "none"


def keep_awake(processors: set[int]) -> list[subprocess.Popen[str]]:
    """A spinning child for each of the ``processors``; they end with this process, or by `let_sleep`."""
    own = "mbrl_control.cli.awake"
    return [spawn([sys.executable, "-m", own, str(number)], os.environ, None) for number in sorted(processors)]


def let_sleep(children: list[subprocess.Popen[str]]) -> None:
    """End them; they hold nothing."""
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def main() -> None:
    """Spin on one processor, less urgent than everything else."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    os.sched_setaffinity(0, {int(sys.argv[1])})
    while True:
        pass


if __name__ == "__main__":
    main()
