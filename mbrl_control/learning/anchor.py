"""Pseudorehearsal: what a network may not forget, and may not make up, where the rows say nothing.

Rows of one narrow path leave most of what a network does open. Of an arm under torques that shows as soon as it leaves
the path: a residual made up for a joint that hardly moved pushes it to and fro. So outputs are held, loosely, at motion
drawn wide: to the parent's outputs, or to the prior's, a residual of zero (Robins, Connection Science 7, 1995, for
pseudorehearsal of a parent). Its price: members of a first model agree on zero where they would else have disagreed,
so its spread off the rows is smaller. Velocity arms have none: their networks hold a load, and have to unlearn it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.normalizer import FEATURE_LIMIT

_POINTS, _BATCH = 4096, 64
_REACH = 4.0
"""Std of the drawn motion in std of the parent's rows, or of the rows where there is no parent."""
ANCHOR_WEIGHT = 0.1


@dataclass(frozen=True, slots=True)
class Anchor:
    """Points that the fit draws from."""

    features: torch.Tensor
    """[P, F] scaled."""
    targets: torch.Tensor
    """[E, P, 3J] in units of the targets' std."""

    def loss(self, ensemble: ProbabilisticEnsemble, generator: torch.Generator) -> torch.Tensor:
        """Of some of the points, summed over members; to be added to that of the rows."""
        chosen = torch.randint(len(self.features), (_BATCH,), generator=generator)
        mean, _ = ensemble.heads(self.features[chosen].expand(ensemble.shape.members, -1, -1))
        return ANCHOR_WEIGHT * (mean - self.targets[:, chosen]).square().mean((1, 2)).sum()


def anchor_to_prior(ensemble: ProbabilisticEnsemble, generator: torch.Generator) -> Anchor:
    """Of a fresh ensemble: the prior alone, where the rows say nothing else."""
    nothing = -ensemble.target_mean / ensemble.target_std
    return Anchor(_drawn(ensemble, generator), nothing.expand(ensemble.shape.members, _POINTS, -1))


def anchor_to_parent(parent: ProbabilisticEnsemble, changed: torch.Tensor, generator: torch.Generator) -> Anchor:
    """Of an ensemble that begins with the parent's weights, member by member.

    Joints [J] whose friction has ``changed`` have their torque held to the prior's: the parent's networks knew the
    friction that the prior knows now.
    """
    features, joints = _drawn(parent, generator), parent.shape.joints
    with torch.no_grad():
        targets, _ = parent.heads(features.expand(parent.shape.members, -1, -1))
    anew = torch.cat([torch.zeros(joints), changed.float(), torch.zeros(joints)]) > 0.0
    return Anchor(features, torch.where(anew, -parent.target_mean / parent.target_std, targets))


def _drawn(ensemble: ProbabilisticEnsemble, generator: torch.Generator) -> torch.Tensor:
    """[P, F] features of motion drawn wide, in the ensemble's scaling."""
    joints = ensemble.shape.joints
    wide = (_REACH * torch.randn(_POINTS, 2 * joints, generator=generator)).clamp(-FEATURE_LIMIT, FEATURE_LIMIT)
    motion = wide * ensemble.feature_std[: 2 * joints] + ensemble.feature_mean[: 2 * joints]
    commands = torch.zeros(_POINTS, (ensemble.shape.history + 1) * joints)
    return ensemble.scaled_features(motion[:, :joints], motion[:, joints:], commands)
