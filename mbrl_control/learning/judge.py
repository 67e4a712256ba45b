"""Scores on held-out rows, and the gate a candidate has to pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.score import KStepError, coverage_90, k_step_errors, spread_range
from mbrl_control.signals import Transitions

GATE_STEPS = (1, 5, 15)
ONE_STEP_TOLERANCE = 1.02
"""One step is mostly measurement noise, alike for both models: a tie there is no reason to refuse."""


class RetrainRefused(ValueError):
    """The candidate is not better than what runs now; nothing was written."""


@dataclass(frozen=True, slots=True)
class Score:
    """Errors on the held-out blocks of the newest regime."""

    position_15: float
    """rad, RMS after 0.3 s open loop."""
    velocity_1: float
    """rad/s, RMS after one step."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores on the held-out blocks of the newest regime, of the candidate and of what it has to beat."""

    candidate: Score
    reference: Score
    reference_id: str
    nll: float
    coverage: float
    errors: tuple[KStepError, ...]
    spread: tuple[float, ...]
    """See `score.spread_range`: after each of the steps that the errors reach over."""


def judge(ensemble: ProbabilisticEnsemble, held: Transitions, reference: tuple[str, Score] | None) -> Judged:
    """Scores on the held-out rows; without a ``reference`` (model id, score) the nominal prior is the one to beat."""
    every = np.arange(len(held))
    errors = k_step_errors(ensemble, held, every, GATE_STEPS)
    nominal = Score(position_15=errors[-1].nominal_position, velocity_1=errors[0].nominal_velocity)
    reference_id, to_beat = reference or ("nominal", nominal)
    nll, coverage = gaussian_nll(ensemble, held), coverage_90(ensemble, held, every)
    spread = spread_range(ensemble, held, every, max(GATE_STEPS))
    return Judged(score_of(errors), to_beat, reference_id, nll, coverage, errors, spread)


def score_of(errors: tuple[KStepError, ...]) -> Score:
    return Score(position_15=errors[-1].position, velocity_1=errors[0].velocity)


def gate(candidate: Score, reference: Score, reference_id: str, nll: float) -> None:
    """RetrainRefused unless the candidate is better; a non-finite number never passes."""
    better = candidate.position_15 < reference.position_15
    kept = candidate.velocity_1 <= ONE_STEP_TOLERANCE * reference.velocity_1
    if not (better and kept and math.isfinite(nll)):
        raise RetrainRefused(
            f"candidate refused on the held-out blocks of the newest regime: position after 0.3 s "
            f"{candidate.position_15:.3e} rad (has to be below {reference.position_15:.3e} of {reference_id}), "
            f"velocity after one step {candidate.velocity_1:.3e} rad/s (at most {ONE_STEP_TOLERANCE} x "
            f"{reference.velocity_1:.3e}), NLL {nll:.3g}; log more motion with the present payload"
        )


def gaussian_nll(ensemble: ProbabilisticEnsemble, rows: Transitions) -> float:
    """Nats per row, mean: the ensemble as one Gaussian of its members' mean and total variance, SI units."""
    history = rows.history.reshape(len(rows), -1)
    state = torch.from_numpy(np.concatenate([rows.position, rows.velocity, history], axis=1)).float()
    with torch.inference_mode():
        members = state.expand(ensemble.shape.members, -1, -1)
        _, mean, variance = ensemble(members, torch.from_numpy(rows.action).float())
    total = variance.mean(0) + mean.var(0, unbiased=False)
    truth = torch.from_numpy(np.concatenate([rows.next_position, rows.next_velocity, rows.next_effort], axis=1))
    nll = 0.5 * ((truth - mean.mean(0)) ** 2 / total + total.log() + math.log(2.0 * math.pi))
    return float(nll.sum(1).mean())
