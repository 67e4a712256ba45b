"""Informed motions of an arm that takes torques: critically damped moves, and the computed torque along them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.planning.limits import KnotLimits, mean_actions
from mbrl_control.planning.proposals import Target
from mbrl_control.rigid_body import RigidBody
from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class Motions:
    """One motion per gain."""

    position: Array
    """[G, H, J] rad, after each step."""
    velocity: Array
    """[G, H, J] rad/s."""
    acceleration: Array
    """[G, H, J] rad/s^2, held over each step."""


def accelerate_to(start: tuple[Array, Array], target: Target, gains: Array, limits: KnotLimits, dt_s: float) -> Motions:
    """Motions from ``start`` (position [J], velocity [J]) to and along ``target``, one per gain [G] 1/s.

    Relative to the target, speed follows ``-gain distance`` four times as fast as the position: critically damped with
    the natural frequency 2 gain, and no lag behind a target that accelerates. The joints keep their ratio at the limit
    of speed. A gain of 0 brakes. ``limits.bound`` is in rad/s, ``limits.step`` in rad/s per step.
    """
    horizon, joints = target.position.shape
    position, velocity = (np.broadcast_to(value, (len(gains), joints)) for value in start)
    gain, moving = gains[:, None], (gains[:, None] != 0.0).astype(np.float64)
    share = np.minimum(4.0 * np.where(moving, gain, gains.max()) * dt_s, _FASTEST)
    begin, pace = target.before(dt_s)
    goals, paces = np.vstack([begin, target.position]), np.vstack([pace, target.velocity])
    leads, slowness = moving * np.diff(paces, axis=0)[:, None], 1.0 / limits.bound
    rows = np.empty((3, len(gains), horizon, joints))
    for k in range(horizon):
        wanted = moving * (paces[k] + gain * (goals[k] - position))
        wanted = wanted / np.maximum((np.abs(wanted) * slowness).max(axis=1, keepdims=True), 1.0)
        change = np.minimum(np.maximum(share * (wanted - velocity) + leads[k], -limits.step), limits.step)
        position = position + dt_s * (velocity + 0.5 * change)
        velocity = velocity + change
        rows[0, :, k], rows[1, :, k], rows[2, :, k] = position, velocity, change
    return Motions(rows[0], rows[1], rows[2] / dt_s)


_FASTEST = 0.7
"""Of a speed error that one step takes back; more would overshoot."""


@dataclass(frozen=True, slots=True)
class TorqueKnots:
    """Along G motions of H steps."""

    effort: Array
    """[G, H, J] N m at the end of each step."""
    mass: Array
    """[G, H, J, J] kg m^2 there."""


def torque_knots(body: RigidBody, motions: Motions, learned: Array | None) -> TorqueKnots:
    """Torques at the knots of ``motions``; ``learned`` [H, J] N m acts on the joints in each step besides the command.

    The torque at a knot is the mean of those of the steps that meet there; the last step's is held.
    """
    shape, rows = motions.position.shape, (-1, body.joints)
    mass, bias = body.terms(motions.position.reshape(rows), motions.velocity.reshape(rows))
    mass = mass.reshape(*shape, body.joints)
    step = (mass @ motions.acceleration[..., None])[..., 0] + bias.reshape(shape)
    if learned is not None:
        step = step - learned
    return TorqueKnots(np.concatenate([0.5 * (step[:, :-1] + step[:, 1:]), step[:, -1:]], axis=1), mass)


def learned_torque(
    body: RigidBody, start: tuple[Array, Array], first: Array, knots: Array, predicted: tuple[Array, Array], dt_s: float
) -> Array:
    """[H, J] N m that acts on the joints in each step of a prediction besides the command: what the model has learned.

    ``start`` and ``predicted`` are positions and velocities [J] and [H, J]; ``first`` [J] and ``knots`` [H, J] command.
    """
    position, velocity = (np.vstack([begin, rows]) for begin, rows in zip(start, predicted, strict=True))
    mass, bias = body.terms(position[:-1], velocity[:-1])
    acceleration = np.diff(velocity, axis=0) / dt_s
    applied = mean_actions(knots[None], first)[0]
    return np.asarray((mass @ acceleration[..., None])[..., 0] + bias - applied, dtype=np.float64)


def holding_torque(body: RigidBody, position: Array, learned: Array) -> Array:
    """[J] N m that keeps the arm at ``position`` [J]: against gravity, where nothing else carries it, and against the
    mean of the ``learned`` torques [H, J] of a prediction that ends there."""
    _, carried = body.terms(position[None], np.zeros_like(position)[None])
    return np.asarray(carried[0] - learned.mean(axis=0), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class RigidModel:
    """`StepModel` of the prior alone, in NumPy: the collector's, which has no bundle."""

    body: RigidBody
    dt_s: float

    def step(self, state: Array, action: Array) -> Array:
        """State [S] (position, velocity, history oldest first) and torque [J] N m -> state one dt later."""
        joints = self.body.joints
        position, velocity = self.advance(state[:joints], state[joints : 2 * joints], action)
        return np.concatenate([position, velocity, state[3 * joints :], action])

    def advance(self, position: Array, velocity: Array, action: Array) -> tuple[Array, Array]:
        """Position and velocity [J] after one step of constant acceleration."""
        acceleration = self.body.acceleration(position[None], velocity[None], action[None])[0]
        moved = position + self.dt_s * velocity + 0.5 * self.dt_s**2 * acceleration
        return moved, velocity + self.dt_s * acceleration


def integrator_response(joints: int, horizon: int, dt_s: float) -> Array:
    """[J, H, H] of position after step i to the acceleration of step j, rad per rad/s^2."""
    age = np.arange(horizon)[:, None] - np.arange(horizon)[None, :]
    response = np.where(age >= 0, (age + 0.5) * dt_s**2, 0.0)
    return np.broadcast_to(response, (joints, horizon, horizon))
