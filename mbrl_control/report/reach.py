"""Error of the tool: where it truly was, against where it should be, at rest (reach) or in motion (track)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mbrl_control.report.run_data import GoalEvent
from mbrl_control.report.targets import REACH, TRACK
from mbrl_control.signals import Array
from sim.truth_file import TruthLog

PHASES = ("nominal", "fresh", "payload_nominal", "payload", "relearned")
SETTLED_S = 0.5
"""Of a target at rest the mean is taken over the last part of the window."""


def task_of(goals: tuple[GoalEvent, ...]) -> tuple[str, str]:
    """What a run is judged by: prefix of its figures, and the number that stands for a phase."""
    return TRACK if any(goal.path is not None for goal in goals) else REACH


def phase_errors(goals: tuple[GoalEvent, ...], truth: TruthLog) -> dict[str, dict[str, Any]]:
    """Figures of every phase, by name."""
    prefix, _ = task_of(goals)
    judge = track_summary if prefix == TRACK[0] else reach_summary
    return {f"{prefix}_{phase}": judge(goals, truth, phase) for phase in PHASES}


def reach_summary(goals: tuple[GoalEvent, ...], truth: TruthLog, phase: str) -> dict[str, Any]:
    """Of the targets of a phase."""
    return summary(reach_errors_mm(goals, truth, phase))


def track_summary(goals: tuple[GoalEvent, ...], truth: TruthLog, phase: str) -> dict[str, Any]:
    """RMS and `summary` of the tool's distance from the moving goal, over all of a phase's motion.

    The RMS of a phase that the guard stopped is mostly of the way back; the median is not.
    """
    parts = [tool_error_mm(goal, truth)[1] for goal in goals if goal.phase == phase]
    whole = all(truth.stamp_ns[-1] >= g.stamp_ns + round(g.window_s * 1e9) for g in goals if g.phase == phase)
    errors = np.concatenate(parts) if parts else np.empty(0)
    if not (whole and len(errors) and np.isfinite(errors).all()):
        return {"rms": None, **summary(np.empty(0)), "targets": len(parts)}
    return {"rms": float(np.sqrt(np.mean(errors**2))), **summary(errors), "targets": len(parts)}


def reach_errors_mm(goals: tuple[GoalEvent, ...], truth: TruthLog, phase: str) -> Array:
    """[T] mm, mean distance of the tool from each target of ``phase``; inf where the truth file ends too early.

    All targets count, stops included; an unknown error is the worst one.
    """
    return np.array([_reach_mm(goal, truth) for goal in goals if goal.phase == phase], dtype=np.float64)


def tool_error_mm(goal: GoalEvent, truth: TruthLog) -> tuple[Array, Array]:
    """Time s since the goal and distance mm of the tool from it, over the window."""
    first, last = np.searchsorted(truth.stamp_ns, [goal.stamp_ns, goal.stamp_ns + round(goal.window_s * 1e9)])
    elapsed = np.asarray((truth.stamp_ns[first:last] - goal.stamp_ns) * 1e-9, dtype=np.float64)
    distance = 1e3 * np.sqrt(np.sum((truth.tool[first:last] - goal.place(elapsed)) ** 2, axis=1))
    return elapsed, np.asarray(distance, dtype=np.float64)


def summary(errors_mm: Array) -> dict[str, float | int | None]:
    """Median, 95th percentile (linear between ranks), maximum and number of targets; None without a finite value."""
    known = len(errors_mm) > 0 and bool(np.isfinite(errors_mm).all())
    values = np.percentile(errors_mm, (50, 95, 100)).tolist() if known else [None, None, None]
    return {"median": values[0], "p95": values[1], "max": values[2], "targets": len(errors_mm)}


def _reach_mm(goal: GoalEvent, truth: TruthLog) -> float:
    elapsed, error = tool_error_mm(goal, truth)
    settled = error[elapsed >= goal.window_s - SETTLED_S]
    covered = truth.stamp_ns[-1] >= goal.stamp_ns + round(goal.window_s * 1e9) and len(settled) > 0
    return float(settled.mean()) if covered else float("inf")
