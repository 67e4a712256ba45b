"""Scores on held-out rows, and the gate a candidate has to pass.

What decides is the position after 15 steps open loop, in rad: a planner's reach is made of it, and a share of it means
something. The one-step likelihood is kept beside it and does not decide: it has no zero, so two percent of it means
nothing, the prior has none, and a spread that is only too wide or too narrow is put right by its scale
(`learning.calibration`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from mbrl_control.block_bootstrap import Difference, paired_difference
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.calibration import Calibrated, calibrate
from mbrl_control.learning.losses import LOSS_STEPS, BlockLosses, losses_of, paired, prior_losses
from mbrl_control.learning.open_loop import open_loop
from mbrl_control.learning.promise import Promised, promise
from mbrl_control.learning.score import KStepError, coverage_90, k_step_errors, spread_range
from mbrl_control.learning.stability import LoopScore
from mbrl_control.signals import Transitions

GATE_STEPS = (1, 5, LOSS_STEPS)
NOMINAL = "nominal"
"""Id of the prior as a reference."""
ONE_STEP_TOLERANCE = 1.02
"""One step is mostly measurement noise, alike for both models: a tie there is no reason to refuse."""
MARGIN = 0.02
"""Of the active model's loss: a candidate may be no worse than that, with the bootstrap's confidence."""


class RetrainRefused(ValueError):
    """The candidate is not good enough to replace what runs now; nothing was written."""


@dataclass(frozen=True, slots=True)
class Score:
    """Errors on the held-out blocks of the newest regime."""

    position_15: float
    """rad, RMS after 0.3 s open loop."""
    velocity_1: float
    """rad/s, RMS after one step."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The active model on the same blocks, its rows cut with its own delay."""

    model_id: str
    score: Score
    losses: BlockLosses
    """Of the newest regime."""
    others: Mapping[int, BlockLosses]
    """Of older regimes, by their number."""


@dataclass(frozen=True, slots=True)
class OtherRegime:
    """Losses on an older regime: reported, never decisive, since a model of another load is worse there by right."""

    regime: int
    """Session number in the logs that were read, oldest first."""
    blocks: int
    candidate: float
    reference: float
    """rad, means over blocks of the position loss."""


@dataclass(frozen=True, slots=True)
class GoldenScore:
    """Losses on a golden log (`golden_logs`), which nothing was learned from. rad, as in `Verdict`."""

    name: str
    payload_kg: float
    blocks: int
    candidate: float
    reference: float
    difference: float
    lower: float
    upper: float
    limit: float | None
    """None: of another regime than the candidate was learned for, reported and not decisive."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores on the held-out blocks of the newest regime, of the candidate and of what it has to beat."""

    candidate: Score
    reference: Score
    reference_id: str
    losses: BlockLosses
    reference_losses: BlockLosses
    """On the same blocks."""
    others: tuple[OtherRegime, ...]
    nll: float
    coverage: float
    errors: tuple[KStepError, ...]
    spread: tuple[float, ...]
    """See `score.spread_range`: after each of the steps that the errors reach over."""
    calibration: tuple[Calibrated, ...]
    promise: Promised | None = None
    """None where the held-out rows hold too little motion."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The numbers that let a candidate through. Losses are means over blocks, rad after 15 steps."""

    reference_id: str
    blocks: int
    candidate: float
    reference: float
    difference: float
    """Candidate minus reference."""
    lower: float
    upper: float
    """One-sided bounds of the difference: the more cautious of expanded percentile and BCa."""
    limit: float
    """That the upper bound had to stay below."""
    confidence: float
    resamples: int
    nll_difference: float | None
    """Nats per row of one step, mean over blocks; None where the reference is the prior."""
    nll_upper: float | None
    """Its upper bound; neither decides."""
    others: tuple[OtherRegime, ...]
    golden: tuple[GoldenScore, ...] = ()
    loops: tuple[LoopScore, ...] = ()
    """Closed loops in simulation, one per payload of another regime."""
    loops_decide: bool = True
    """False: a loop that is not stable was accepted (`stability.OtherPayloads`)."""
    not_simulated: str = ""
    """Why there are none, where there are other regimes."""


def judge(
    ensemble: ProbabilisticEnsemble,
    held: Transitions,
    older: Mapping[int, Transitions],
    reference: Reference | None,
) -> Judged:
    """Scores on the held-out rows of the newest regime, and of ``older`` ones by number.

    Without a ``reference`` the nominal prior is the one to beat.
    """
    every = np.arange(len(held))
    errors = k_step_errors(ensemble, held, every, GATE_STEPS)
    if reference is None:
        nominal = Score(position_15=errors[-1].nominal_position, velocity_1=errors[0].nominal_velocity)
        others = {regime: prior_losses(ensemble.prior, rows) for regime, rows in older.items()}
        reference = Reference(NOMINAL, nominal, prior_losses(ensemble.prior, held), others)
    losses, reference_losses = paired(losses_of(ensemble, held), reference.losses)
    calibration = calibrate(ensemble, held)
    return Judged(
        candidate=score_of(errors),
        reference=reference.score,
        reference_id=reference.model_id,
        losses=losses,
        reference_losses=reference_losses,
        others=_others(ensemble, older, reference),
        nll=gaussian_nll(ensemble, held),
        coverage=coverage_90(ensemble, held, every),
        errors=errors,
        spread=spread_range(ensemble, held, every, max(GATE_STEPS)),
        calibration=calibration,
        promise=promise(ensemble, held, calibration),
    )


def score_of(errors: tuple[KStepError, ...]) -> Score:
    return Score(position_15=errors[-1].position, velocity_1=errors[0].velocity)


def gate(judged: Judged, generator: np.random.Generator) -> Verdict:
    """The numbers with which a candidate passes; RetrainRefused, with the numbers, where it does not.

    It passes when the upper bound of its mean loss over the reference's lies below `MARGIN` of the reference's loss, or
    below zero where the reference is the prior, and one step is no worse. A non-finite number never passes.
    """
    scores = (judged.candidate, judged.reference)
    finite = all(math.isfinite(value) for score in scores for value in (score.position_15, score.velocity_1))
    finite &= all(math.isfinite(each.candidate) and math.isfinite(each.reference) for each in judged.others)
    numbers = (judged.losses.position, judged.reference_losses.position)
    if not (finite and math.isfinite(judged.nll) and all(np.isfinite(each).all() for each in numbers)):
        raise RetrainRefused(
            f"candidate refused: a number is not finite; {_said(judged)}; look for outliers in the logs"
        )
    verdict = _verdict(judged, generator)
    kept = judged.candidate.velocity_1 <= ONE_STEP_TOLERANCE * judged.reference.velocity_1
    if not (verdict.upper < verdict.limit and kept):
        raise RetrainRefused(
            f"candidate refused on {verdict.blocks} held-out blocks of the newest regime: mean loss, position after "
            f"0.3 s, {verdict.candidate:.3e} rad against {verdict.reference:.3e} of {verdict.reference_id}, "
            f"difference {verdict.difference:.3e}, {verdict.confidence:.0%} sure to be below {verdict.upper:.3e} (has "
            f"to be below {verdict.limit:.3e}); {_said(judged)}; log more motion with the present payload"
        )
    return verdict


def gaussian_nll(ensemble: ProbabilisticEnsemble, rows: Transitions) -> float:
    """Nats per row, mean: the ensemble as one Gaussian of its members' mean and total variance, SI units."""
    mean, variance = next(open_loop(ensemble, rows, np.arange(len(rows)), 1))
    total = variance.mean(0) + mean.var(0, unbiased=False)
    truth = torch.from_numpy(np.concatenate([rows.next_position, rows.next_velocity, rows.next_effort], axis=1))
    nll = 0.5 * ((truth - mean.mean(0)) ** 2 / total + total.log() + math.log(2.0 * math.pi))
    return float(nll.sum(1).mean())


def _others(
    ensemble: ProbabilisticEnsemble, older: Mapping[int, Transitions], reference: Reference
) -> tuple[OtherRegime, ...]:
    """Of the regimes that both models have blocks of."""
    found = []
    for regime in sorted(set(older) & set(reference.others)):
        ours, theirs = losses_of(ensemble, older[regime]), reference.others[regime]
        common = np.intersect1d(ours.blocks, theirs.blocks)
        if len(common):
            ours, theirs = paired(ours, theirs)
            candidate, other = float(ours.position.mean()), float(theirs.position.mean())
            found.append(OtherRegime(regime, len(common), candidate, other))
    return tuple(found)


def _verdict(judged: Judged, generator: np.random.Generator) -> Verdict:
    ours, theirs = judged.losses, judged.reference_losses
    position = paired_difference(ours.position, theirs.position, generator)
    likelihood: Difference | None = None
    if ours.nll is not None and theirs.nll is not None:
        likelihood = paired_difference(ours.nll, theirs.nll, generator)
    reference = float(theirs.position.mean())
    return Verdict(
        reference_id=judged.reference_id,
        blocks=position.blocks,
        candidate=float(ours.position.mean()),
        reference=reference,
        difference=position.mean,
        lower=position.cautious.lower,
        upper=position.cautious.upper,
        limit=0.0 if judged.reference_id == NOMINAL else MARGIN * reference,
        confidence=position.confidence,
        resamples=position.resamples,
        nll_difference=None if likelihood is None else likelihood.mean,
        nll_upper=None if likelihood is None else likelihood.cautious.upper,
        others=judged.others,
    )


def _said(judged: Judged) -> str:
    candidate, reference = judged.candidate, judged.reference
    return (
        f"over all windows {candidate.position_15:.3e} rad against {reference.position_15:.3e} of "
        f"{judged.reference_id}, velocity after one step {candidate.velocity_1:.3e} rad/s (at most "
        f"{ONE_STEP_TOLERANCE} x {reference.velocity_1:.3e}), NLL {judged.nll:.3g}"
    )
