"""Folds scaling, feature mixing and prior into the weights, in float64, so that the graphs hold only float32 matmuls.

Activations are columns: ``[E, rows, B]``. A matmul then repacks the few activations of a step instead of all weights.
The carried motion is ``[q; dq / FRICTION_SPEED]``, so that the friction feature is a plain tanh of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.dynamics.normalizer import FRICTION_SPEED
from mbrl_control.signals import CommandInterface


@dataclass(frozen=True, slots=True)
class FoldedWeights:
    """float32; ``W`` the hidden width, ``F = 4J + (K+1)J + 1`` rows: motion, tanh of it, commands, one."""

    scaling: torch.Tensor
    """[G, F] rows -> scaled features, not yet saturated, and a one; offsets in the last column."""
    first: torch.Tensor
    """[E, W, G], bias in the last column."""
    hidden: torch.Tensor
    """[E, W, W]."""
    hidden_bias: torch.Tensor
    """[E, W, 1]."""
    last: torch.Tensor
    """[E, 6J, W] -> next motion, effort, raw log-variance minus its upper bound; of torques the residual instead."""
    direct: torch.Tensor
    """[E, 6J, F] the biases of the same rows, and what of the prior is linear."""
    variance_scale: torch.Tensor
    """[3J, 1] target_std^2 e^max."""
    variance_floor: torch.Tensor
    """[3J, 1] target_std^2 e^min."""


def fold(ensemble: ProbabilisticEnsemble) -> FoldedWeights:
    """Same function as ``ensemble``, fewer operations."""
    weights = {name: value.detach().double() for name, value in ensemble.state_dict().items()}
    high, low, std = weights["max_log_variance"], weights["min_log_variance"], weights["target_std"]
    last, last_bias = _output_layer(ensemble, weights)
    folded = (
        _scaling(ensemble, weights),
        torch.cat([weights["w0"], weights["b0"]], dim=1).mT,
        weights["w1"].mT,
        weights["b1"].mT,
        last.mT,
        _direct(ensemble, last_bias),
        (std**2 * high.exp())[:, None],
        (std**2 * low.exp())[:, None],
    )
    return FoldedWeights(*(tensor.float().contiguous() for tensor in folded))


def motion_scale(joints: int) -> torch.Tensor:
    """[2J] SI value of one unit of the carried motion."""
    return torch.cat([torch.ones(joints), torch.full((joints,), FRICTION_SPEED)]).double()


def output_unit(ensemble: ProbabilisticEnsemble) -> torch.Tensor:
    """[3J] SI value of one unit of the outputs: the next motion and effort, or a residual in SI."""
    joints = ensemble.shape.joints
    if ensemble.prior.interface is CommandInterface.EFFORT:
        return torch.ones(3 * joints).double()
    return torch.cat([motion_scale(joints), torch.ones(joints).double()])


def _scaling(ensemble: ProbabilisticEnsemble, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """[G, F] mixing and normalizer; the tanh of the positions gets zero columns: cheaper than a slice in the loop."""
    joints = ensemble.shape.joints
    mixed = ensemble.mixing.double() / weights["feature_std"]
    offset = -weights["feature_mean"] / weights["feature_std"]
    motion = mixed[: 2 * joints] * motion_scale(joints)[:, None]
    friction, commands = mixed[2 * joints : 3 * joints], mixed[3 * joints :]
    scaled = torch.cat([motion, torch.zeros_like(friction), friction, commands, offset[None]])
    one = torch.zeros(len(scaled), 1).double()
    one[-1] = 1.0
    return torch.cat([scaled, one], dim=1).mT


def _output_layer(
    ensemble: ProbabilisticEnsemble, weights: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """[E, W, 6J] and [E, 1, 6J]: targets in carried units, raw log-variances below their bound."""
    std, mean, high = weights["target_std"], weights["target_mean"], weights["max_log_variance"]
    unit = output_unit(ensemble)
    scale = torch.cat([std / unit, torch.ones_like(std)])
    return weights["w2"] * scale, weights["b2"] * scale + torch.cat([mean / unit, -high])


def _direct(ensemble: ProbabilisticEnsemble, bias: torch.Tensor) -> torch.Tensor:
    """[E, 6J, F] prior in carried units on the motion and the newest command, biases in the last column."""
    joints, history, prior = ensemble.shape.joints, ensemble.shape.history, ensemble.prior
    unit = motion_scale(joints)
    direct = torch.zeros(ensemble.shape.members, 4 * joints + (history + 1) * joints + 1, 6 * joints).double()
    if isinstance(prior, NominalPrior):
        direct[:, : 2 * joints, : 2 * joints] = unit[:, None] * prior.state_matrix() / unit
        direct[:, -joints - 1 : -1, : 2 * joints] = prior.action_matrix() / unit
    direct[:, -1:, :] = bias
    return direct.mT
