"""Probabilistic ensemble: Gaussian heads on batched networks (PETS, Chua et al. 2018, arXiv:1805.12114).

The heads' variance is ``e^min + e^max sigmoid(raw - max)``. This is PETS' softplus-bounded log-variance
(their appendix A.1) written out: both softplus of the log cancel, so the graph needs one sigmoid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import nn

from mbrl_control.dynamics.normalizer import FEATURE_LIMIT, Normalizer, mixing_matrix, raw_features
from mbrl_control.dynamics.prior import Prior
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior


@dataclass(frozen=True, slots=True)
class EnsembleShape:
    """E members for an arm of J joints and K past commands."""

    members: int
    joints: int
    history: int
    width: int = 128
    """Of every hidden layer."""
    depth: int = 2
    """Hidden layers."""

    def __post_init__(self) -> None:
        for name in ("members", "joints", "history", "width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is too small; give 1 or more")

    @property
    def outputs(self) -> int:
        return 3 * self.joints

    @property
    def state(self) -> int:
        return (2 + self.history) * self.joints


class ProbabilisticEnsemble(nn.Module):
    """Prior plus learned residual of position and velocity, and effort; members batched in one matmul."""

    feature_mean: torch.Tensor
    feature_std: torch.Tensor
    target_mean: torch.Tensor
    target_std: torch.Tensor
    mixing: torch.Tensor
    friction: torch.Tensor
    """[2, J] of the prior, only of arms that take torques: Coulomb N m, viscous N m s/rad."""
    load: torch.Tensor
    """[10] of the prior, only of arms that take torques, see `rigid_load`."""

    def __init__(self, shape: EnsembleShape, prior: Prior, generator: torch.Generator) -> None:
        super().__init__()
        self.shape, self.prior = shape, prior
        mixing = mixing_matrix(shape.joints, shape.history, prior.interface).float()
        sizes = [mixing.shape[1], *[shape.width] * shape.depth, 2 * shape.outputs]
        for index, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            weights, biases = _layer(shape.members, fan_in, fan_out, generator)
            self.register_parameter(f"w{index}", weights)
            self.register_parameter(f"b{index}", biases)
        self.max_log_variance = nn.Parameter(torch.full((shape.outputs,), 0.5))
        self.min_log_variance = nn.Parameter(torch.full((shape.outputs,), -8.0))
        self.register_buffer("feature_mean", torch.zeros(sizes[0]))
        self.register_buffer("feature_std", torch.ones(sizes[0]))
        self.register_buffer("target_mean", torch.zeros(shape.outputs))
        self.register_buffer("target_std", torch.ones(shape.outputs))
        if isinstance(prior, RigidBodyPrior):
            # The prior's own; buffers, because they are saved with the weights that were learned beside them.
            self.register_buffer("friction", prior.friction.clone())
            self.register_buffer("load", prior.load.clone())
        self.register_buffer("mixing", mixing, persistent=False)

    @property
    def layers(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        """Weights [E, in, out] and biases [E, 1, out], the output layer last."""
        count = self.shape.depth + 1
        return [(self.get_parameter(f"w{index}"), self.get_parameter(f"b{index}")) for index in range(count)]

    def silence(self) -> None:
        """A residual of zero from now on; what is said of the variance means nothing then."""
        with torch.no_grad():
            for values in (*self.layers[-1], self.target_mean):
                values.zero_()

    def set_normalizer(self, normalizer: Normalizer) -> None:
        """Take the scaling of the training rows."""
        self.feature_mean = normalizer.feature_mean.float()
        self.feature_std = normalizer.feature_std.float()
        self.target_mean = normalizer.target_mean.float()
        self.target_std = normalizer.target_std.float()

    def heads(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scaled features [E, N, F] -> mean and variance [E, N, 3J] in units of the targets' std."""
        *hidden, (last, last_bias) = self.layers
        for weights, biases in hidden:
            features = nn.functional.silu(torch.baddbmm(biases, features, weights))
        mean, raw = torch.baddbmm(last_bias, features, last).chunk(2, dim=-1)
        return mean, self.bounded_variance(raw)

    def bounded_variance(self, raw: torch.Tensor) -> torch.Tensor:
        """Raw log-variance [..., 3J] -> variance between e^min and e^min + e^max."""
        low, high = self.min_log_variance, self.max_log_variance
        return low.exp() + high.exp() * torch.sigmoid(raw - high)

    def scaled_features(self, position: torch.Tensor, velocity: torch.Tensor, commands: torch.Tensor) -> torch.Tensor:
        """q, dq [..., J], commands [..., (K+1)J] -> [..., F], mean 0 and std 1 on the training rows, saturated."""
        mixed = raw_features(position, velocity, commands) @ self.mixing
        return ((mixed - self.feature_mean) / self.feature_std).clamp(-FEATURE_LIMIT, FEATURE_LIMIT)

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """State [E, B, S] and action [B, J] -> next state [E, B, S], mean and variance [E, B, 3J] (SI)."""
        joints = self.shape.joints
        position, velocity = state[..., :joints], state[..., joints : 2 * joints]
        commands = torch.cat([state[..., 2 * joints :], action.expand(state.shape[0], -1, -1)], dim=-1)
        residual, variance = self.heads(self.scaled_features(position, velocity, commands))
        residual = residual * self.target_std + self.target_mean
        mean, variance = self.prior.compose(position, velocity, action, residual, variance * self.target_std**2)
        carried = torch.cat([mean[..., : 2 * joints], commands[..., joints:]], dim=-1)
        return carried, mean, variance

    def select(self, members: list[int], prior: Prior | None = None) -> ProbabilisticEnsemble:
        """A new ensemble of these members (the elites), in this order; beside another ``prior``, if one is given."""
        shape = replace(self.shape, members=len(members))
        chosen = ProbabilisticEnsemble(shape, prior or self.prior, torch.Generator().manual_seed(0))
        own = {name for index in range(self.shape.depth + 1) for name in (f"w{index}", f"b{index}")}
        tensors = {
            name: value[members].clone() if name in own else value.clone() for name, value in self.state_dict().items()
        }
        chosen.load_state_dict(
            tensors | {name: value for name, value in chosen.state_dict().items() if name in _OF_PRIOR}
        )
        return chosen


_OF_PRIOR = frozenset({"friction", "load"})


def _layer(members: int, fan_in: int, fan_out: int, generator: torch.Generator) -> tuple[nn.Parameter, nn.Parameter]:
    """Weights [E, in, out] from N(0, 1/in), cut at two std as in PETS; biases zero."""
    weights = torch.empty(members, fan_in, fan_out)
    std = fan_in**-0.5
    nn.init.trunc_normal_(weights, std=std, a=-2 * std, b=2 * std, generator=generator)
    return nn.Parameter(weights), nn.Parameter(torch.zeros(members, 1, fan_out))
