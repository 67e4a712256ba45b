"""What a goal asks of every step of the horizon, in joint space and at the tool."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mbrl_control.planning.kinematics import ToolKinematics
from mbrl_control.planning.proposals import Target, goal_posture, rows_at
from mbrl_control.planning.tool_path import ToolPath
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, Goal, GoalKind

_IK_FIRST = 12
_IK_PER_CYCLE = 2
"""Iterations of the inverse kinematics: at a new goal, and to follow the null space after each cycle."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """The goal over one horizon."""

    target: Target
    """For the joints: what informed proposals move to."""
    tool: Array
    """[H, 3] m, what the cost terms measure the tool against."""
    joint: Array
    """[H, J] rad, what they measure the joints against."""


class GoalTarget:
    """Keeps the goal in force and the joint position that meets it."""

    def __init__(self, arm: Arm, posture_pull: float, horizon: int, dt_s: float) -> None:
        self._arm, self._pull, self._horizon, self._dt = arm, posture_pull, horizon, dt_s
        self._kinematics = ToolKinematics(arm)
        self._goal: Goal | None = None
        self._posture = arm.home
        self._gap = 0.0
        self._tool_path: ToolPath | None = None

    def fits(self, horizon: int, dt_s: float) -> bool:
        """Whether it serves a model of this grid, too: what was found for the goal in force is then kept."""
        return (self._horizon, self._dt) == (horizon, dt_s)

    def holds(self, goal: Goal) -> bool:
        """Whether ``goal`` is the one in force. Every sender counts from 1, so a sequence alone is no name."""
        known = self._goal
        return known is not None and (known.stamp_ns, known.sequence) == (goal.stamp_ns, goal.sequence)

    @property
    def gap_m(self) -> float:
        """From the goal for the tool to where the joint positions found for it put the tool; 0 of goals for joints."""
        return self._gap

    def forget(self) -> None:
        """No goal is in force."""
        self._goal, self._gap = None, 0.0

    def take(self, goal: Goal, position: Array, state_ns: int) -> None:
        """Make ``goal`` the one in force, from the joint position [J] rad of the state at ``state_ns``."""
        # A posture beyond the limits, as zeros are for some arms, would draw the arm against its stops.
        goal = replace(goal, joint=np.clip(goal.joint, self._arm.lower, self._arm.upper))
        self._goal, self._gap, self._tool_path = goal, 0.0, None
        if goal.kind is GoalKind.POSE:
            self._descend(goal, position, _IK_FIRST)
        elif goal.kind is GoalKind.TOOL_TRAJECTORY:
            self._tool_path = ToolPath(self._arm, self._kinematics, self._pull, self._dt, goal)
            self._tool_path.begin((state_ns - goal.stamp_ns) * 1e-9, position)
        elif goal.kind is GoalKind.JOINT:
            self._posture = goal.joint

    def refine(self) -> None:
        """Follow the null space of a pose, or the path of a tool: outside the budget, between two cycles."""
        if self._goal is not None and self._goal.kind is GoalKind.POSE:
            self._descend(self._goal, self._posture, _IK_PER_CYCLE)
        if self._tool_path is not None:
            self._tool_path.go_on()

    def ahead(self, state_ns: int) -> Ahead:
        """Over the steps that follow the state at ``state_ns``."""
        goal, horizon = self._goal, self._horizon
        if goal is None:
            raise ValueError("no goal yet: call take() before ahead()")
        if goal.times is None or goal.trajectory is None:
            held = (horizon, 1)
            return Ahead(Target.rest(self._posture, horizon), np.tile(goal.position, held), np.tile(goal.joint, held))
        seconds = (state_ns - goal.stamp_ns) * 1e-9 + self._dt * np.arange(1, horizon + 1, dtype=np.float64)
        half = np.full_like(seconds, 0.5 * self._dt)
        joint, later, earlier = (self._joints_at(goal, moment) for moment in (seconds, seconds + half, seconds - half))
        if self._tool_path is None:
            tool = self._kinematics.tools(joint)
        else:
            tool, self._gap = self._tool_path.tool(seconds), self._tool_path.gap_m
        return Ahead(Target(joint, (later - earlier) / self._dt), tool, joint)

    def _joints_at(self, goal: Goal, seconds: Array) -> Array:
        """[N, J] rad that a moving goal asks for at [N] s after its stamp."""
        if self._tool_path is not None:
            return self._tool_path.joints(seconds)
        assert goal.times is not None
        assert goal.trajectory is not None
        return rows_at(seconds, goal.times, goal.trajectory)

    def _descend(self, goal: Goal, guess: Array, rounds: int) -> None:
        bounds = (self._arm.lower, self._arm.upper)
        self._posture = goal_posture(self._kinematics, bounds, guess, goal.position, goal.joint, rounds, self._pull)
        tool, _ = self._kinematics.tool_and_jacobian(self._posture)
        self._gap = float(np.linalg.norm(tool - goal.position))
