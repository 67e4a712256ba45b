"""Names and default weights of the cost terms: readable without torch, so a control process may import it."""

from __future__ import annotations

import numpy as np

from mbrl_control.signals import Array, GoalKind

TERM_NAMES = (
    "reach",
    "reach_terminal",
    "speed_near_goal",
    "speed_terminal",
    "smoothness",
    "posture",
    "joint_goal",
    "joint_limit",
)
"""Order of the weight vector [T] of every rollout graph."""

_POSE = {
    "reach": 10.0,
    "reach_terminal": 10.0,
    "speed_near_goal": 0.2,
    "speed_terminal": 0.05,
    "smoothness": 0.1,
    "posture": 0.01,
    "joint_limit": 10.0,
}
_JOINT = {"joint_goal": 10.0, "speed_terminal": 0.05, "smoothness": 0.1, "joint_limit": 10.0}


def default_weights(kind: GoalKind) -> Array:
    """[T] weights of the terms for a goal of this kind."""
    chosen = _JOINT if kind is GoalKind.JOINT else _POSE
    return np.array([chosen.get(name, 0.0) for name in TERM_NAMES])
