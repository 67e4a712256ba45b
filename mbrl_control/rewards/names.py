"""Names and default weights of the cost terms: readable without torch, so a control process may import it."""

from __future__ import annotations

from mbrl_control.robot import Arm
from mbrl_control.signals import CommandInterface, GoalKind

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
FURTHER_NAMES = ("speed_limit", "spread", "obstacle")
"""Follow in the graphs of an extended bundle. A negative weight of ``spread`` seeks what the model does not know, a
positive one keeps away from it."""

ENERGY = "energy"
"""Stands last in the graphs of arms whose torque commands carry the weight; nowhere else is energy to be had by
swinging. No goal weighs it unless the planner's settings say so."""

DISTRUST = "distrust"
"""Has no weight: what a rollout's cost was raised by because its end lies where the model was never validated. Stands
behind all others in the terms that a rollout reports."""


def term_names(arm: Arm, extended: bool = False) -> tuple[str, ...]:
    """Order of the weight vector [T] of the rollout graphs of an arm."""
    effort = arm.effort_mode if arm.interface is CommandInterface.EFFORT else None
    names = (*TERM_NAMES, *FURTHER_NAMES) if extended else TERM_NAMES
    return names if effort is None or effort.gravity_compensated else (*names, ENERGY)


_OBSTACLE = 1e4
"""1/m^2: touching an obstacle with a margin of 3 cm costs as much as being 0.9 m from the goal."""
_POSE = {
    "obstacle": _OBSTACLE,
    "reach": 10.0,
    "reach_terminal": 10.0,
    "speed_near_goal": 0.2,
    "speed_terminal": 0.05,
    "smoothness": 0.1,
    "posture": 0.01,
    "joint_limit": 10.0,
}
_JOINT = {"obstacle": _OBSTACLE, "joint_goal": 10.0, "speed_terminal": 0.05, "smoothness": 0.1, "joint_limit": 10.0}
_TRAJECTORY = {"obstacle": _OBSTACLE, "reach": 20.0, "joint_goal": 20.0, "smoothness": 0.1, "joint_limit": 10.0}
"""No charge on speed: the motion itself is asked for."""
_TOOL_TRAJECTORY = {"obstacle": _OBSTACLE, "reach": 20.0, "posture": 0.01, "smoothness": 0.1, "joint_limit": 10.0}
"""The joints found for the path count as little as the posture of a pose: they hold what the tool leaves free."""


def default_weights(kind: GoalKind) -> dict[str, float]:
    """Of the terms that count for a goal of this kind."""
    return {
        GoalKind.POSE: _POSE,
        GoalKind.JOINT: _JOINT,
        GoalKind.TRAJECTORY: _TRAJECTORY,
        GoalKind.TOOL_TRAJECTORY: _TOOL_TRAJECTORY,
    }[kind]
