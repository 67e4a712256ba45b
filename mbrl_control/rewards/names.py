"""Names and default weights of the cost terms: readable without torch, so a control process may import it."""

from __future__ import annotations

import numpy as np

from mbrl_control.robot import Arm
from mbrl_control.signals import Array, CommandInterface, GoalKind

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
"""Order of the weight vector [T] of a rollout graph."""

ENERGY = "energy"
"""Stands last in the graphs of arms whose torque commands carry the weight; nowhere else is energy to be had by
swinging. No goal weighs it unless the planner's settings say so."""


def term_names(arm: Arm) -> tuple[str, ...]:
    """Order of the weight vector [T] of the rollout graphs of an arm."""
    effort = arm.effort_mode if arm.interface is CommandInterface.EFFORT else None
    return TERM_NAMES if effort is None or effort.gravity_compensated else (*TERM_NAMES, ENERGY)


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
_TRAJECTORY = {"reach": 20.0, "joint_goal": 20.0, "smoothness": 0.1, "joint_limit": 10.0}
"""No charge on speed: the motion itself is asked for."""


def default_weights(kind: GoalKind) -> Array:
    """[T] weights of the terms for a goal of this kind."""
    chosen = {GoalKind.POSE: _POSE, GoalKind.JOINT: _JOINT, GoalKind.TRAJECTORY: _TRAJECTORY}[kind]
    return np.array([chosen.get(name, 0.0) for name in TERM_NAMES])
