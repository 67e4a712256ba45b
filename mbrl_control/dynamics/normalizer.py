"""Features of the learned residual and their scaling; both are linear but for one tanh, so graphs can fold them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from mbrl_control.signals import CommandInterface

FRICTION_SPEED = 0.02
"""rad/s; speed below which dry friction changes sign."""
FEATURE_LIMIT = 10.0
"""Std; features saturate here: bounds extrapolation, and float32 rounding with it, far from the training rows."""
_SMALLEST_STD = 1e-6


def friction_feature(velocity: torch.Tensor) -> torch.Tensor:
    """[..., J] rad/s -> smooth sign of the velocity.

    Dry (Coulomb) friction is a function of sign(dq): a network that sees only dq has to build this step out of
    wide units, and is worst exactly where a reach ends.
    """
    return torch.tanh(velocity / FRICTION_SPEED)


def raw_features(position: torch.Tensor, velocity: torch.Tensor, commands: torch.Tensor) -> torch.Tensor:
    """q, dq [..., J] and commands [..., (K+1)J] (history, then action) -> [..., 3J + (K+1)J] before mixing."""
    return torch.cat([position, velocity, friction_feature(velocity), commands], dim=-1)


def mixing_matrix(joints: int, history: int, interface: CommandInterface) -> torch.Tensor:
    """[(4+K)J, F] float64, ``raw_features`` -> features: velocity commands as command minus dq, torques not at all.

    Velocity commands and dq are nearly equal in a good servo: only their difference drives the residual, and only
    after subtraction does scaling to unit std make it visible. What a torque does is the rigid body's to say: told
    the torque, a network confuses it with what it is correlated with in the rows, friction and load.
    """
    mix = torch.eye((4 + history) * joints, dtype=torch.float64)
    if interface is CommandInterface.EFFORT:
        return mix[:, : 3 * joints]
    for joint in range(joints):
        mix[joints + joint, 3 * joints + joint :: joints] = -1.0
    return mix


@dataclass(frozen=True, slots=True)
class Normalizer:
    """Mean and std of the mixed features [F] and of the targets [3J] (residual q, residual dq, effort)."""

    feature_mean: torch.Tensor
    feature_std: torch.Tensor
    target_mean: torch.Tensor
    target_std: torch.Tensor

    @staticmethod
    def of(parts: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> Normalizer:
        """Parts of the rows, each features [n, F] and targets [n, 3J]; constant columns get std 1."""
        seen = [(len(features), _mean_and_std(features), _mean_and_std(targets)) for features, targets in parts]
        counts = [count for count, _, _ in seen]
        return Normalizer(
            *_of_all(counts, [features for _, features, _ in seen]),
            *_of_all(counts, [targets for _, _, targets in seen]),
        )


_Moments = tuple[torch.Tensor, torch.Tensor]


def _mean_and_std(rows: torch.Tensor) -> _Moments:
    return rows.mean(0), rows.std(0, unbiased=False)


def _of_all(counts: list[int], parts: list[_Moments]) -> _Moments:
    """Mean and std of all rows from those of the parts (Chan, Golub, LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances", 1979)."""
    mean, std = parts[0]
    if len(parts) > 1:
        share = (torch.tensor(counts, dtype=mean.dtype) / sum(counts))[:, None]
        means, stds = torch.stack([part[0] for part in parts]), torch.stack([part[1] for part in parts])
        mean = (share * means).sum(0)
        std = (share * (stds.square() + (means - mean).square())).sum(0).sqrt()
    return mean, torch.where(std > _SMALLEST_STD, std, torch.ones_like(std))
