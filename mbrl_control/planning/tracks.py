"""Chooses the informed proposals of each iteration: approach tracks first, then corrected by the model."""

from __future__ import annotations

import numpy as np

from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.icem import Population, Proposer
from mbrl_control.planning.kinematics import ToolKinematics
from mbrl_control.planning.lag_model import LagModel
from mbrl_control.planning.limits import KnotLimits
from mbrl_control.planning.proposals import Corrector, approach, goal_posture
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, Goal, GoalKind

_IK_FIRST = 12
_IK_PER_CYCLE = 2
"""Iterations of the inverse kinematics: at a new goal, and to follow the null space after each cycle."""


class TrackProposer:
    """Keeps the joint position that meets the goal; makes approach tracks towards it."""

    def __init__(
        self,
        arm: Arm,
        config: PlannerConfig,
        model: LagModel,
        corrector: Corrector,
        limits: KnotLimits,
        horizon: int,
    ) -> None:
        self.horizon = horizon
        self._kinematics = ToolKinematics(arm)
        self._bounds = (arm.lower, arm.upper)
        self._config = config
        self._gains = np.array(config.approach_gains)
        self._model = model
        self._corrector = corrector
        self._limits = limits
        self._target = arm.home
        self._goal: Goal | None = None

    def new_goal(self, goal: Goal, position: Array) -> None:
        """Find the joint position [J] rad of ``goal`` near ``position``."""
        self._goal = goal
        self._target = goal.joint if goal.kind is GoalKind.JOINT else self._descend(goal, position, _IK_FIRST)

    def refine(self) -> None:
        """Follow the null space of the present goal: outside the budget, between two cycles."""
        if self._goal is not None and self._goal.kind is not GoalKind.JOINT:
            self._target = self._descend(self._goal, self._target, _IK_PER_CYCLE)

    def spread(self, position: Array) -> Array:
        """Initial spread [J] rad/s of random samples: a share of the mean speed that the way needs."""
        need = np.abs(self._target - position) / (self.horizon * self._model.dt_s)
        return np.clip(self._config.spread_gain * need, self._config.spread_floor, self._config.spread_ceiling)

    def begin(self, start: tuple[Array, Array], first: Array, last: tuple[Array, Array] | None = None) -> Proposer:
        """Proposals of one cycle from ``start`` (position, velocity [J]) and knot 0.

        ``last``: the best knots and predicted positions [H, J] of the cycle before, at this cycle's times. Corrected
        by the model's own prediction, they make the first iteration go on where the last cycle ended.
        """
        tracks = approach(start, first, self._target, self._gains, self.horizon, self._limits, self._model)
        brake = np.zeros((1, *tracks.knots.shape[1:]))

        def corrected(knots: Array, predicted: Array) -> Array:
            return np.asarray(knots + self._corrector.change(tracks.reference - predicted))

        def propose(population: Population | None) -> Array:
            if population is None:
                first_ones = [tracks.knots, brake]
                return np.concatenate(first_ones if last is None else [*first_ones, corrected(*last)])
            best = int(np.argmin(population.cost))
            return corrected(population.knots[best], population.position[best])

        return propose

    def _descend(self, goal: Goal, guess: Array, rounds: int) -> Array:
        pull = self._config.posture_pull
        return goal_posture(self._kinematics, self._bounds, guess, goal.position, goal.joint, rounds, pull)
