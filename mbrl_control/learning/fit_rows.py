"""The rows of a fit: checked, held out in blocks, scaled as the network sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.errors import DataError
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.model_rows import ModelTensors
from mbrl_control.signals import Array, Transitions

_LEAST_ROWS = 200


@dataclass(frozen=True, slots=True)
class ScaledRows:
    """float32, in the ensemble's scaling."""

    features: torch.Tensor
    """[N, F]"""
    targets: torch.Tensor
    """[N, 3J]"""
    weights: torch.Tensor
    """[N], of mean one over all rows of the fit."""


def holdout_rows(transitions: Transitions, settings: FitSettings, generator: torch.Generator) -> NDArray[np.int64]:
    """Rows of whole blocks of neighbours: single rows would be known from the rows beside them."""
    blocks = np.arange(len(transitions)) // settings.holdout_block
    count = int(blocks[-1]) + 1
    chosen = torch.randperm(count, generator=generator)[: max(1, round(settings.holdout * count))].numpy()
    return np.flatnonzero(np.isin(blocks, chosen))


def scaled_rows(ensemble: ProbabilisticEnsemble, rows: ModelTensors, row_weights: Array | None) -> ScaledRows:
    """The rows as ``ensemble`` scales them."""
    targets = (rows.residual - ensemble.target_mean.double()) / ensemble.target_std.double()
    features = ensemble.scaled_features(rows.position.float(), rows.velocity.float(), rows.commands.float())
    weights = torch.ones(len(targets)) if row_weights is None else torch.from_numpy(row_weights).float()
    return ScaledRows(features, targets.float(), weights / weights.mean())


def split(rows: ScaledRows, held: NDArray[np.int64]) -> tuple[ScaledRows, ScaledRows]:
    """-> trained on, held out."""
    mask = torch.zeros(len(rows.weights), dtype=torch.bool)
    mask[torch.from_numpy(held)] = True
    train, test = (ScaledRows(rows.features[m], rows.targets[m], rows.weights[m]) for m in (~mask, mask))
    return train, test


def check_rows(transitions: Transitions, row_weights: Array | None) -> None:
    """DataError for too few, non-finite or badly weighted rows."""
    if len(transitions) < _LEAST_ROWS:
        raise DataError(f"transitions: {len(transitions)} rows; collect at least {_LEAST_ROWS}")
    for name in ("position", "velocity", "history", "action", "next_position", "next_velocity", "next_effort"):
        if not np.isfinite(getattr(transitions, name)).all():
            raise DataError(f"transitions.{name}: holds non-finite numbers; drop those rows")
    if row_weights is not None and (
        row_weights.shape != (len(transitions),) or not np.isfinite(row_weights).all() or (row_weights <= 0).any()
    ):
        raise DataError(f"row_weights: give {len(transitions)} positive finite numbers")
