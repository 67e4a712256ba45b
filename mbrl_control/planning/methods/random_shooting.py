"""Random shooting: the best of many independent samples, the baseline of all others (Nagabandi et al., ICRA 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.planning.methods.noise import KnotNoise
from mbrl_control.planning.methods.protocol import Distribution, Population
from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class RandomShooting:
    """See `Method`: nothing is learned from the scores."""

    noise: KnotNoise

    @property
    def begins_at_elites(self) -> bool:
        """See Method."""
        return True

    def sample(self, distribution: Distribution, count: int, generator: np.random.Generator) -> Array:
        """See Method."""
        return distribution.drawn(self.noise, count, generator)

    def update(self, distribution: Distribution, new: Population, elites: Population, floor: Array) -> Distribution:
        """See Method."""
        return distribution
