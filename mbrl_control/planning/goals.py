"""Which goals a planner takes in: a refused one leaves the one in force alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mbrl_control.signals import Goal, GoalKind

PLANNED_KINDS = (GoalKind.JOINT, GoalKind.POSE, GoalKind.TRAJECTORY)
FUTURE_NS = 5_000_000
"""A stamp may be that far ahead of the receiver's reading of the same clock."""


def goal_refusal(goal: Goal, now_ns: int) -> str:
    """Why the goal is refused, with the remedy; empty: it is taken."""
    if goal.stamp_ns > now_ns + FUTURE_NS:
        # It would outlive every arming until then.
        return "goal.stamp: lies in the future; stamp it with the graph's clock"
    if not (np.isfinite(goal.position).all() and np.isfinite(goal.joint).all()):
        return "goal: not finite; send finite numbers"
    return _trajectory_refusal(goal) if goal.kind is GoalKind.TRAJECTORY else ""


def renewed(goal: Goal, now_ns: int, sequence: int) -> Goal:
    """The same goal, asked for again: an arming discards every goal stamped earlier. A trajectory stays in its time."""
    elapsed_s = (now_ns - goal.stamp_ns) * 1e-9
    times = None if goal.times is None else goal.times - elapsed_s
    return replace(goal, stamp_ns=now_ns, sequence=sequence, times=times)


def _trajectory_refusal(goal: Goal) -> str:
    times, rows = goal.times, goal.trajectory
    if times is None or rows is None or len(times) < 2 or rows.shape != (len(times), len(goal.joint)):
        return "goal.trajectory: has not one row of joints per time, or fewer than two; send [T] times and [T*J] rad"
    if not (np.isfinite(times).all() and np.isfinite(rows).all()):
        return "goal.trajectory: not finite; send finite numbers"
    if (np.diff(times) <= 0.0).any():
        return "goal.trajectory_times: do not increase; sort them"
    return ""
