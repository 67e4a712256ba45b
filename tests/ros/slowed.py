"""How fast the live graphs of these tests run: what they judge is logic, not whether this machine is busy."""

from __future__ import annotations

import time

REAL_TIME_FACTOR = 0.25


def pause(seconds: float) -> None:
    """Wait so many seconds of a graph's time."""
    time.sleep(seconds / REAL_TIME_FACTOR)
