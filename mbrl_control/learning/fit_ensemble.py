"""Fits a model to transitions of one arm, by default a probabilistic ensemble, on one torch thread.

Members of an ensemble differ by initial weights and by the order of their batches (deep ensembles, Lakshminarayanan et
al. 2017). The Bayesian networks train one and draw their members from it (`dropout`, `last_layer`); all come out as a
`ProbabilisticEnsemble`, so they are exported, judged and planned with alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.prior import Prior
from mbrl_control.learning.apart import balanced
from mbrl_control.learning.beginning import Beginning, begin
from mbrl_control.learning.checkpoint import identity_of, resume, save
from mbrl_control.learning.curves import Curves
from mbrl_control.learning.dropout import dropout_members
from mbrl_control.learning.fit_rows import check_rows, holdout_rows, scaled_rows
from mbrl_control.learning.fit_settings import FitSettings as FitSettings
from mbrl_control.learning.last_layer import laplace_members
from mbrl_control.learning.method import Method
from mbrl_control.learning.rollout_loss import windows_of
from mbrl_control.learning.train import Problem, Training, member_nll, member_scores, train, training_of
from mbrl_control.signals import Array, Transitions


@dataclass(frozen=True, slots=True)
class FitResult:
    """The members and what the fit saw."""

    ensemble: ProbabilisticEnsemble
    holdout_rows: NDArray[np.int64]
    holdout_nll: float
    """Nats per row (weighted as in training; sum over outputs, targets in units of their std), mean over members."""
    epochs: int
    """Of the whole fit, those before it was resumed included."""
    seconds: float
    """Of this run."""
    cut_off: bool


def fit(
    transitions: Transitions,
    prior: Prior,
    generator: torch.Generator,
    settings: FitSettings | None = None,
    row_weights: Array | None = None,
    warm_start: ProbabilisticEnsemble | None = None,
    progress: Callable[[int, float], None] | None = None,
    curves: Curves | None = None,
) -> FitResult:
    """Train on all rows but the held-out blocks; ``row_weights`` [N] > 0 (newest regime up), ``progress(epoch, nll)``.

    ``warm_start`` continues from a parent, with the parent's normalizer and friction: its weights mean nothing under
    others. Of an arm under torques the load, and friction not known yet, are identified first (`learning.identify`).
    With ``settings.checkpoint`` a fit that was interrupted goes on where its last checkpoint is, and ends as if it had
    not been. Raises DataError for too few, non-finite or badly weighted rows, CheckpointRefused.
    """
    settings = settings or FitSettings()
    check_rows(transitions, row_weights)
    started = time.monotonic()
    with settings.on_torch():
        beginning = begin(transitions, prior, generator, settings, warm_start)
        held = holdout_rows(transitions, settings, generator)
        problem = problem_of(transitions, beginning, held, settings, row_weights)
        training = training_of(beginning.ensemble, generator, settings)
        keep = _keeper(transitions, row_weights, training, settings)

        def late() -> bool:
            return time.monotonic() - started > settings.max_seconds

        cut_off = train(training, problem, late, keep, progress, curves)
        chosen = _members(training.ensemble, problem, generator).eval()
        nll = float(member_nll(chosen, problem.held).mean())
    return FitResult(chosen, held, nll, training.epoch, time.monotonic() - started, cut_off)


def problem_of(
    transitions: Transitions,
    beginning: Beginning,
    held: NDArray[np.int64],
    settings: FitSettings,
    row_weights: Array | None,
) -> Problem:
    """What `train` learns, from rows as their ``beginning`` sees them; rows ``held`` are not learned from."""
    train_rows, held_rows = scaled_rows(beginning.ensemble, beginning.rows, row_weights, held)
    windows = None
    if settings.rollout is not None:
        windows = windows_of(transitions, held, beginning.ensemble.prior, settings.rollout.steps)
    return Problem(train_rows, held_rows, settings, beginning.anchor, beginning.apart, windows)


def _keeper(
    transitions: Transitions, row_weights: Array | None, training: Training, settings: FitSettings
) -> Callable[[Training, bool], None]:
    """Resumes, where there is a checkpoint; and what keeps one from now on: every few epochs, or now."""
    checkpoint = settings.checkpoint
    if checkpoint is None:
        return lambda training, now: None
    identity = identity_of(transitions, row_weights, training, settings)
    resume(checkpoint.folder, training, identity)

    def keep(training: Training, now: bool) -> None:
        if now or training.epoch % checkpoint.every == 0:
            save(checkpoint.folder, training, identity)

    return keep


def _members(trained: ProbabilisticEnsemble, problem: Problem, generator: torch.Generator) -> ProbabilisticEnsemble:
    settings = problem.settings
    if settings.method is Method.DROPOUT:
        return dropout_members(trained, settings.dropout, settings.elites, generator)
    if settings.method is Method.LAPLACE:
        return laplace_members(trained, problem.train, problem.anchor, settings.elites, generator)
    scores = member_scores(trained, problem)
    if problem.apart is not None:
        return trained.select(balanced(scores, settings.elites))
    return trained.select(sorted(torch.argsort(scores)[: settings.elites].tolist()))
