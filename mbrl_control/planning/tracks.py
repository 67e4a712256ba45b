"""The informed proposals of each iteration: moves to the goal first, then corrected by what the model predicts.

One proposer per command interface; the planner chooses by the arm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.fallback import Stop
from mbrl_control.planning.lag_model import LagModel
from mbrl_control.planning.limits import TORQUE_SPEED_SHARE, KnotLimits, mean_actions, project
from mbrl_control.planning.methods.protocol import Population
from mbrl_control.planning.optimize import Proposer
from mbrl_control.planning.problem import Best
from mbrl_control.planning.proposals import Corrector, Target, approach
from mbrl_control.planning.torque_tracks import (
    TorqueKnots,
    accelerate_to,
    holding_torque,
    integrator_response,
    learned_torque,
    torque_knots,
)
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, CommandInterface


@dataclass(frozen=True, slots=True)
class Remembered:
    """Of a cycle's best plan, as the model predicts it."""

    rows: Array
    """[R, H, J] over its steps, for the next cycle's proposals."""
    rest: Array
    """[J] the command under which the arm stays where the plan leads it."""


class TrackProposer(Protocol):
    """Proposes knots towards a target."""

    @property
    def limits(self) -> KnotLimits:
        """Of the knots."""
        ...

    def cap(self, share: float) -> None:
        """From now on keep within this share of the rated speeds, as far as commands determine speeds."""
        ...

    def spread(self, position: Array, target: Target) -> tuple[Array, Array]:
        """Initial and least standard deviation [J] of random samples, in units of the commands."""
        ...

    def stop(self, position: Array, velocity: Array, first: Array) -> Stop:
        """To rest within the knots' limits, as the arm's description predicts it."""
        ...

    def along(self, target: Target) -> Array:
        """What commands [J] contain to go on with ``target`` behind its end."""
        ...

    def remember(self, start: tuple[Array, Array], first: Array, best: Best) -> Remembered:
        """What the next cycle wants to know of this one's best plan."""
        ...

    def begin(self, start: tuple[Array, Array], first: Array, target: Target, last: Array | None) -> Proposer:
        """Proposals of one cycle from ``start`` (position, velocity [J]) and knot 0 ``first`` [J].

        ``last``: the rows remembered of the cycle before, at this cycle's times. Corrected by the model's own
        prediction, its best plan makes the first iteration go on where the last cycle ended.
        """
        ...


def proposer_for(arm: Arm, config: PlannerConfig, horizon: int, dt_s: float) -> TrackProposer:
    """The proposer of the arm's command interface."""
    kind = EffortProposer if arm.interface is CommandInterface.EFFORT else VelocityProposer
    return kind(arm, config, horizon, dt_s)


class VelocityProposer:
    """Velocity knots for a servo with lag."""

    def __init__(self, arm: Arm, config: PlannerConfig, horizon: int, dt_s: float) -> None:
        self._rated = arm.velocity
        self.limits = KnotLimits(
            arm.velocity * config.speed_scale, arm.acceleration * (config.acceleration_scale * dt_s)
        )
        self._config, self._horizon = config, horizon
        self._gains = np.array(config.approach_gains)
        self._model = LagModel(arm.servo_lag_s, dt_s)
        self._corrector = Corrector(self._model.position_response(horizon), config.correction_smoothness * dt_s)

    def cap(self, share: float) -> None:
        """See TrackProposer."""
        self.limits = replace(self.limits, bound=self._rated * share)

    def spread(self, position: Array, target: Target) -> tuple[Array, Array]:
        """See TrackProposer: a share of the mean speed that the way needs, rad/s."""
        config = self._config
        need = np.abs(target.position[-1] - position) / (len(target.position) * self._model.dt_s)
        floor = np.full_like(position, config.spread_floor)
        return np.clip(config.spread_gain * need, config.spread_floor, config.spread_ceiling), floor

    def stop(self, position: Array, velocity: Array, first: Array) -> Stop:
        """See TrackProposer."""
        knots = project(np.zeros((1, self._horizon, len(first))), first, self.limits)
        actions, rows = mean_actions(knots, first)[0], []
        for action in actions:
            position, velocity = self._model.advance(position, velocity, action)
            rows.append((position, velocity))
        positions, velocities = (np.stack(values) for values in zip(*rows, strict=True))
        return Stop(knots[0], positions, velocities)

    def along(self, target: Target) -> Array:
        """See TrackProposer: its speed."""
        return np.asarray(target.velocity[-1], dtype=np.float64)

    def remember(self, start: tuple[Array, Array], first: Array, best: Best) -> Remembered:
        """See TrackProposer: knots and predicted positions; what the commands ask for beyond the motion, rad/s, is what
        a load sags by."""
        asked = mean_actions(best.knots[None], first)[0].mean(axis=0)
        moved = self._model.mean_command(start, (best.position[-1], best.velocity[-1]), self._horizon)
        return Remembered(np.stack([best.knots, best.position]), asked - moved)

    def begin(self, start: tuple[Array, Array], first: Array, target: Target, last: Array | None) -> Proposer:
        """See TrackProposer."""
        tracks = approach(start, first, target, self._gains, self.limits, self._model)
        brake = np.zeros((1, *tracks.knots.shape[1:]))

        def corrected(knots: Array, predicted: Array) -> Array:
            return np.asarray(knots + self._corrector.change(tracks.reference - predicted))

        def propose(population: Population | None) -> Array:
            if population is None:
                # The brake first: where samples are few (the elites and the mean come before), the last have no place.
                first_ones = [brake, tracks.knots]
                return np.concatenate(first_ones if last is None else [*first_ones, corrected(*last)])
            best = int(np.argmin(population.cost))
            return corrected(population.knots[best], population.position[best])

        return propose


class EffortProposer:
    """Torque knots: critically damped moves, turned into torques by the rigid body of the arm description.

    A gain of zero brakes. Corrections are accelerations, weighed with the mass matrix on the motion.
    """

    def __init__(self, arm: Arm, config: PlannerConfig, horizon: int, dt_s: float) -> None:
        self._rated = arm.velocity
        self.limits = KnotLimits(arm.effort * config.effort_scale, arm.torque_rate * (config.acceleration_scale * dt_s))
        self._motion_limits = KnotLimits(
            arm.velocity * (TORQUE_SPEED_SHARE * config.speed_scale),
            arm.acceleration * (2.0 * config.acceleration_scale * dt_s),
        )
        self._config, self._horizon = config, horizon
        self._gains = np.array([*config.effort_approach_gains, 0.0])
        self._body = RigidBody(arm)
        self._inertia_at: Array | None = None
        self._inertia = np.zeros(arm.joints)
        self._dt = dt_s
        response = integrator_response(arm.joints, horizon, dt_s)
        self._corrector = Corrector(response, config.effort_correction_smoothness * dt_s**2)

    def cap(self, share: float) -> None:
        """See TrackProposer: of the moves; random torques know no speed, the guard does."""
        self._motion_limits = replace(self._motion_limits, bound=self._rated * (TORQUE_SPEED_SHARE * share))

    def spread(self, position: Array, target: Target) -> tuple[Array, Array]:
        """See TrackProposer: torques for a share of the acceleration that the way needs, N m."""
        config = self._config
        need = 2.0 * np.abs(target.position[-1] - position) / (len(target.position) * self._dt) ** 2
        floor, ceiling = config.acceleration_spread
        inertia = self._inertia_near(position)
        return inertia * np.clip(config.spread_gain * need, floor, ceiling), inertia * floor

    def _inertia_near(self, position: Array) -> Array:
        """[J] kg m^2 of each joint with the others held: a scale for random torques, renewed when the arm has moved."""
        if self._inertia_at is None or np.abs(position - self._inertia_at).max() > _SAME_INERTIA_RAD:
            mass, _ = self._body.terms(position[None], np.zeros((1, len(position))))
            self._inertia_at, self._inertia = position, np.diagonal(mass[0])
        return self._inertia

    def stop(self, position: Array, velocity: Array, first: Array) -> Stop:
        """See TrackProposer."""
        target, gains = Target.rest(position, self._horizon), np.append(self._gains[:1], 0.0)
        motions = accelerate_to((position, velocity), target, gains, self._motion_limits, self._dt)
        torques = torque_knots(self._body, motions, None)
        knots = project(torques.effort[-1:], first, self.limits)[0]
        return Stop(knots, motions.position[-1], motions.velocity[-1])

    def along(self, target: Target) -> Array:
        """See TrackProposer: nothing, speed itself takes no torque."""
        return np.zeros(target.velocity.shape[1])

    def remember(self, start: tuple[Array, Array], first: Array, best: Best) -> Remembered:
        """See TrackProposer: knots, predicted positions, and the torques that the model adds to the prior."""
        predicted = (best.position, best.velocity)
        learned = learned_torque(self._body, start, first, best.knots, predicted, self._dt)
        rest = holding_torque(self._body, best.position[-1], learned)
        return Remembered(np.stack([best.knots, best.position, learned]), rest)

    def begin(self, start: tuple[Array, Array], first: Array, target: Target, last: Array | None) -> Proposer:
        """See TrackProposer."""
        motions = accelerate_to(start, target, self._gains, self._motion_limits, self._dt)
        torques = torque_knots(self._body, motions, None if last is None else last[2])

        def corrected(knots: Array, predicted: Array) -> Array:
            return knots + _weighed(torques, self._corrector.change(motions.position - predicted))

        def propose(population: Population | None) -> Array:
            if population is None:
                # The brake, the last gain's, first: where samples are few, the last rows have no place.
                moves = np.roll(torques.effort, 1, axis=0)
                return moves if last is None else np.concatenate([moves, corrected(*last[:2])])
            best = int(np.argmin(population.cost))
            return corrected(population.knots[best], population.position[best])

        return propose


_SAME_INERTIA_RAD = 0.03
"""Of every joint."""


def _weighed(torques: TorqueKnots, acceleration: Array) -> Array:
    """Change of acceleration [G, H, J] -> change of torque [G, H, J]."""
    return np.asarray((torques.mass @ acceleration[..., None])[..., 0], dtype=np.float64)
