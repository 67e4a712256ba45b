"""The loop of every sampling planner: sample -> score -> update, anytime under a budget; the best sample is executed.

Informed proposals (see proposals.py) and the last cycle's elites join the random samples and are scored like those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mbrl_control.cadence import Clock
from mbrl_control.planning.limits import mean_actions, project
from mbrl_control.planning.methods.protocol import Distribution, Method, Population
from mbrl_control.planning.methods.refine import Refinement, Refiner
from mbrl_control.planning.problem import Best, Problem
from mbrl_control.planning.protocol import Scores
from mbrl_control.planning.risk import Risk, aggregate
from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class Settings:
    """Of the optimizer."""

    iterations: int
    elites: int
    """Kept of all populations, for the methods that use them and for the next cycle."""
    risk: Risk
    reserve_ns: int
    """Kept free at the end of the budget for assembling and publishing the plan."""
    refiner: Refiner | None = None
    """Proposes all of a population once something finite was scored."""
    sampled: int = 1
    """Iterations before it does: sampling first, refinement in the time that is left."""


@dataclass(frozen=True, slots=True)
class Longest:
    """Longest iteration of each kind, ns; 0: none was measured."""

    sampling: int = 0
    refining: int = 0
    quickest: int = 0
    """Least of the cycles' longest refinements."""

    def of(self, refines: bool) -> int:
        """A refinement nobody has measured counts as several iterations of samples: derivatives cost more."""
        return (self.refining or _UNMEASURED * self.sampling) if refines else self.sampling

    def raised(self, refines: bool, took_ns: int) -> Longest:
        """With one more iteration of a kind."""
        if refines:
            return replace(self, refining=max(self.refining, took_ns))
        return replace(self, sampling=max(self.sampling, took_ns))

    def after(self, cycle: Longest) -> Longest:
        """A maximum that forgets within a second, since preemption comes in bursts; of a kind that did not run, within
        a quarter of a minute: it is tried again, but not so often that its plans come late one after the other. What
        never took less than there is time for is not: the quickest refinement is never forgotten."""
        sampling, refining = (
            max(now, round((_FADE if now else _FADE_UNSEEN) * before))
            for now, before in ((cycle.sampling, self.sampling), (cycle.refining, self.refining))
        )
        quickest = min(cycle.refining or self.quickest, self.quickest or cycle.refining)
        return Longest(sampling, max(refining, quickest), quickest)


_RANDOM_SHARE = 8
"""One of so many samples is random, and one at least; the elites, the mean and the moves leave room for those."""
_MOST_ELITES = 3 / 8
"""Of a population, whatever the settings hand on from the last cycle: all elites would go on for ever, whatever the
goal is by now."""
_MOVES = 2
"""The brake and one towards the goal: the first of the proposals, which have a place in every population."""
_UNMEASURED = 5
_FADE, _FADE_UNSEEN = 0.97, 0.999
"""Per cycle."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Where the samples of a cycle begin."""

    mean: Array
    """[H, J] of the first population."""
    elites: Array
    """[W, H, J] of the last cycle at this one's times, best first; W may be 0."""


@dataclass(frozen=True, slots=True)
class Result:
    """Of one cycle with at least one finished iteration and one finite cost."""

    best: Best
    mean: Array
    """[H, J] that the next population would have been drawn about."""
    elites: Array
    """[K, H, J] best first, for the next cycle."""
    iterations: int
    finished_ns: int
    """Time at which the last iteration was done."""
    longest: Longest
    """Of this cycle."""
    refined: int = 0
    """Iterations that a refiner proposed."""
    converged: bool = False
    """Its search found nothing better any more, before the iterations or the budget ended."""


class AllScoresInvalid(ValueError):
    """Every sequence has a non-finite cost: a failure of the planner, never a score."""


Proposer = Callable[[Population | None], Array]
"""Informed samples [N, H, J] of an iteration, given the population of the one before (None: the first)."""
Optimizer = Callable[
    [Problem, Method, Begin, Proposer, Settings, Clock, int, np.random.Generator, Longest], Result | None
]
"""What `optimize` is."""


def optimize(
    problem: Problem,
    method: Method,
    begin: Begin,
    propose: Proposer,
    settings: Settings,
    clock: Clock,
    deadline_ns: int,
    generator: np.random.Generator,
    expected: Longest = Longest(),
) -> Result | None:
    """Minimize risk-weighted cost over knots until the iterations or the budget end, or a refinement has converged.

    A further iteration begins only when one and a half times the longest of its kind, of this cycle and of
    ``expected``, still fits before the deadline: a plan that comes late is worth less than one iteration less. Returns
    None when the budget ended before the first iteration. Raises AllScoresInvalid.
    """
    size = problem.evaluator.batch_size
    distribution = Distribution(begin.mean, np.broadcast_to(problem.spread, begin.mean.shape))
    kept: Population | None = None
    population: Population | None = None
    best: Best | None = None
    done, refined, longest = 0, 0, Longest()
    refinement = None if settings.refiner is None else Refinement(settings.refiner)
    converged, finished = False, clock.now_ns()
    while done < settings.iterations and finished < deadline_ns and not converged:
        refines = refinement if best is not None and done >= settings.sampled else None
        longer = Longest(max(longest.sampling, expected.sampling), max(longest.refining, expected.refining))
        if done > 0 and finished + 3 * longer.of(refines is not None) // 2 + settings.reserve_ns > deadline_ns:
            break
        about_best = None if refines is None or best is None else refines.candidates(problem, best, size)
        samples = about_best
        began = finished
        if samples is None:
            if refines is not None:
                # Derivatives that gave nothing took their time, which is none of sampling.
                began = clock.now_ns()
                longest = longest.raised(True, began - finished)
            elites = begin.elites if done == 0 else begin.elites[:0]
            given = _given(elites, distribution.mean[None], propose(population), size)
            samples = np.concatenate([given, method.sample(distribution, size - len(given), generator)])
        population, best = score(project(samples, problem.first_knot, problem.limits), problem, settings.risk, best)
        kept = (population if kept is None else kept.joined(population)).best(settings.elites)
        distribution = method.update(distribution, population, kept, problem.spread_floor)
        finished = clock.now_ns()
        done, refined = done + 1, refined + (about_best is not None)
        longest = longest.raised(about_best is not None, finished - began)
        converged = refinement is not None and refinement.converged(best)
    if kept is None:
        return None
    if best is None:
        raise AllScoresInvalid(f"all {size * done} sequences have a non-finite cost")
    return Result(best, distribution.mean, kept.knots, done, finished, longest, refined, converged)


def _given(elites: Array, mean: Array, proposals: Array, size: int) -> Array:
    """[N, H, J] what is scored besides random samples, in this order, as much as leaves room for those. In a population
    of four the mean yields: the random one lies about it."""
    room = size - max(1, size // _RANDOM_SHARE)
    elites = elites[: max(1, int(_MOST_ELITES * size))]
    if len(elites) + len(mean) + min(_MOVES, len(proposals)) > room:
        mean = mean[:0]
    return np.concatenate([elites, mean, proposals])[:room]


def score(knots: Array, problem: Problem, risk: Risk, best: Best | None) -> tuple[Population, Best | None]:
    """Score a population; also the best of these and the best before. What a plan would take over has to be finite."""
    actions = mean_actions(knots, problem.first_knot)
    scores = problem.evaluator.evaluate(problem.state, actions, problem.objective)
    predicted = (scores.position, scores.velocity, scores.effort, scores.variance, scores.epistemic)
    finite = np.all([np.isfinite(values.reshape(len(values), -1)).all(axis=1) for values in predicted], axis=0)
    cost = np.where(finite, aggregate(scores.cost, risk), np.inf)
    i = int(np.argmin(cost))
    if np.isfinite(cost[i]) and (best is None or cost[i] < best.cost):
        best = _row(scores, knots, float(cost[i]), i)
    return Population(knots, cost, scores.position.copy()), best


def _row(scores: Scores, knots: Array, cost: float, i: int) -> Best:
    return Best(
        cost=cost,
        knots=knots[i].copy(),
        position=scores.position[i].copy(),
        velocity=scores.velocity[i].copy(),
        effort=scores.effort[i].copy(),
        variance=scores.variance[i].copy(),
        epistemic=scores.epistemic[i].copy(),
        terms=tuple(zip(scores.term_names, scores.terms[:, i].tolist(), strict=True)),
    )
