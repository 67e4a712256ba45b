"""Joint positions that put the tool on a path in time, found step by step as far ahead as the planner looks."""

from __future__ import annotations

import math

import numpy as np

from mbrl_control.planning.kinematics import ToolKinematics
from mbrl_control.planning.proposals import goal_posture, rows_at
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, Goal

_FIRST_ROUNDS = 12
_ROUNDS = 3
"""Iterations of the inverse kinematics: from the arm's position, and from the step before."""
_AHEAD = 2
"""Steps found between two cycles, at least as many as a cycle moves on."""


class ToolPath:
    """Of one TOOL_TRAJECTORY goal, on steps of ``dt_s`` after its stamp; between them the joints move linearly."""

    def __init__(self, arm: Arm, kinematics: ToolKinematics, pull: float, dt_s: float, goal: Goal) -> None:
        if goal.times is None or goal.trajectory is None:
            raise ValueError("goal.trajectory: a path of the tool has times and points")
        self._arm, self._kinematics, self._pull, self._dt = arm, kinematics, pull, dt_s
        self._times, self._points, self._posture = goal.times, goal.trajectory, goal.joint
        self._first, self._asked = 0, 1
        self._joints: list[Array] = []
        self._gaps: list[float] = []

    def begin(self, seconds: float, position: Array) -> None:
        """At so long after the stamp, from the joint position [J] rad; what comes before is left out."""
        self._first = math.floor(seconds / self._dt)
        # The horizon's first step.
        self._asked = self._first + 1
        self._joints, self._gaps = [], []
        self._find(position, _FIRST_ROUNDS)

    def tool(self, seconds: Array) -> Array:
        """[N, 3] m at [N] s after the stamp."""
        return rows_at(seconds, self._times, self._points)

    def joints(self, seconds: Array) -> Array:
        """[N, J] rad at [N] s after the stamp, none before `begin`. Time does not go back by more than a step."""
        if math.floor(seconds.min() / self._dt) > self._asked:
            # Nobody has asked for so long that catching up would cost more than beginning anew.
            self.begin(float(seconds.min()) - self._dt, self._joints[-1])
        self._asked = math.ceil(seconds.max() / self._dt)
        self._reach(self._asked)
        self._drop(math.floor(seconds.min() / self._dt) - self._first - 1)
        steps = (self._first + np.arange(len(self._joints), dtype=np.float64)) * self._dt
        return rows_at(seconds, steps, np.stack(self._joints))

    def go_on(self) -> None:
        """Outside the budget: what the next cycle will ask for."""
        self._reach(self._asked + _AHEAD)

    @property
    def gap_m(self) -> float:
        """The largest distance from the path to where the joints put the tool, of the steps that lie ahead."""
        return max(self._gaps)

    def _drop(self, steps: int) -> None:
        passed = min(max(steps, 0), len(self._joints) - 1)
        del self._joints[:passed], self._gaps[:passed]
        self._first += passed

    def _reach(self, step: int) -> None:
        # Behind its end the path rests, and so do the joints that were found for it.
        last = math.ceil(self._times[-1] / self._dt)
        while self._first + len(self._joints) - 1 < min(step, last):
            self._find(self._joints[-1], _ROUNDS)

    def _find(self, guess: Array, rounds: int) -> None:
        seconds = (self._first + len(self._joints)) * self._dt
        point, bounds = self.tool(np.array([seconds]))[0], (self._arm.lower, self._arm.upper)
        found = goal_posture(self._kinematics, bounds, guess, point, self._posture, rounds, self._pull)
        self._joints.append(found)
        self._gaps.append(float(np.linalg.norm(self._kinematics.tool_and_jacobian(found)[0] - point)))
