"""Folds scaling, feature mixing and prior into the weights, in float64, so that the graphs hold only float32 products.

Activations are columns: ``[E, rows, B]``. The carried motion is ``[q; dq / FRICTION_SPEED]``, so that the friction
feature is a plain tanh of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mbrl_control.deployment.networks import Networks
from mbrl_control.dynamics.delta_prior import DeltaPrior
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.dynamics.normalizer import FRICTION_SPEED
from mbrl_control.signals import CommandInterface


@dataclass(frozen=True, slots=True)
class FoldedWeights:
    """float32. ``G`` rows of scaled features, not yet saturated, the last of them a one; below them 3J of what of the
    prior is linear."""

    motion: torch.Tensor
    """[G + 3J, 4J] of the motion and the tanh of it."""
    command: torch.Tensor
    """[G + 3J, (K+1)J] of the past commands and the newest."""
    offset: torch.Tensor
    """[G + 3J, 1]."""
    networks: Networks
    """To 6J outputs: next motion and effort less the prior, raw log-variance minus its upper bound; of torques the
    residual in SI instead."""
    variance_scale: torch.Tensor
    """[3J, 1] target_std^2 e^max."""
    variance_floor: torch.Tensor
    """[3J, 1] target_std^2 e^min."""


def fold(ensemble: ProbabilisticEnsemble) -> FoldedWeights:
    """Same function as ``ensemble``, fewer operations."""
    weights = {name: value.detach().double() for name, value in ensemble.state_dict().items()}
    high, low, std = weights["max_log_variance"], weights["min_log_variance"], weights["target_std"]
    layers = [(value.detach().double().mT, bias.detach().double().mT) for value, bias in ensemble.layers]
    last, last_bias = _output_layer(ensemble, weights)
    known, split = _known(ensemble, weights), 4 * ensemble.shape.joints
    return FoldedWeights(
        motion=_single(known[:, :split]),
        command=_single(known[:, split:-1]),
        offset=_single(known[:, -1:]),
        networks=Networks([*layers[:-1], (last.mT, last_bias.mT)]),
        variance_scale=_single((std**2 * high.exp())[:, None]),
        variance_floor=_single((std**2 * low.exp())[:, None]),
    )


def motion_scale(joints: int) -> torch.Tensor:
    """[2J] SI value of one unit of the carried motion."""
    return torch.cat([torch.ones(joints), torch.full((joints,), FRICTION_SPEED)]).double()


def output_unit(ensemble: ProbabilisticEnsemble) -> torch.Tensor:
    """[3J] SI value of one unit of the outputs: the next motion and effort, or a residual in SI."""
    joints = ensemble.shape.joints
    if ensemble.prior.interface is CommandInterface.EFFORT:
        return torch.ones(3 * joints).double()
    return torch.cat([motion_scale(joints), torch.ones(joints).double()])


def _single(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float().contiguous()


def _known(ensemble: ProbabilisticEnsemble, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """[G + 3J, 4J + (K+1)J + 1] of motion, tanh of it, commands and one: all that is known before the networks."""
    offset = -(weights["feature_mean"] / weights["feature_std"])
    scaling = torch.cat([_scaling(ensemble, weights), offset[None]]).mT
    one = torch.zeros(1, scaling.shape[1]).double()
    one[0, -1] = 1.0
    prior = torch.nn.functional.pad(_linear_prior(ensemble).mT, (0, 1))
    return torch.cat([scaling, one, prior])


def _scaling(ensemble: ProbabilisticEnsemble, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """[4J + (K+1)J, features] mixing and normalizer; the tanh of the positions counts nothing: cheaper than a slice in
    the loop."""
    joints, commands = ensemble.shape.joints, (ensemble.shape.history + 1) * ensemble.shape.joints
    mixed = ensemble.mixing.double() / weights["feature_std"]
    motion, friction, told = torch.split(mixed, [2 * joints, joints, commands])
    return torch.cat([motion * motion_scale(joints)[:, None], torch.zeros_like(friction), friction, told])


def _output_layer(
    ensemble: ProbabilisticEnsemble, weights: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """[E, W, 6J] and [E, 1, 6J]: targets in carried units, raw log-variances below their bound."""
    std, mean, high = weights["target_std"], weights["target_mean"], weights["max_log_variance"]
    unit = output_unit(ensemble)
    scale = torch.cat([std / unit, torch.ones_like(std)])
    last, bias = (value.detach().double() for value in ensemble.layers[-1])
    return last * scale, bias * scale + torch.cat([mean / unit, -high])


def _linear_prior(ensemble: ProbabilisticEnsemble) -> torch.Tensor:
    """[4J + (K+1)J, 3J] in carried units: of the motion and of the newest command; zero for torques."""
    joints, history, prior = ensemble.shape.joints, ensemble.shape.history, ensemble.prior
    unit = motion_scale(joints)
    known = torch.zeros((5 + history) * joints, 3 * joints).double()
    if isinstance(prior, NominalPrior):
        known[: 2 * joints, : 2 * joints] = unit[:, None] * prior.state_matrix() / unit
        known[-joints:, : 2 * joints] = prior.action_matrix() / unit
    elif isinstance(prior, DeltaPrior):
        known[: 2 * joints, : 2 * joints] = torch.eye(2 * joints)
    return known
