"""A quadratic cost of the changes of knots, minimized within the limits of the knots and of their steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from mbrl_control.planning.limits import KnotLimits
from mbrl_control.signals import Array

_ROUNDS = 40
"""What they leave outside is projected and scored like all else."""
_PENALTY, _RELAXED = 3.0, 1.6
"""Of the method of multipliers: over the mean curvature; and how far each round goes beyond its own solution. After
`_ROUNDS` less than a thousandth of the gain is missing (test); a tenth or ten times the penalty leaves more."""
_LEAST, _TINY = 1e-9, 1e-12
"""Curvature that is always added, over the mean; and what stands for that where there is none."""


@dataclass(frozen=True, slots=True)
class Quadratic:
    """Cost about a sequence, by changes of its knots in units of their bounds."""

    gradient: Array
    """[H J]"""
    hessian: Array
    """[H J, H J], positive semidefinite."""
    lower: Array
    upper: Array
    """[2, H, J]: how far each knot may change, and how far each step from knot to knot may."""
    unit: Array
    """[J] rad/s or N m."""

    def step(self, damping: float) -> Array:
        """[H, J] change, in rad/s or N m, that minimizes it within the limits, ``damping`` times the mean curvature
        added.

        Where the free minimum is not allowed: alternating directions, as OSQP has them (Stellato et al., Mathematical
        Programming Computation 12, 2020), a fixed number of rounds.
        """
        shape, count = self.lower.shape[1:], len(self.gradient)
        mean = max(np.trace(self.hessian) / count, _TINY)
        curvature = self.hessian + (damping + _LEAST) * mean * np.eye(count)
        free = -np.linalg.solve(curvature, self.gradient).reshape(shape)
        reached = _limited(free)
        if ((reached >= self.lower) & (reached <= self.upper)).all():
            return np.asarray(free * self.unit)
        penalty = _PENALTY * mean
        inverse = np.linalg.inv(curvature + penalty * _squared(*shape))
        kept, pressure, change = np.zeros_like(reached), np.zeros_like(reached), free
        for _ in range(_ROUNDS):
            change = (inverse @ (_gathered(penalty * kept - pressure).ravel() - self.gradient)).reshape(shape)
            reached = _RELAXED * _limited(change) + (1.0 - _RELAXED) * kept
            kept = np.clip(reached + pressure / penalty, self.lower, self.upper)
            pressure = pressure + penalty * (reached - kept)
        return np.asarray(change * self.unit)


def allowed_changes(knots: Array, first: Array, limits: KnotLimits) -> tuple[Array, Array]:
    """`Quadratic.lower` and ``upper`` for knots [H, J] after knot 0 ``first`` [J]."""
    steps = np.diff(knots, axis=0, prepend=first[None])
    lower = np.stack([limits.middle - limits.bound - knots, -limits.step - steps])
    upper = np.stack([limits.middle + limits.bound - knots, limits.step - steps])
    # Knots that come back from outside their bounds lie at neither: the nearest that is allowed is where they are.
    return np.minimum(lower, 0.0) / limits.bound, np.maximum(upper, 0.0) / limits.bound


def _limited(change: Array) -> Array:
    """[H, J] -> [2, H, J]: the changes of the knots, and of the steps between them."""
    steps = change.copy()
    steps[1:] -= change[:-1]
    return np.stack([change, steps])


@cache
def _squared(horizon: int, joints: int) -> Array:
    """The transpose of `_limited` times itself, [H J, H J]."""
    steps = np.eye(horizon) - np.eye(horizon, k=-1)
    return np.asarray(np.kron(np.eye(horizon) + steps.T @ steps, np.eye(joints)), dtype=np.float64)


def _gathered(pressure: Array) -> Array:
    """The transpose of `_limited`, [2, H, J] -> [H, J]."""
    knots, steps = pressure
    gathered = knots + steps
    gathered[:-1] -= steps[1:]
    return np.asarray(gathered)
