"""MC dropout with fixed masks: every mask is a member (Gal and Ghahramani 2016, arXiv:1506.02142).

A mask that stays the same over a rollout is one draw of a function, as a member is (Gal, McAllister and Rasmussen,
"Improving PILCO with Bayesian neural network dynamics models", 2016). It can be multiplied into the next layer's
weights, so what comes out is an ensemble like any other: exported, planned with and judged as one.
"""

from __future__ import annotations

import torch
from torch import nn

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble


def masked_heads(
    ensemble: ProbabilisticEnsemble, features: torch.Tensor, rate: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `ProbabilisticEnsemble.heads`, each row [E, N] with hidden units of its own left out."""
    *hidden, (last, last_bias) = ensemble.layers
    for weights, biases in hidden:
        features = nn.functional.silu(torch.baddbmm(biases, features, weights))
        kept = torch.empty_like(features).bernoulli_(1.0 - rate, generator=generator)
        features = features * kept / (1.0 - rate)
    mean, raw = torch.baddbmm(last_bias, features, last).chunk(2, dim=-1)
    return mean, ensemble.bounded_variance(raw)


def dropout_members(
    network: ProbabilisticEnsemble, rate: float, members: int, generator: torch.Generator
) -> ProbabilisticEnsemble:
    """The one ``network`` with as many masks drawn once and for all."""
    masked = network.select([0] * members)
    with torch.no_grad():
        for weights, _ in masked.layers[1:]:
            kept = torch.empty(members, weights.shape[1], 1).bernoulli_(1.0 - rate, generator=generator)
            weights.mul_(kept / (1.0 - rate))
    return masked
