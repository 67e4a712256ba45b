"""What a sampling planner is: how it samples, what it learns from the scores; `planning/optimize.py` is the loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mbrl_control.planning.methods.noise import KnotNoise
from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class Distribution:
    """What knots are drawn from."""

    mean: Array
    """[H, J] rad/s or N m."""
    std: Array
    """[H, J]."""

    def drawn(self, noise: KnotNoise, count: int, generator: np.random.Generator) -> Array:
        """[count, H, J] Gaussian samples with this noise along the horizon."""
        return self.mean + self.std * noise.draw(count, self.mean.shape[1], generator)


@dataclass(frozen=True, slots=True)
class Population:
    """Scored samples."""

    knots: Array
    """[N, H, J] rad/s or N m, feasible."""
    cost: Array
    """[N] after risk; infinity is the worst."""
    position: Array
    """[N, H, J] rad, predicted mean."""

    def best(self, count: int) -> Population:
        """The ``count`` best finite samples, best first."""
        order = np.argsort(self.cost, kind="stable")[:count]
        order = order[np.isfinite(self.cost[order])]
        return Population(self.knots[order], self.cost[order], self.position[order])

    def joined(self, other: Population) -> Population:
        """Both, these first."""
        pairs = ((self.knots, other.knots), (self.cost, other.cost), (self.position, other.position))
        return Population(*(np.concatenate(pair) for pair in pairs))


class Method(Protocol):
    """A sampling planner without state of its own: what it learns within a cycle is in the distribution."""

    @property
    def begins_at_elites(self) -> bool:
        """The first population of a cycle lies about the last one's elites, not about its last mean."""
        ...

    def sample(self, distribution: Distribution, count: int, generator: np.random.Generator) -> Array:
        """[count, H, J] knots, not yet within their limits."""
        ...

    def update(self, distribution: Distribution, new: Population, elites: Population, floor: Array) -> Distribution:
        """What to draw the next population from. ``new`` was just scored, ``elites`` are the best of all populations of
        this cycle (best first, finite, maybe none); ``floor`` [J] is the least standard deviation."""
        ...
