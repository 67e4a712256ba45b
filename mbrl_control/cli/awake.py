"""Keeps the processors of a virtual machine awake while a graph runs.

A virtual processor that halts is given to other guests, and comes back milliseconds after the timer or message that
wakes it: the guest's kernel counts that as stolen time, a real-time thread as lateness, and its throttling of
real-time threads as their own use. Bare metal has `cpu_dma_latency` against the like; a guest without idle states has
nothing but work to do: one process per processor that spins under SCHED_IDLE. Real-time threads preempt it at once.
Among others its class counts only within its session where the kernel shares processors by session (autogroup,
sched(7)): there it would take half a processor from a retraining at nice 19, so its session takes the lowest weight.
Measured by `mbrl-control bench awake`.

``python -m mbrl_control.cli.awake PROCESSOR`` is one of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mbrl_control.cli.spawn import spawn


def halts_are_dear(root: Path = Path("/")) -> bool:
    """Whether this is a virtual machine whose processors have no idle state to choose but halting.

    Not with `haltpoll`: on such a guest, on both processors, a real-time loop had no gap above 6 ms in 120 s while they
    could halt, and ten of 8 to 12 ms while they were kept awake: its host takes back what is spun away.
    """
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


def give_way_as_session(autogroup: Path = Path("/proc/self/autogroup")) -> None:
    """Give this process's session the lowest weight beside others, if it leads one and the kernel weighs sessions."""
    if os.getsid(0) != os.getpid() or not autogroup.exists():
        return
    while True:
        try:
            autogroup.write_text("19", encoding="utf-8")
            return
        except BlockingIOError:  # the kernel takes one such change per 0.1 s, of all processes together
            time.sleep(0.1)
        except OSError as error:  # forbidden: awake at the price of half a processor, which is told
            print(f"{autogroup}: {error}", file=sys.stderr)
            return


def main() -> None:
    """Spin on one processor, less urgent than everything else."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    give_way_as_session()
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    os.sched_setaffinity(0, {int(sys.argv[1])})
    while True:
        pass


if __name__ == "__main__":
    main()
