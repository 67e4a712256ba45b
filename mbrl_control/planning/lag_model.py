"""First-order velocity servo, x' = v, v' = (a - v) / lag, in NumPy: the collector's and the tests' step model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class LagModel:
    """Exact one-step response to a command that is constant over the step."""

    lag_s: Array
    """[J] s."""
    dt_s: float

    def step(self, state: Array, action: Array) -> Array:
        """State [S] (position, velocity, history oldest first) and command [J] -> state one dt later."""
        joints = len(self.lag_s)
        position, velocity = self.advance(state[:joints], state[joints : 2 * joints], action)
        return np.concatenate([position, velocity, state[3 * joints :], action])

    def advance(self, position: Array, velocity: Array, action: Array) -> tuple[Array, Array]:
        """Position and velocity [..., J] after one step."""
        gain = 1.0 - np.exp(-self.dt_s / self.lag_s)
        moved = position + action * self.dt_s + (velocity - action) * self.lag_s * gain
        return moved, velocity + (action - velocity) * gain

    def mean_command(self, start: tuple[Array, Array], end: tuple[Array, Array], steps: int) -> Array:
        """[J] rad/s that leads from position and velocity [J] to others in so many steps: the point x + lag v, to which
        it would coast, moves by the command exactly."""
        (begin, before), (there, after) = start, end
        return (there - begin + self.lag_s * (after - before)) / (steps * self.dt_s)

    def position_response(self, horizon: int) -> Array:
        """[J, H, H] of position after step i to the mean command of step j, rad per rad/s."""
        joints = len(self.lag_s)
        response = np.zeros((joints, horizon, horizon))
        position, velocity = self.advance(np.zeros(joints), np.zeros(joints), np.ones(joints))
        for i in range(horizon):
            for j in range(horizon - i):
                response[:, i + j, j] = position
            position, velocity = self.advance(position, velocity, np.zeros(joints))
        return response
