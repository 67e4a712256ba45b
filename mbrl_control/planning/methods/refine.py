"""Candidates by the derivatives of the learned model about the best sequence so far: a line search as a population.

Where none of a population is better, one more with shorter and more damped steps follows about the same sequence, from
the derivatives that are there; where none of that is either, the search has converged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import cycle
from typing import Protocol

import numpy as np

from mbrl_control.planning.condensed import condensed
from mbrl_control.planning.limits import mean_actions
from mbrl_control.planning.problem import Best, Problem
from mbrl_control.planning.protocol import Derivatives
from mbrl_control.planning.quadratic import Quadratic
from mbrl_control.signals import Array

_SHORTEST = 2.0**-16
"""Of the lengths that a descent tries, over the largest command."""
_SHORTEST_STEP = 2.0**-5
"""Of the lengths of iLQR's steps, over the longest of their kind."""
_FIRST = ((0.0, 1.0), (1e-2, 1.0), (1.0, 1.0))
_AGAIN = ((0.0, 0.5 * _SHORTEST_STEP), (10.0, 1.0), (100.0, 1.0))
"""Damping over the mean curvature (Levenberg, 1944), and the longest step with it; a third of the candidates each. The
damping rises where it failed, as Tassa, Erez and Todorov have it (IROS 2012); without any, the step is shortened."""
TRIES = 2
"""Populations about one sequence."""


class Search(Protocol):
    """About one sequence: what the derivatives say there is computed once."""

    def candidates(self, count: int, again: bool) -> Array:
        """[count, H, J] knots, not yet within their limits; ``again``: none of the first was better."""
        ...


class Refiner(Protocol):
    """Proposes what to score next."""

    def about(self, problem: Problem, best: Best) -> Search | None:
        """The search for something better than ``best``; None where a derivative is not finite."""
        ...


class Refinement:
    """A refiner's searches within one cycle."""

    def __init__(self, refiner: Refiner) -> None:
        self._refiner = refiner
        self._search: Search | None = None
        self._best: Best | None = None
        self._tried = 0

    def candidates(self, problem: Problem, best: Best, count: int) -> Array | None:
        """[count, H, J] about ``best``, others than before where it is still the same; None without derivatives there:
        nothing has converged then, and samples are what is left."""
        if best is not self._best:
            self._search, self._best, self._tried = self._refiner.about(problem, best), best, 0
        if self._search is None:
            return None
        self._tried += 1
        return self._search.candidates(count, self._tried > 1)

    def converged(self, best: Best | None) -> bool:
        """All was tried about ``best``, and it is still the best."""
        return self._tried == TRIES and best is self._best


@dataclass(frozen=True, slots=True)
class Descent:
    """Along the gradient, in the metric of smooth changes, with lengths from the largest command down to a 65536th."""

    smoothing: float = 2.0
    """Steps over which a change spreads (Sobolev gradient: Neuberger, 1997)."""

    def about(self, problem: Problem, best: Best) -> Search | None:
        """See Refiner; nowhere where the gradient is zero."""
        actions = mean_actions(best.knots[None], problem.first_knot)[0]
        slope = knot_gradient(_derivatives(problem).gradient(problem.state, actions, problem.objective))
        horizon = len(slope)
        difference = np.eye(horizon) - np.eye(horizon, k=-1)
        scaled = problem.limits.bound**2 * slope
        change = -np.linalg.solve(np.eye(horizon) + self.smoothing**2 * difference.T @ difference, scaled)
        largest = float(np.max(np.abs(change) / problem.limits.bound))
        if not np.isfinite(largest):
            return None
        if largest == 0.0:
            return _Nowhere(best.knots)
        return _Line(best.knots, np.asarray(change / largest, dtype=np.float64))


@dataclass(frozen=True, slots=True)
class LinearQuadratic:
    """The step of iLQR (Li and Todorov, ICINCO 2004) within the limits of the commands and of their change, at several
    lengths and dampings.

    The linear-quadratic problem about the best sequence is solved for all its commands at once (condensed: Bock and
    Plitt, 1984) and not step by step: no feedback gains are needed where the next cycle plans anew.
    """

    def about(self, problem: Problem, best: Best) -> Search | None:
        """See Refiner."""
        quadratic = condensed(problem, best)
        return None if quadratic is None else _Damped(best.knots, quadratic)


@dataclass(frozen=True, slots=True)
class _Nowhere:
    """Without a direction: what is there already, once more."""

    knots: Array

    def candidates(self, count: int, again: bool) -> Array:
        """See Search."""
        return np.repeat(self.knots[None], count, axis=0)


@dataclass(frozen=True, slots=True)
class _Line:
    """Along one direction, which at length 1 changes a knot by its bound."""

    knots: Array
    direction: Array

    def candidates(self, count: int, again: bool) -> Array:
        """See Search: once more half a spacing shorter, between those that failed and below."""
        lengths = np.geomspace(1.0, _SHORTEST, count)
        if again:
            lengths *= _SHORTEST ** (0.5 / (count - 1))
        return np.asarray(self.knots + lengths[:, None, None] * self.direction)


@dataclass(frozen=True, slots=True)
class _Damped:
    """The minima of one quadratic under several dampings, and shorter steps towards them."""

    knots: Array
    quadratic: Quadratic
    steps: dict[float, Array] = field(default_factory=dict)
    """[H, J] found so far, by damping."""

    def candidates(self, count: int, again: bool) -> Array:
        """See Search: every third candidate has the same damping, and all have different lengths."""
        kinds = _AGAIN if again else _FIRST
        for damping, _ in kinds:
            if damping not in self.steps:
                self.steps[damping] = self.quadratic.step(damping)
        lengths = np.geomspace(1.0, _SHORTEST_STEP, count)
        tried = [
            length * longest * self.steps[damping]
            for length, (damping, longest) in zip(lengths, cycle(kinds), strict=False)
        ]
        return np.asarray(self.knots + np.stack(tried))


def knot_gradient(by_action: Array) -> Array:
    """Derivative by the mean commands [H, J] -> by the knots [H, J]: each knot is half of two of those."""
    slope = 0.5 * by_action
    slope[:-1] += 0.5 * by_action[1:]
    return slope


def _derivatives(problem: Problem) -> Derivatives:
    if problem.derivatives is None:
        raise ValueError("no derivatives: open the model with them")
    return problem.derivatives
