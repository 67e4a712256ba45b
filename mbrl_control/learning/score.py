"""How good a fitted model is: calibration and k-step errors, beside the prior alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.prior import Prior, as_described, prior_step
from mbrl_control.learning.open_loop import no_window, open_loop, whole_windows
from mbrl_control.signals import Array, Transitions

_NINETY = 1.6448536269514722
"""Half width of the central 90 % of a unit Gaussian."""


@dataclass(frozen=True, slots=True)
class KStepError:
    """Open-loop prediction from a true state with the true commands; RMS over rows and joints at step k."""

    steps: int
    position: float
    """rad, ensemble mean."""
    velocity: float
    """rad/s, ensemble mean."""
    nominal_position: float
    """rad, the arm description's prior alone."""
    nominal_velocity: float
    """rad/s, prior alone."""
    windows: int


SPREAD_QUANTILE = 0.99
"""Of the held-out windows: the rest is outliers."""


def coverage_90(ensemble: ProbabilisticEnsemble, transitions: Transitions, rows: NDArray[np.int64]) -> float:
    """Share of held-out numbers inside the central 90 % of the mixture's Gaussian; 0.9 is calibrated."""
    mean, variance = next(open_loop(ensemble, transitions, rows, 1))
    total = variance.mean(0) + mean.var(0, unbiased=False)
    fields = (transitions.next_position, transitions.next_velocity, transitions.next_effort)
    truth = torch.from_numpy(np.concatenate([field[rows] for field in fields], axis=1))
    inside = (truth - mean.mean(0)).abs() <= _NINETY * total.sqrt()
    return float(inside.double().mean())


def k_step_errors(
    ensemble: ProbabilisticEnsemble,
    transitions: Transitions,
    rows: NDArray[np.int64],
    steps: tuple[int, ...] = (1, 5, 15),
) -> tuple[KStepError, ...]:
    """Errors from those of ``rows`` whose next max(steps) rows lie in one segment; DataError when there are none."""
    starts, joints = _windows(transitions, rows, max(steps)), ensemble.shape.joints
    alone = prior_alone(ensemble.prior, transitions, starts, max(steps))
    errors = []
    for step, (mean, _) in enumerate(open_loop(ensemble, transitions, starts, max(steps))):
        if step + 1 in steps:
            now = starts + step
            predicted = mean.mean(0).numpy()
            q, dq = predicted[:, :joints], predicted[:, joints : 2 * joints]
            truth = (transitions.next_position[now], transitions.next_velocity[now])
            q_error, dq_error = _rms(q - truth[0]), _rms(dq - truth[1])
            nominal_q, nominal_dq = _rms(alone[step][0] - truth[0]), _rms(alone[step][1] - truth[1])
            errors.append(KStepError(step + 1, q_error, dq_error, nominal_q, nominal_dq, len(starts)))
    return tuple(errors)


def prior_alone(
    prior: Prior, transitions: Transitions, starts: NDArray[np.int64], steps: int
) -> list[tuple[Array, Array]]:
    """Position and velocity [W, J] after each of ``steps`` steps, by what the arm description says."""
    described = as_described(prior)
    position, velocity = torch.from_numpy(transitions.position[starts]), torch.from_numpy(transitions.velocity[starts])
    found = []
    with torch.inference_mode():
        for step in range(steps):
            action = torch.from_numpy(transitions.action[starts + step])
            position, velocity = prior_step(described, position, velocity, action)
            found.append((position.numpy(), velocity.numpy()))
    return found


def spread_range(
    ensemble: ProbabilisticEnsemble, transitions: Transitions, rows: NDArray[np.int64], steps: int
) -> tuple[float, ...]:
    """rad/s, epistemic spread after 1 to ``steps`` steps that `SPREAD_QUANTILE` of the windows of `k_step_errors` stay
    below; as `rollout.onnx` has it: root mean over joints of the variance of the members' velocities."""
    starts, joints = _windows(transitions, rows, steps), ensemble.shape.joints
    largest = []
    for mean, _ in open_loop(ensemble, transitions, starts, steps):
        spread = mean[..., joints : 2 * joints].var(0, unbiased=False).mean(-1).sqrt()
        largest.append(float(np.quantile(spread.numpy(), SPREAD_QUANTILE)))
    return tuple(largest)


def _windows(transitions: Transitions, rows: NDArray[np.int64], longest: int) -> NDArray[np.int64]:
    """See `whole_windows`; DataError when there are none."""
    starts = whole_windows(transitions, rows, longest)
    if len(starts) == 0:
        raise no_window(longest)
    return starts


def _rms(error: Array) -> float:
    return float(np.sqrt(np.mean(np.square(error))))
