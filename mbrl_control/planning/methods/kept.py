"""No sampling: what the last cycle left, between nothing and all of it. Where the methods that only refine begin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.planning.methods.protocol import Distribution, Population
from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class Kept:
    """See `Method`."""

    @property
    def begins_at_elites(self) -> bool:
        """See Method: at the best one, of which the mean is what is left."""
        return False

    def sample(self, distribution: Distribution, count: int, generator: np.random.Generator) -> Array:
        """See Method; nothing is random."""
        return np.asarray(np.linspace(0.0, 1.0, count)[:, None, None] * distribution.mean)

    def update(self, distribution: Distribution, new: Population, elites: Population, floor: Array) -> Distribution:
        """See Method: to the best of all."""
        return Distribution(elites.knots[0], distribution.std) if len(elites.knots) else distribution
