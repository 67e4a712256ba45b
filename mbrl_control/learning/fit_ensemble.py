"""Fits the probabilistic ensemble to transitions of one arm, on one torch thread.

Members differ by initial weights and by the order of their batches (deep ensembles, Lakshminarayanan et al. 2017).
The loss is the Gaussian NLL weighted by variance^beta, beta = 0.5 (Seitzer et al. 2022, arXiv:2203.09168): the plain
NLL neglects the mean where it believes in noise, and a reach is decided by the mean.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.normalizer import Normalizer, raw_features
from mbrl_control.dynamics.prior import Prior
from mbrl_control.learning.anchor import Anchor, anchor_to_parent, anchor_to_prior
from mbrl_control.learning.errors import DataError
from mbrl_control.learning.model_rows import ModelTensors, rows_beside
from mbrl_control.signals import Array, CommandInterface, Transitions

_BETA = 0.5
_BOUND_PENALTY = 0.01
_LEAST_ROWS = 200
_FOREIGN = 5.0
"""RMS of the rows' residual in a parent's units beyond which its weights are no start: the last layer would have to
grow by as much, while a new scaling is fitted at once."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How long and how hard to train."""

    trained_members: int = 7
    elites: int = 5
    width: int = 128
    depth: int = 2
    """Hidden layers."""
    epochs: int = 60
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-5
    patience: int = 10
    """Epochs without a better held-out NLL before the fit ends."""
    holdout: float = 0.1
    """Share of rows held out, in blocks of ``holdout_block`` neighbours."""
    holdout_block: int = 50
    max_seconds: float = 60.0
    """A fit cut off here is usable but not reproducible; `FitResult.cut_off` says so."""

    @staticmethod
    def deployed(interface: CommandInterface) -> FitSettings:
        """What an arm's planner can afford every step: beside a network for torques stands the rigid body."""
        return FitSettings() if interface is CommandInterface.VELOCITY else FitSettings(width=64)


@dataclass(frozen=True, slots=True)
class FitResult:
    """The elites and what the fit saw."""

    ensemble: ProbabilisticEnsemble
    holdout_rows: NDArray[np.int64]
    holdout_nll: float
    """Nats per row (weighted as in training; sum over outputs, targets in units of their std), mean over elites."""
    epochs: int
    seconds: float
    cut_off: bool


@dataclass(frozen=True, slots=True)
class _Rows:
    features: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


def fit(
    transitions: Transitions,
    prior: Prior,
    generator: torch.Generator,
    settings: FitSettings | None = None,
    row_weights: Array | None = None,
    warm_start: ProbabilisticEnsemble | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> FitResult:
    """Train on all rows but the held-out blocks; ``row_weights`` [N] > 0 (newest regime up), ``progress(epoch, nll)``.

    ``warm_start`` continues from a parent, with the parent's normalizer and friction: its weights mean nothing under
    others. Of an arm under torques the load, and friction not known yet, are identified first (`learning.identify`).
    Raises DataError for too few, non-finite or badly weighted rows.
    """
    settings = settings or FitSettings()
    _check(transitions, row_weights)
    started, threads = time.monotonic(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        begin = _initial(transitions, prior, generator, settings, warm_start)
        ensemble = begin.ensemble
        held = holdout_rows(transitions, settings, generator)
        train, test = _split(_rows(ensemble, begin.rows, row_weights), held)
        epochs, cut_off = _train(begin, train, test, generator, settings, started, progress)
        nll = _member_nll(ensemble, test)
        elites = torch.argsort(nll)[: settings.elites]
    finally:
        torch.set_num_threads(threads)
    chosen = ensemble.select(sorted(int(member) for member in elites)).eval()
    seconds = time.monotonic() - started
    return FitResult(chosen, held, float(nll[elites].mean()), epochs, seconds, cut_off)


def holdout_rows(transitions: Transitions, settings: FitSettings, generator: torch.Generator) -> NDArray[np.int64]:
    """Rows of whole blocks of neighbours: single rows would be known from the rows beside them."""
    blocks = np.arange(len(transitions)) // settings.holdout_block
    count = int(blocks[-1]) + 1
    chosen = torch.randperm(count, generator=generator)[: max(1, round(settings.holdout * count))].numpy()
    return np.flatnonzero(np.isin(blocks, chosen))


@dataclass(frozen=True, slots=True)
class _Begin:
    """What a fit begins with."""

    ensemble: ProbabilisticEnsemble
    rows: ModelTensors
    anchor: Anchor | None
    """Of torques; velocities have none."""


def _initial(
    transitions: Transitions,
    prior: Prior,
    generator: torch.Generator,
    settings: FitSettings,
    warm_start: ProbabilisticEnsemble | None,
) -> _Begin:
    """Fresh members, or the parent's, repeated and slightly shaken up to the trained number; and the rows they see.

    A parent in whose scaling the rows lie far out is left aside.
    """
    history, joints = transitions.history.shape[1:]
    anchored = prior.interface is CommandInterface.EFFORT  # and the load in its prior
    if warm_start is not None and (warm_start.shape.joints, warm_start.shape.history) != (joints, history):
        made = warm_start.shape
        raise DataError(f"warm_start: made for J={made.joints}, K={made.history}, rows have J={joints}, K={history}")
    parent = None if warm_start is None else warm_start.prior
    known, rows = rows_beside(prior if parent is None or anchored else parent, transitions, parent)
    if warm_start is not None and _fits(warm_start, rows):
        members = [member % warm_start.shape.members for member in range(settings.trained_members)]
        ensemble = warm_start.select(members, known)
        anchor = None
        if anchored:
            changed = (ensemble.friction != warm_start.friction).any(0)
            anchor = anchor_to_parent(ensemble, changed, generator)
        with torch.no_grad():
            for weights, _ in ensemble.layers:
                weights.add_(0.02 * weights.std() * torch.randn(weights.shape, generator=generator))
        return _Begin(ensemble, rows, anchor)
    if parent is not None and not anchored:
        known, rows = rows_beside(prior, transitions, None)
    shape = EnsembleShape(settings.trained_members, joints, history, settings.width, settings.depth)
    ensemble = ProbabilisticEnsemble(shape, known, generator)
    mixed = raw_features(rows.position, rows.velocity, rows.commands) @ ensemble.mixing.double()
    ensemble.set_normalizer(Normalizer.of(mixed, rows.residual))
    return _Begin(ensemble, rows, anchor_to_prior(ensemble, generator) if anchored else None)


def _fits(parent: ProbabilisticEnsemble, rows: ModelTensors) -> bool:
    scaled = (rows.residual - parent.target_mean.double()) / parent.target_std.double()
    return bool(scaled.square().mean(0).sqrt().max() <= _FOREIGN)


def _rows(ensemble: ProbabilisticEnsemble, rows: ModelTensors, row_weights: Array | None) -> _Rows:
    targets = (rows.residual - ensemble.target_mean.double()) / ensemble.target_std.double()
    features = ensemble.scaled_features(rows.position.float(), rows.velocity.float(), rows.commands.float())
    weights = torch.ones(len(targets)) if row_weights is None else torch.from_numpy(row_weights).float()
    return _Rows(features, targets.float(), weights / weights.mean())


def _split(rows: _Rows, held: NDArray[np.int64]) -> tuple[_Rows, _Rows]:
    mask = torch.zeros(len(rows.weights), dtype=torch.bool)
    mask[torch.from_numpy(held)] = True
    return tuple(_Rows(rows.features[m], rows.targets[m], rows.weights[m]) for m in (~mask, mask))  # type: ignore[return-value]


def _train(
    begin: _Begin,
    train: _Rows,
    test: _Rows,
    generator: torch.Generator,
    settings: FitSettings,
    started: float,
    progress: Callable[[int, float], None] | None,
) -> tuple[int, bool]:
    """Adam with a cosine rate and early stopping; leaves the best weights in the ensemble. -> epochs, cut off."""
    ensemble = begin.ensemble
    optimizer = torch.optim.AdamW(
        ensemble.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)
    best_nll, best_epoch, best, epoch = math.inf, 0, ensemble.state_dict(), 0
    cut_off = False
    while epoch < settings.epochs and epoch - best_epoch < settings.patience:
        cut_off = time.monotonic() - started > settings.max_seconds
        if cut_off:
            break
        _epoch(begin, optimizer, train, generator, settings.batch_size)
        schedule.step()
        epoch += 1
        nll = float(_member_nll(ensemble, test).mean())
        if nll < best_nll:
            best_nll, best_epoch = nll, epoch
            best = {name: value.clone() for name, value in ensemble.state_dict().items()}
        if progress is not None:
            progress(epoch, nll)
    if epoch == 0:
        raise DataError(f"fit: not one epoch within max_seconds = {settings.max_seconds:g}; raise it")
    if not math.isfinite(best_nll):
        raise DataError(
            "fit: the held-out NLL never became finite; look for outliers in the rows or lower learning_rate"
        )
    ensemble.load_state_dict(best)
    return epoch, cut_off


def _epoch(
    begin: _Begin,
    optimizer: torch.optim.Optimizer,
    train: _Rows,
    generator: torch.Generator,
    batch_size: int,
) -> None:
    ensemble, anchor = begin.ensemble, begin.anchor
    members, count = ensemble.shape.members, len(train.weights)
    order = torch.stack([torch.randperm(count, generator=generator) for _ in range(members)])
    for start in range(0, count, batch_size):
        batch = order[:, start : start + batch_size]
        mean, variance = ensemble.heads(train.features[batch])
        nll = _nll(mean, variance, train.targets[batch]) * variance.detach() ** _BETA
        spread = ensemble.max_log_variance.sum() - ensemble.min_log_variance.sum()
        loss = (nll.mean(-1) * train.weights[batch]).mean(1).sum() + _BOUND_PENALTY * spread
        if anchor is not None:
            loss = loss + anchor.loss(ensemble, generator)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()


def _nll(mean: torch.Tensor, variance: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return 0.5 * ((mean - target).square() / variance + variance.log() + math.log(2.0 * math.pi))


def _member_nll(ensemble: ProbabilisticEnsemble, rows: _Rows) -> torch.Tensor:
    """[E] nats per row, rows weighted as in training: what is stopped early must be what is learned."""
    with torch.no_grad():
        mean, variance = ensemble.heads(rows.features.expand(ensemble.shape.members, -1, -1))
        nll = _nll(mean, variance, rows.targets).sum(-1)
        return (nll * rows.weights).sum(-1) / rows.weights.sum()


def _check(transitions: Transitions, row_weights: Array | None) -> None:
    if len(transitions) < _LEAST_ROWS:
        raise DataError(f"transitions: {len(transitions)} rows; collect at least {_LEAST_ROWS}")
    for name in ("position", "velocity", "history", "action", "next_position", "next_velocity", "next_effort"):
        if not np.isfinite(getattr(transitions, name)).all():
            raise DataError(f"transitions.{name}: holds non-finite numbers; drop those rows")
    if row_weights is not None and (
        row_weights.shape != (len(transitions),) or not np.isfinite(row_weights).all() or (row_weights <= 0).any()
    ):
        raise DataError(f"row_weights: give {len(transitions)} positive finite numbers")
