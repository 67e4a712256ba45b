"""MPPI: the mean moves to the average of all samples, weighted by the exponential of their cost; the spread stays.

Source: Williams et al., "Information-theoretic model predictive control", IEEE T-RO 34 (2018), equations 24 to 34,
without the cost of control (our costs charge smoothness themselves). The temperature is a share of the spread of the
costs, so that it means the same for every goal. The mean is not executed unscored: it is a sample of what comes next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.planning.methods.noise import KnotNoise
from mbrl_control.planning.methods.protocol import Distribution, Population
from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class PathIntegral:
    """See `Method`."""

    noise: KnotNoise
    temperature: float
    """Over the finite costs' median excess above the least: one sample that is far off changes nothing."""

    @property
    def begins_at_elites(self) -> bool:
        """See Method."""
        return False

    def sample(self, distribution: Distribution, count: int, generator: np.random.Generator) -> Array:
        """See Method."""
        return distribution.drawn(self.noise, count, generator)

    def update(self, distribution: Distribution, new: Population, elites: Population, floor: Array) -> Distribution:
        """See Method; unchanged when no cost is finite."""
        finite = np.isfinite(new.cost)
        if not finite.any():
            return distribution
        weights = path_weights(new.cost[finite], self.temperature)
        return Distribution(np.einsum("n,nhj->hj", weights, new.knots[finite]), distribution.std)


def path_weights(cost: Array, temperature: float) -> Array:
    """[N] weights that sum to one; equal ones where all costs are equal."""
    excess = cost - cost.min()
    weights = np.exp(-excess / max(temperature * float(np.median(excess)), np.finfo(np.float64).tiny))
    return np.asarray(weights / weights.sum())
