"""The training loop: batched members, one pass per minibatch for all of them, early stopping.

The loss is the Gaussian NLL weighted by variance^beta, beta = 0.5 (Seitzer et al. 2022, arXiv:2203.09168): the plain
NLL neglects the mean where it believes in noise, and a reach is decided by the mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.anchor import Anchor
from mbrl_control.learning.apart import Apart
from mbrl_control.learning.curves import Curves
from mbrl_control.learning.dropout import masked_heads
from mbrl_control.learning.errors import DataError
from mbrl_control.learning.fit_rows import ScaledRows
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.method import Method
from mbrl_control.learning.rollout_loss import Windows, rollout_error

_BETA = 0.5
_BOUND_PENALTY = 0.01
_SCORED_AT_ONCE = 1 << 11
"""Rows: of millions, all members' outputs at once would be larger than what was learned from."""
_SCORED_WINDOWS = 512
"""Held-out windows by which a fit with a rollout loss is stopped."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is learned, and by what it is judged."""

    train: ScaledRows
    held: ScaledRows
    settings: FitSettings
    anchor: Anchor | None = None
    apart: Apart | None = None
    rollout: tuple[Windows, Windows] | None = None
    """Trained on, held out; of `FitSettings.rollout`."""


@dataclass(slots=True)
class Training:
    """All that changes while a fit runs: what a checkpoint has to hold."""

    ensemble: ProbabilisticEnsemble
    optimizer: torch.optim.AdamW
    schedule: torch.optim.lr_scheduler.CosineAnnealingLR
    generator: torch.Generator
    best: dict[str, torch.Tensor]
    best_score: float = math.inf
    best_epoch: int = 0
    epoch: int = 0


def training_of(ensemble: ProbabilisticEnsemble, generator: torch.Generator, settings: FitSettings) -> Training:
    """At epoch 0: AdamW, fused, with a cosine rate."""
    optimizer = torch.optim.AdamW(
        ensemble.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)
    return Training(ensemble, optimizer, schedule, generator, ensemble.state_dict())


def train(
    training: Training,
    problem: Problem,
    out_of_time: Callable[[], bool],
    keep: Callable[[Training, bool], None],
    progress: Callable[[int, float], None] | None,
    curves: Curves | None,
) -> bool:
    """Until ``settings.epochs``, or no better for ``patience``; leaves the best weights in the ensemble. -> cut off.

    ``keep(training, now)`` sees every epoch's state before anybody is told of it, and once more where it is cut off:
    ``now``, or what each run has time for might never reach the next checkpoint.
    """
    settings, cut_off = problem.settings, False
    while training.epoch < settings.epochs and training.epoch - training.best_epoch < settings.patience:
        cut_off = out_of_time()
        if cut_off:
            if training.epoch > 0:
                keep(training, True)
            break
        rate = float(training.schedule.get_last_lr()[0])
        loss = run_epoch(training, problem)
        scores = member_scores(training.ensemble, problem)
        score = float(scores.mean())
        _keep_best(training, score)
        keep(training, False)
        if progress is not None:
            progress(training.epoch, score)
        if curves is not None:
            each = {f"held_out/member_{index}": float(value) for index, value in enumerate(scores)}
            curves.add(training.epoch, {"loss": loss, "held_out/mean": score, "learning_rate": rate, **each})
    if training.epoch == 0:
        raise DataError("fit: not one epoch within max_seconds; raise it")
    if not math.isfinite(training.best_score):
        raise DataError(
            "fit: the held-out NLL never became finite; look for outliers in the rows or lower learning_rate"
        )
    training.ensemble.load_state_dict(training.best)
    return cut_off


def run_epoch(training: Training, problem: Problem) -> float:
    """Every row once for every member, each in an order of its own. -> mean loss, summed over members."""
    ensemble, generator, settings = training.ensemble, training.generator, problem.settings
    count = len(problem.train.weights)
    order = torch.empty(ensemble.shape.members, count, dtype=torch.int32)
    for member in order:
        torch.randperm(count, generator=generator, out=member)
    total, steps = torch.zeros(()), 0
    for start in range(0, count, settings.batch_size):
        loss = _loss(ensemble, problem, order[:, start : start + settings.batch_size], generator)
        training.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        training.optimizer.step()
        total, steps = total + loss.detach(), steps + 1
    training.schedule.step()
    training.epoch += 1
    return float(total) / steps


def member_nll(ensemble: ProbabilisticEnsemble, rows: ScaledRows) -> torch.Tensor:
    """[E] nats per row, rows weighted as in training: what is stopped early must be what is learned."""
    total = torch.zeros(ensemble.shape.members)
    with torch.no_grad():
        for begin in range(0, len(rows.weights), _SCORED_AT_ONCE):
            part = slice(begin, begin + _SCORED_AT_ONCE)
            mean, variance = ensemble.heads(rows.features[part].expand(ensemble.shape.members, -1, -1))
            nll = gaussian_nll(mean, variance, rows.targets[part]).sum(-1)
            total = total + (nll * rows.weights[part]).sum(-1)
        return total / rows.weights.sum()


def member_scores(ensemble: ProbabilisticEnsemble, problem: Problem) -> torch.Tensor:
    """[E] held-out NLL, and the weighted open-loop error beside it where that is learned: lower is better."""
    nll = member_nll(ensemble, problem.held)
    if problem.rollout is None or problem.settings.rollout is None:
        return nll
    held = problem.rollout[1]
    spread = torch.linspace(0, len(held.start) - 1, min(len(held.start), _SCORED_WINDOWS)).long()
    with torch.no_grad():
        error = rollout_error(ensemble, held, held.start[spread])
    return nll + ensemble.shape.outputs * problem.settings.rollout.weight * error


def gaussian_nll(mean: torch.Tensor, variance: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Elementwise, nats."""
    return 0.5 * ((mean - target).square() / variance + variance.log() + math.log(2.0 * math.pi))


def _loss(
    ensemble: ProbabilisticEnsemble, problem: Problem, batch: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Of the rows ``batch`` [E, B], summed over members."""
    rows, settings = problem.train, problem.settings
    features = rows.features[batch]
    if settings.method is Method.DROPOUT:
        mean, variance = masked_heads(ensemble, features, settings.dropout, generator)
    else:
        mean, variance = ensemble.heads(features)
    nll = gaussian_nll(mean, variance, rows.targets[batch]) * variance.detach() ** _BETA
    spread = ensemble.max_log_variance.sum() - ensemble.min_log_variance.sum()
    loss = (nll.mean(-1) * rows.weights[batch]).mean(1).sum() + _BOUND_PENALTY * spread
    if problem.anchor is not None:
        loss = loss + problem.anchor.loss(ensemble, generator)
    if problem.apart is not None:
        loss = loss + problem.apart.loss(ensemble, generator)
    if problem.rollout is not None and settings.rollout is not None:
        windows = problem.rollout[0]
        drawn = torch.randint(len(windows.start), (settings.rollout.batch_size,), generator=generator)
        loss = loss + settings.rollout.weight * rollout_error(ensemble, windows, windows.start[drawn]).sum()
    return loss


def _keep_best(training: Training, score: float) -> None:
    if score < training.best_score:
        training.best_score, training.best_epoch = score, training.epoch
        training.best = {name: value.clone() for name, value in training.ensemble.state_dict().items()}
