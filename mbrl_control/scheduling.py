"""Real-time priority of a process: asked for, never required, and said what is in force."""

from __future__ import annotations

import os

PRIORITY_VARIABLE = "MBRL_PRIORITY"
"""SCHED_FIFO priority wanted by the parent process; 0 or absent: none."""


def take_priority() -> str:
    """Ask for SCHED_FIFO at the priority of the environment for all threads of this process (later ones inherit)."""
    wanted = int(os.environ.get(PRIORITY_VARIABLE, "0"))
    if wanted <= 0:
        return "SCHED_OTHER"
    try:
        for thread in os.listdir("/proc/self/task"):
            os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(wanted))
    except PermissionError:
        return f"SCHED_OTHER (SCHED_FIFO {wanted} not permitted)"
    return f"SCHED_FIFO {wanted}"
