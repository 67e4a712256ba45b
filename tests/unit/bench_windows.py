"""A measured window of a live graph as `bench swap` and `bench retrain` count it."""

from __future__ import annotations

from collections import Counter

import numpy as np

from benchmarks.rate_window import Window


def window(late: int = 0) -> Window:
    """A minute at 50 Hz with so many late cycles and nothing else amiss, beside five minutes of reference."""
    reference = {"late": 0, "cycles": 15000, "model_id": "panda/1", "jitter_ms": {"p99": 0.1, "max": 0.2}}
    one = np.ones(10)
    return Window(
        scheduling={},
        rates=(50.0, 200.0),
        planner=(late, 3000),
        guard=(0, 12000),
        references={"planner": reference, "guard": {**reference, "cycles": 60000}},
        jitter_ms={"planner": one, "guard": one},
        latency_ms=one,
        age_ms=one,
        cycle_ms=one,
        iterations=Counter({3: 3000}),
        refined=Counter({0: 3000}),
        outcomes=Counter({"OPTIMIZED": 3000}),
        stops=0,
        stolen=0.0,
    )
