"""Candidates by the derivatives of the learned model about the best sequence so far: a line search as a population."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mbrl_control.planning.condensed import condensed
from mbrl_control.planning.limits import mean_actions
from mbrl_control.planning.problem import Best, Problem
from mbrl_control.planning.protocol import Derivatives
from mbrl_control.signals import Array

_SHORTEST = 2.0**-16
"""Of the lengths that a descent tries, over the largest command."""
_DAMPINGS = (0.0, 1e-2, 1.0)
"""Levenberg's, over the mean curvature; a third of the candidates each."""


class Refiner(Protocol):
    """Proposes what to score next."""

    def candidates(self, problem: Problem, best: Best, count: int) -> Array:
        """[count, H, J] knots, not yet within their limits."""
        ...


@dataclass(frozen=True, slots=True)
class Descent:
    """Along the gradient, in the metric of smooth changes, with lengths from the largest command down to a 65536th."""

    smoothing: float = 2.0
    """Steps over which a change spreads (Sobolev gradient: Neuberger, 1997)."""

    def candidates(self, problem: Problem, best: Best, count: int) -> Array:
        """See Refiner; unchanged where the gradient is zero or not finite."""
        actions = mean_actions(best.knots[None], problem.first_knot)[0]
        slope = knot_gradient(_derivatives(problem).gradient(problem.state, actions, problem.objective))
        horizon = len(slope)
        difference = np.eye(horizon) - np.eye(horizon, k=-1)
        scaled = problem.limits.bound**2 * slope
        change = -np.linalg.solve(np.eye(horizon) + self.smoothing**2 * difference.T @ difference, scaled)
        largest = float(np.max(np.abs(change) / problem.limits.bound))
        if not (np.isfinite(largest) and largest > 0.0):
            return np.repeat(best.knots[None], count, axis=0)
        lengths = np.geomspace(1.0, _SHORTEST, count) / largest
        return np.asarray(best.knots + lengths[:, None, None] * change)


@dataclass(frozen=True, slots=True)
class LinearQuadratic:
    """The step of iLQR (Li and Todorov, ICINCO 2004) within the limits of the commands and of their change, at several
    lengths and dampings.

    The linear-quadratic problem about the best sequence is solved for all its commands at once (condensed: Bock and
    Plitt, 1984) and not step by step: no feedback gains are needed where the next cycle plans anew.
    """

    def candidates(self, problem: Problem, best: Best, count: int) -> Array:
        """See Refiner; unchanged where a derivative is not finite."""
        quadratic = condensed(problem, best)
        if quadratic is None:
            return np.repeat(best.knots[None], count, axis=0)
        steps = [quadratic.step(damping) for damping in _DAMPINGS]
        rounds = -(-count // len(steps))
        lengths = 2.0 ** -np.arange(rounds, dtype=np.float64)
        tried = np.concatenate([length * np.stack(steps) for length in lengths])[:count]
        return np.asarray(best.knots + tried)


def knot_gradient(by_action: Array) -> Array:
    """Derivative by the mean commands [H, J] -> by the knots [H, J]: each knot is half of two of those."""
    slope = 0.5 * by_action
    slope[:-1] += 0.5 * by_action[1:]
    return slope


def _derivatives(problem: Problem) -> Derivatives:
    if problem.derivatives is None:
        raise ValueError("no derivatives: open the model with them")
    return problem.derivatives
