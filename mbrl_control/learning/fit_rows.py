"""The rows of a fit: checked, held out in blocks, scaled as the network sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.errors import DataError
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.model_rows import ModelRows
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


def scaled_rows(
    ensemble: ProbabilisticEnsemble, rows: ModelRows, row_weights: Array | None, held: NDArray[np.int64]
) -> tuple[ScaledRows, ScaledRows]:
    """The rows as ``ensemble`` scales them: trained on, held out."""
    weights = torch.ones(len(rows)) if row_weights is None else torch.from_numpy(row_weights).float()
    weights, out = weights / weights.mean(), torch.zeros(len(rows), dtype=torch.bool)
    out[torch.from_numpy(held)] = True
    shape, mean, std = ensemble.shape, ensemble.target_mean.double(), ensemble.target_std.double()
    made = [
        ScaledRows(torch.empty(count, len(ensemble.feature_mean)), torch.empty(count, shape.outputs), weights[mask])
        for mask, count in ((~out, len(rows) - len(held)), (out, len(held)))
    ]
    filled = [0, 0]
    for place, piece in rows.pieces():
        features = ensemble.scaled_features(piece.position.float(), piece.velocity.float(), piece.commands.float())
        targets = ((piece.residual - mean) / std).float()
        for side, mask in enumerate((~out[place], out[place])):
            begin, filled[side] = filled[side], filled[side] + int(mask.sum())
            made[side].features[begin : filled[side]] = features[mask]
            made[side].targets[begin : filled[side]] = targets[mask]
    return made[0], made[1]


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
