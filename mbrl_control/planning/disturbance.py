"""Offset-free planning of torques: what pushes the arm and the model does not predict is estimated and planned with.

An unmodelled torque ``d`` acts on the joints besides the command u, so the model is asked for ``u + d``: a planner
works in that sum and gives out the knots less ``d``. Without it a joint that friction holds beside its path stays
there, as no part of a predictive controller integrates (input disturbance model: Pannocchia and Rawlings, AIChE J. 49
(2003)). The estimate follows the model's one-step error of acceleration, times the mass matrix, with a first-order lag.
"""

from __future__ import annotations

import numpy as np

from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.protocol import StepModel
from mbrl_control.planning.rollforward import TimeGrid
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, BeliefState, CommandInterface

LARGEST_SHARE = 0.3
"""Of each joint's torque limit: what a blocked arm can wind up."""
FORGET_NS = 1_000_000_000
"""An estimate outlives the guard's short holds, with the load that it is of; longer without a plan, and it is old."""


def observes(arm: Arm, config: PlannerConfig) -> bool:
    """A servo takes care of what pushes an arm that is given velocities."""
    return arm.interface is CommandInterface.EFFORT and config.disturbance_settle_s > 0.0


class DisturbanceObserver:
    """Estimate of one arm's unmodelled torque; ``settle_s`` is the time constant of its lag."""

    def __init__(self, arm: Arm, settle_s: float) -> None:
        self._body = RigidBody(arm)
        self._settle_s = settle_s
        self._limit = LARGEST_SHARE * arm.effort
        self.forget()

    @property
    def torque(self) -> Array:
        """[J] N m, acts on the joints besides the command."""
        return self._torque

    @property
    def saturated(self) -> tuple[bool, ...]:
        """[J]: the estimate of this joint is at its bound, so it may be more than is planned with."""
        return tuple((np.abs(self._torque) >= self._limit).tolist())

    def forget(self) -> None:
        """Nothing is known: another model, another epoch, or a long time without a plan."""
        self._torque = np.zeros(self._body.joints)
        self._before: BeliefState | None = None
        self._followed_ns: int | None = None

    def pause(self, now_ns: int) -> bool:
        """The arm follows no plan, and may be held by brakes; True: for so long that all is to be forgotten."""
        self._before = None
        return self._followed_ns is not None and now_ns - self._followed_ns > FORGET_NS

    def observe(self, belief: BeliefState, history: CommandHistory, grid: TimeGrid, model: StepModel) -> None:
        """Take in what the arm did since a belief about one step before; a planner may ask twice within a step."""
        before, self._followed_ns = self._before, belief.stamp_ns
        steps = 0.0 if before is None else (belief.stamp_ns - before.stamp_ns) / grid.dt_ns
        if before is not None and 0.0 <= steps < 0.75:
            return
        self._before = belief
        if before is None or not 0.0 < steps < 1.5:
            return
        elapsed_s = (belief.stamp_ns - before.stamp_ns) * 1e-9
        lacking = (belief.velocity - before.velocity) / elapsed_s - self._expected(before, history, grid, model)
        mass, _ = self._body.terms(before.position[None], before.velocity[None])
        torque = self._torque + min(1.0, elapsed_s / self._settle_s) * (mass[0] @ lacking)
        if np.isfinite(torque).all():
            self._torque = np.clip(torque, -self._limit, self._limit)

    def _expected(self, before: BeliefState, history: CommandHistory, grid: TimeGrid, model: StepModel) -> Array:
        """Acceleration [J] rad/s^2 that the model gives the step after ``before``, under the applied commands."""
        first_ns = before.stamp_ns - grid.delay_ns - grid.past * grid.dt_ns
        commands = history.means(first_ns, grid.dt_ns, grid.past + 1) + self._torque
        joints = self._body.joints
        state = np.concatenate([before.position, before.velocity, commands[:-1].ravel()])
        after = model.step(state, commands[-1])[joints : 2 * joints]
        return np.asarray((after - before.velocity) / (grid.dt_ns * 1e-9), dtype=np.float64)
