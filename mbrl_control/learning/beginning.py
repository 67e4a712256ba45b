"""What a fit begins with: fresh members or a parent's, and the rows beside their prior."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.normalizer import Normalizer, raw_features
from mbrl_control.dynamics.prior import Prior
from mbrl_control.learning.anchor import Anchor, anchor_to_parent, anchor_to_prior
from mbrl_control.learning.apart import Apart, held_apart, kept_apart, paired
from mbrl_control.learning.errors import DataError
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.model_rows import ModelRows, rows_beside
from mbrl_control.signals import CommandInterface, Transitions

_FOREIGN = 5.0
"""RMS of the rows' residual in a parent's units beyond which its weights are no start: the last layer would have to
grow by as much, while a new scaling is fitted at once."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a fit begins with."""

    ensemble: ProbabilisticEnsemble
    rows: ModelRows
    anchor: Anchor | None
    """Of torques; velocities have none."""
    apart: Apart | None = None
    """Of velocities, where there are several members."""


def begin(
    transitions: Transitions,
    prior: Prior,
    generator: torch.Generator,
    settings: FitSettings,
    warm_start: ProbabilisticEnsemble | None,
) -> Beginning:
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
        ensemble = warm_start.select(paired(settings.networks, warm_start.shape.members), known)
        anchor, apart = None, None
        if anchored:
            changed = (ensemble.friction != warm_start.friction).any(0)
            anchor = anchor_to_parent(ensemble, changed, generator)
        elif settings.networks > 1:
            apart = kept_apart(ensemble, rows, generator)
        with torch.no_grad():
            for weights, _ in ensemble.layers:
                weights.add_(0.02 * weights.std() * torch.randn(weights.shape, generator=generator))
        return Beginning(ensemble, rows, anchor, apart)
    if parent is not None and not anchored:
        known, rows = rows_beside(prior, transitions, None)
    shape = EnsembleShape(settings.networks, joints, history, settings.width, settings.depth)
    ensemble = ProbabilisticEnsemble(shape, known, generator)
    mixing = ensemble.mixing.double()
    parts = ((raw_features(p.position, p.velocity, p.commands) @ mixing, p.residual) for _, p in rows.pieces())
    ensemble.set_normalizer(Normalizer.of(parts))
    anchor = anchor_to_prior(ensemble, generator) if anchored else None
    apart = held_apart(ensemble, rows, generator) if settings.networks > 1 and not anchored else None
    return Beginning(ensemble, rows, anchor, apart)


def _fits(parent: ProbabilisticEnsemble, rows: ModelRows) -> bool:
    mean, std = parent.target_mean.double(), parent.target_std.double()
    squares = torch.stack([((piece.residual - mean) / std).square().sum(0) for _, piece in rows.pieces()])
    return bool((squares.sum(0) / len(rows)).sqrt().max() <= _FOREIGN)
