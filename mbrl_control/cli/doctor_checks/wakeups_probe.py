"""Child of the doctor: the guard's loop without its work. ``python -m ... SECONDS`` prints one JSON line."""

from __future__ import annotations

import json
import math
import sys

from mbrl_control.cadence import Cadence, SteadyClock
from mbrl_control.scheduling import take_placement

PERIOD_NS = 5_000_000
_SETTLING = 10
"""Ticks not counted: the first ones run code and touch memory that has not been used before."""


def main() -> None:
    """Take the placement that the parent wants, wake at absolute deadlines, say how late."""
    wanted = round(float(sys.argv[1]) * 1e9) // PERIOD_NS
    scheduling = take_placement()
    cadence = Cadence(PERIOD_NS, SteadyClock(factor=1.0))
    ticks = [cadence.wait() for _ in range(_SETTLING + wanted)][_SETTLING:]
    late_ms = sorted(tick.lateness_ns / 1e6 for tick in ticks)
    report = {
        "ticks": len(ticks),
        "p99_ms": late_ms[math.ceil(0.99 * len(late_ms)) - 1],
        "max_ms": late_ms[-1],
        "skipped": sum(tick.skipped for tick in ticks),
        "scheduling": scheduling,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
