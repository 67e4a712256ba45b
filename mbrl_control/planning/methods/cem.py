"""CEM and iCEM: mean and spread move to those of the elites.

CEM: Rubinstein and Kroese, "The Cross-Entropy Method" (2004), as PETS uses it (Chua et al., NeurIPS 2018): elites of
the newest population. iCEM: Pinneri et al., "Sample-efficient cross-entropy method for real-time planning", CoRL 2020:
coloured noise, elites kept between iterations (and shifted between cycles, by the planner). Scores are deterministic,
so kept elites keep their score instead of being scored again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.planning.methods.noise import KnotNoise
from mbrl_control.planning.methods.protocol import Distribution, Population
from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """See `Method`."""

    noise: KnotNoise
    elites: int
    """Of one population, where they are not kept."""
    keep: bool
    """Elites of all populations of the cycle count (iCEM), or of the newest (CEM)."""
    momentum: float
    """Share of the old mean and spread that an update keeps."""

    @property
    def begins_at_elites(self) -> bool:
        """See Method."""
        return self.keep

    def sample(self, distribution: Distribution, count: int, generator: np.random.Generator) -> Array:
        """See Method."""
        return distribution.drawn(self.noise, count, generator)

    def update(self, distribution: Distribution, new: Population, elites: Population, floor: Array) -> Distribution:
        """See Method; unchanged while there are no elites."""
        chosen = (elites if self.keep else new.best(self.elites)).knots
        if not len(chosen):
            return distribution
        mean = self.momentum * distribution.mean + (1.0 - self.momentum) * chosen.mean(axis=0)
        spread = self.momentum * distribution.std + (1.0 - self.momentum) * chosen.std(axis=0)
        return Distribution(mean, np.maximum(spread, floor))
