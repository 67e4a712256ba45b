"""Informed samples: moves towards the goal from kinematics, corrected by what the learned model predicts.

They join the random samples of the optimizer and are scored like those; nothing here decides. With few
samples per cycle they carry most of the way, and the learned model keeps the last word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.planning.kinematics import ToolKinematics
from mbrl_control.planning.lag_model import LagModel
from mbrl_control.planning.limits import KnotLimits
from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class Tracks:
    """One move per approach gain."""

    knots: Array
    """[G, H, J] rad/s."""
    reference: Array
    """[G, H, J] rad, where a nominal servo would be after each step."""
    velocity: Array
    """[G, H, J] rad/s, of the same."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the joints should be after each step of the horizon."""

    position: Array
    """[H, J] rad."""
    velocity: Array
    """[H, J] rad/s."""

    @staticmethod
    def rest(position: Array, horizon: int) -> Target:
        """To stay at ``position`` [J] rad."""
        held = np.broadcast_to(position, (horizon, len(position)))
        return Target(held, np.zeros_like(held))

    def before(self, dt_s: float) -> tuple[Array, Array]:
        """Position and velocity [J] at the beginning of the horizon, by extrapolation."""
        velocity = 2.0 * self.velocity[0] - self.velocity[1]
        return self.position[0] - 0.5 * dt_s * (velocity + self.velocity[0]), velocity


def goal_posture(
    kinematics: ToolKinematics,
    bounds: tuple[Array, Array],
    guess: Array,
    goal: Array,
    posture: Array,
    rounds: int,
    pull: float,
) -> Array:
    """Joint position [J] that puts the tool frame at ``goal`` [3] m, near ``guess`` and drawn to ``posture`` [J],
    within ``bounds`` (lower, upper [J]).

    Damped least squares (Wampler 1986) with a null-space pull (share ``pull`` of the way per round).
    """
    q = guess
    for _ in range(rounds):
        tool, slope = kinematics.tool_and_jacobian(q)
        inverse = slope.T @ np.linalg.inv(slope @ slope.T + _DAMPING * np.eye(3))
        wanted = pull * (posture - q)
        step = inverse @ (goal - tool - slope @ wanted) + wanted
        q = np.clip(q + np.clip(step, -_LARGEST_STEP, _LARGEST_STEP), *bounds)
    return q


def rows_at(seconds: Array, times: Array, rows: Array) -> Array:
    """[N, D] linear between ``rows`` [T, D] at rising [T] s, their ends held outside.

    Only the rows about each moment are touched: in a control cycle a long motion costs what a short one does.
    """
    if len(times) == 1:
        return np.repeat(rows, len(seconds), axis=0)
    after = np.clip(np.searchsorted(times, seconds), 1, len(times) - 1)
    begin, end = times[after - 1], times[after]
    share = np.clip((seconds - begin) / (end - begin), 0.0, 1.0)[:, None]
    return np.asarray(rows[after - 1] * (1.0 - share) + rows[after] * share)


def approach(
    start: tuple[Array, Array],
    first: Array,
    target: Target,
    gains: Array,
    limits: KnotLimits,
    model: LagModel,
) -> Tracks:
    """Moves from ``start`` (position [J], velocity [J]) to and along ``target``, one per gain [G] 1/s.

    The position a servo with lag coasts to, c = x + lag v, integrates the command exactly (c' = a), so the
    law u = c'_target + g (c_target - c) has no overshoot; the joints keep their ratio where the speed limit binds.
    """
    horizon, joints = target.position.shape
    position, velocity = (np.broadcast_to(value, (len(gains), joints)) for value in start)
    coast = position + model.lag_s * velocity
    begin, pace = target.before(model.dt_s)
    ends = np.vstack([begin + model.lag_s * pace, target.position + model.lag_s * target.velocity])
    command = np.broadcast_to(first, (len(gains), joints))
    knots, reference, speed = np.empty((3, len(gains), horizon, joints))
    gain, slowness = gains[:, None], 1.0 / limits.bound
    for k in range(horizon):
        # Half of the next action is already fixed by the knot before.
        lead = (ends[k + 1] - ends[k]) / model.dt_s
        wanted = lead + gain * (ends[k] - coast - 0.5 * model.dt_s * (command - lead))
        excess = np.abs(wanted * slowness).max(axis=1, keepdims=True)
        wanted = wanted / np.maximum(excess, 1.0)
        following = np.minimum(np.maximum(wanted, command - limits.step), command + limits.step)
        action = 0.5 * (command + following)
        coast = coast + action * model.dt_s
        position, velocity = model.advance(position, velocity, action)
        knots[:, k], reference[:, k], speed[:, k] = following, position, velocity
        command = following
    return Tracks(knots, reference, speed)


class Corrector:
    """Turns a predicted position error into a change of knots, through the nominal response.

    Iterative learning control on the learned model instead of the arm (norm-optimal: Amann, Owens and
    Rogers 1996): regularized least squares with a penalty on the knots' differences.
    """

    def __init__(self, response: Array, unit: float) -> None:
        """``response`` [J, H, H] rad: position after step i to the mean drive of step j. ``unit``: change of position
        that weighs as much as a unit difference between knots."""
        horizon = response.shape[-1]
        response = response @ (0.5 * (np.eye(horizon) + np.eye(horizon, k=-1)))
        difference = np.eye(horizon) - np.eye(horizon, k=-1)
        scale = unit**2
        normal = response.transpose(0, 2, 1) @ response + scale * difference.T @ difference
        self._inverse = np.linalg.solve(normal, response.transpose(0, 2, 1))
        """[J, H, H]."""

    def change(self, error: Array) -> Array:
        """Wanted change of position [G, H, J] rad -> change of knots [G, H, J] rad/s, or rad/s^2."""
        moved = self._inverse @ error.transpose(2, 1, 0)
        return np.ascontiguousarray(moved.transpose(2, 1, 0))


_DAMPING = 1e-5
"""m^2 / rad^2: 3 mm per rad, far below an arm's leverage away from singular poses."""
_LARGEST_STEP = 0.3
"""rad per round: the linearization holds about that far."""
