"""Training rows as a model sees them: state, commands, and the residual over the prior that is left to learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mbrl_control.dynamics.prior import Prior
from mbrl_control.learning.identify import prior_of_each_regime
from mbrl_control.replay.transitions import select
from mbrl_control.signals import Transitions


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


def model_tensors(transitions: Transitions, prior: Prior) -> ModelTensors:
    """Rows with the residual over the prior."""
    outputs = np.concatenate([transitions.next_position, transitions.next_velocity, transitions.next_effort], axis=1)
    history = transitions.history.reshape(len(transitions), -1)
    arrays = (transitions.position, transitions.velocity, history, transitions.action, outputs)
    position, velocity, past, action, after = (torch.from_numpy(np.ascontiguousarray(a, np.float64)) for a in arrays)
    residual = prior.targets(position, velocity, action, after)
    return ModelTensors(position, velocity, torch.cat([past, action], dim=1), residual)


def rows_beside(prior: Prior, transitions: Transitions, parent: Prior | None) -> tuple[Prior, ModelTensors]:
    """The prior of the newest regime, and the rows, each regime's beside its own: only the load tells them apart."""
    priors = prior_of_each_regime(prior, transitions, parent)
    newest = priors[max(priors)]
    rows = model_tensors(transitions, newest)
    for regime, own in priors.items():
        if own is not newest:
            chosen = transitions.session == regime
            rows.residual[torch.from_numpy(chosen)] = model_tensors(select(transitions, chosen), own).residual
    return newest, rows
