"""Which goals a planner takes in: a refused one leaves the one in force alone."""

from __future__ import annotations

import numpy as np

from mbrl_control.signals import Goal, GoalKind

PLANNED_KINDS = (GoalKind.JOINT, GoalKind.POSE)
FUTURE_NS = 5_000_000
"""A stamp may be that far ahead of the receiver's reading of the same clock."""


def goal_refusal(goal: Goal, now_ns: int) -> str:
    """Why the goal is refused, with the remedy; empty: it is taken."""
    if goal.kind not in PLANNED_KINDS:
        return f"goal.kind: {goal.kind.name} is not planned; send JOINT or POSE"
    if goal.stamp_ns > now_ns + FUTURE_NS:
        # It would outlive every arming until then.
        return "goal.stamp: lies in the future; stamp it with the graph's clock"
    if not (np.isfinite(goal.position).all() and np.isfinite(goal.joint).all()):
        return "goal: not finite; send finite numbers"
    return ""
