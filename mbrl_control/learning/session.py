"""What a model says of the rows of one session: predictions at some horizons, and scores of its windows of motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.detection import innovation, unfamiliarity, windowed
from mbrl_control.learning.open_loop import Predicted, predictions
from mbrl_control.signals import Array, Transitions

HORIZONS = (1, 5, 15)
MOVES = 0.05
"""rad/s, RMS over joints and a window, from which the window counts as motion."""


@dataclass(frozen=True, slots=True)
class Session:
    """Rows one model step apart, and what the model says of them."""

    rows: Transitions
    ahead: dict[int, Predicted]
    """By steps."""
    dt_ns: int

    @staticmethod
    def of(ensemble: ProbabilisticEnsemble, rows: Transitions) -> Session:
        """DataError where no window of max(`HORIZONS`) steps is whole."""
        ahead = {each.steps: each for each in predictions(ensemble, rows, HORIZONS)}
        return Session(rows, ahead, round(ensemble.prior.dt_s * 1e9))


def window_scores(session: Session, steps: int, scale: Array, unit: Array, window_ns: int) -> dict[str, Array]:
    """[n] of each score, of the windows of motion; ``scale`` [3J] of the spread, ``unit`` [3J] of disagreement."""
    ahead, rows = session.ahead[steps], session.rows
    speed = np.mean(rows.velocity[ahead.starts] ** 2, axis=1)
    columns = [innovation(ahead, scale), unfamiliarity(ahead, unit)[:, None], speed[:, None]]
    found = windowed(rows.stamp_ns[ahead.starts], np.concatenate(columns, axis=1), window_ns, session.dt_ns)
    position, velocity, effort, disagreement, squared = found.mean[np.sqrt(found.mean[:, -1]) > MOVES].T
    return {
        "innovation": position + velocity + effort,
        "position": position,
        "velocity": velocity,
        "effort": effort,
        "disagreement": disagreement,
        "speed": squared,
    }


def residual_unit(ensemble: ProbabilisticEnsemble) -> Array:
    """[3J] std of the learned residual: in which the disagreement about all outputs is one number."""
    return np.asarray(ensemble.target_std.double().numpy(), dtype=np.float64)


def velocity_unit(ensemble: ProbabilisticEnsemble) -> Array:
    """[3J] with which disagreement is about the joints' velocities alone."""
    joints = ensemble.shape.joints
    alone = np.full(3 * joints, np.inf)
    alone[joints : 2 * joints] = 1.0
    return alone
