"""Training rows as a model sees them: state, commands, and the residual over the prior that is left to learn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_control.dynamics.prior import Prior
from mbrl_control.learning.identify import prior_of_each_regime
from mbrl_control.replay.transitions import select
from mbrl_control.signals import Transitions

PIECE = 1 << 14
"""Rows that are made at once: all of ten million would take thrice their raw size."""


@dataclass(frozen=True, slots=True)
class ModelTensors:
    """Training rows as the model sees them, float64."""

    position: torch.Tensor
    velocity: torch.Tensor
    """[N, J]"""
    commands: torch.Tensor
    """[N, (K+1)J] history, then action."""
    residual: torch.Tensor
    """[N, 3J] what is left to learn; float64, because q' less its prior loses seven digits of q."""


@dataclass(frozen=True, slots=True)
class ModelRows:
    """Rows, each regime's beside its own prior; made when they are asked for."""

    transitions: Transitions
    newest: Prior
    priors: Mapping[int, Prior]
    """By regime: only the load tells them apart."""

    def __len__(self) -> int:
        return len(self.transitions)

    def at(self, rows: NDArray[np.int64]) -> ModelTensors:
        """Those rows."""
        return self._made(select(self.transitions, rows))

    def pieces(self) -> Iterator[tuple[slice, ModelTensors]]:
        """All rows in their order, up to `PIECE` at once, and which they are."""
        for begin in range(0, len(self), PIECE):
            place = slice(begin, begin + PIECE)
            yield place, self._made(_part(self.transitions, place))

    def _made(self, part: Transitions) -> ModelTensors:
        rows = model_tensors(part, self.newest)
        for regime, own in self.priors.items():
            chosen = part.session == regime
            if own is not self.newest and chosen.any():
                rows.residual[torch.from_numpy(chosen)] = model_tensors(select(part, chosen), own).residual
        return rows


def model_tensors(transitions: Transitions, prior: Prior) -> ModelTensors:
    """Rows with the residual over the prior."""
    outputs = np.concatenate([transitions.next_position, transitions.next_velocity, transitions.next_effort], axis=1)
    history = transitions.history.reshape(len(transitions), -1)
    arrays = (transitions.position, transitions.velocity, history, transitions.action, outputs)
    position, velocity, past, action, after = (torch.from_numpy(np.ascontiguousarray(a, np.float64)) for a in arrays)
    residual = prior.targets(position, velocity, action, after)
    return ModelTensors(position, velocity, torch.cat([past, action], dim=1), residual)


def rows_beside(prior: Prior, transitions: Transitions, parent: Prior | None) -> tuple[Prior, ModelRows]:
    """The prior of the newest regime, and the rows, each regime's beside its own."""
    priors = prior_of_each_regime(prior, transitions, parent)
    newest = priors[max(priors)]
    return newest, ModelRows(transitions, newest, priors)


def _part(rows: Transitions, place: slice) -> Transitions:
    return Transitions(*(getattr(rows, name)[place] for name in Transitions.__dataclass_fields__))
