"""The process of a trial: `python -m mbrl_control.deployment.trial_child MEMORY_MIB CPU_S`, a bundle on standard input.

One line of JSON on standard output, `trial.TrialResult`; none where a limit or the bytes ended it before. It may write
no file, and runs behind everything else. Not a sandbox: code that the bytes got to run would have the user's rights.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

_MIB = 1 << 20


def main() -> None:
    """Entry point."""
    memory_mib, cpu_s = map(int, sys.argv[1:])
    stand_behind()
    # Takes longer to import than to run: behind everything else, too, and before the limits are counted from there.
    from mbrl_control.deployment.trial_run import run

    before = _most_resident()
    limit(memory_mib, cpu_s)
    run(sys.stdin.buffer, memory_mib, lambda: (_most_resident() - before) / _MIB)


def stand_behind() -> None:
    """Normal scheduling, whatever the parent's is, at the lowest priority: an arm may be moving beside it."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, 19)


def limit(memory_mib: int, cpu_s: int) -> None:
    """Memory beyond the present, processor time, no files written, no core. Before a byte of the bundle is read."""
    for kind, present in zip((resource.RLIMIT_AS, resource.RLIMIT_DATA), _sizes(), strict=True):
        most = present + memory_mib * _MIB
        resource.setrlimit(kind, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _sizes() -> tuple[int, int]:
    """Bytes of address space, and of private writable memory (proc(5), statm)."""
    pages = [int(field) for field in Path("/proc/self/statm").read_text().split()]
    return pages[0] * resource.getpagesize(), pages[5] * resource.getpagesize()


def _most_resident() -> int:
    """Bytes since this program began; `getrusage` would also count its parent's before it (getrusage(2))."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
