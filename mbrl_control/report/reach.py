"""Reach error: where the tool truly was, against where it should be."""

from __future__ import annotations

import numpy as np

from mbrl_control.report.run_data import GoalEvent
from mbrl_control.signals import Array
from sim.truth_file import TruthLog

PHASES = ("nominal", "fresh", "payload_nominal", "payload", "relearned")
WINDOW_S = 3.0
SETTLED_S = 0.5
"""The mean is taken over the last part of the window."""


def reach_errors_mm(goals: tuple[GoalEvent, ...], truth: TruthLog, phase: str) -> Array:
    """[T] mm, mean distance of the tool from each target of ``phase``; inf where the truth file ends too early.

    All targets count, stops included; an unknown error is the worst one.
    """
    return np.array([_reach_mm(goal, truth) for goal in goals if goal.phase == phase], dtype=np.float64)


def tool_error_mm(goal: GoalEvent, truth: TruthLog) -> tuple[Array, Array]:
    """Time s since the goal and distance mm of the tool from it, over the window."""
    first, last = np.searchsorted(truth.stamp_ns, [goal.stamp_ns, goal.stamp_ns + round(WINDOW_S * 1e9)])
    elapsed = np.asarray((truth.stamp_ns[first:last] - goal.stamp_ns) * 1e-9, dtype=np.float64)
    distance = 1e3 * np.sqrt(np.sum((truth.tool[first:last] - goal.position) ** 2, axis=1))
    return elapsed, np.asarray(distance, dtype=np.float64)


def summary(errors_mm: Array) -> dict[str, float | int | None]:
    """Median, 95th percentile (linear between ranks), maximum and number of targets; None without a finite value."""
    known = len(errors_mm) > 0 and bool(np.isfinite(errors_mm).all())
    values = np.percentile(errors_mm, (50, 95, 100)).tolist() if known else [None, None, None]
    return {"median": values[0], "p95": values[1], "max": values[2], "targets": len(errors_mm)}


def _reach_mm(goal: GoalEvent, truth: TruthLog) -> float:
    elapsed, error = tool_error_mm(goal, truth)
    settled = error[elapsed >= WINDOW_S - SETTLED_S]
    covered = truth.stamp_ns[-1] >= goal.stamp_ns + round(WINDOW_S * 1e9) and len(settled) > 0
    return float(settled.mean()) if covered else float("inf")
