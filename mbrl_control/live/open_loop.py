"""Several steps ahead with the deployed one-step graph, as `learning.open_loop` has it with torch; NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.deployment.manifest import Manifest
from mbrl_control.dynamics.protocol import DynamicsModel
from mbrl_control.signals import Array, CommandInterface, Transitions


@dataclass(frozen=True, slots=True)
class NoiseGains:
    """How one-step variances of k steps add up by the last of them, [k, J] each, the oldest step first."""

    velocity: Array
    """velocity -> velocity."""
    moved: Array
    """velocity -> position, s^2; position stays position."""

    @staticmethod
    def of(manifest: Manifest, steps: int) -> NoiseGains:
        """The last row of `Prior.noise_propagation` of the bundle's prior."""
        age = np.arange(steps - 1, -1, -1, dtype=np.float64)[:, None]
        if manifest.command_interface is CommandInterface.EFFORT:
            every = np.ones((steps, len(manifest.joint_names)))
            return NoiseGains(every, (every * age * manifest.dt_s) ** 2)
        lag = np.array(manifest.lag_s)
        kept = np.exp(-manifest.dt_s / np.maximum(lag, np.finfo(np.float64).tiny)) ** age
        return NoiseGains(kept**2, (lag * (1.0 - kept)) ** 2)


@dataclass(frozen=True, slots=True)
class Ahead:
    """Of one start: q, dq and effort after the last step, [3J]."""

    error: Array
    """Truth minus the members' mean."""
    variance: Array
    """Total: the members' disagreement, and each step's noise as the prior's nominal response carries it on."""


def look_ahead(model: DynamicsModel, gains: NoiseGains, rows: Transitions, start: int, steps: int) -> Ahead:
    """From row ``start`` with the commands of the next ``steps`` rows; each member goes on from its own mean.

    Outputs that are not finite come back as they are: what they mean is the caller's to say.
    """
    first = np.concatenate([rows.position[start], rows.velocity[start], rows.history[start].ravel()])
    state, noises = np.broadcast_to(first, (model.members, 1, len(first))), []
    for step in range(start, start + steps):
        predicted = model.predict(state, rows.action[step : step + 1])
        state = predicted.state
        noises.append(predicted.variance[:, 0].mean(axis=0))
    mean, last = predicted.mean[:, 0], start + steps - 1
    truth = np.concatenate([rows.next_position[last], rows.next_velocity[last], rows.next_effort[last]])
    return Ahead(truth - mean.mean(axis=0), mean.var(axis=0) + _accumulated(gains, np.array(noises)))


def _accumulated(gains: NoiseGains, noises: Array) -> Array:
    """One-step variances [k, 3J] -> [3J]."""
    position, velocity, effort = np.split(noises, 3, axis=1)
    drifted = position.sum(axis=0) + (gains.moved * velocity).sum(axis=0)
    return np.concatenate([drifted, (gains.velocity * velocity).sum(axis=0), effort[-1]])
