"""iCEM: the cross-entropy method for few samples, anytime under a budget.

Source: Pinneri et al., "Sample-efficient cross-entropy method for real-time planning", CoRL 2020: coloured
noise, elites kept between iterations and shifted between cycles, best sample executed. Deviations, for
three or four evaluator calls per cycle: scores are deterministic, so kept elites keep their score instead
of being scored again; informed proposals (see proposals.py) join the random samples; the initial spread
follows the rest of the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mbrl_control.cadence import Clock
from mbrl_control.planning.colored_noise import colored_noise
from mbrl_control.planning.limits import KnotLimits, mean_actions, project
from mbrl_control.planning.protocol import RolloutEvaluator, Scores
from mbrl_control.planning.risk import Risk, aggregate
from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class Problem:
    """What one cycle optimizes."""

    evaluator: RolloutEvaluator
    state: Array
    """[S] at start + delay."""
    first_knot: Array
    """[J] rad/s or N m, knot 0."""
    goal_position: Array
    """[H, 3] m"""
    goal_joint: Array
    """[H, J] rad"""
    weights: Array
    """[T] of the cost terms."""
    limits: KnotLimits
    spread: Array
    """[J] rad/s or N m, initial standard deviation."""
    spread_floor: Array
    """[J] least standard deviation."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Of the optimizer."""

    iterations: int
    elites: int
    momentum: float
    noise_beta: float
    risk: Risk
    reserve_ns: int
    """Kept free at the end of the budget for assembling and publishing the plan."""


@dataclass(frozen=True, slots=True)
class Population:
    """Scored samples."""

    knots: Array
    """[N, H, J] rad/s or N m, feasible."""
    cost: Array
    """[N] after risk; infinity is the worst."""
    position: Array
    """[N, H, J] rad, predicted mean."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best sample so far and what the model predicts for it."""

    cost: float
    knots: Array
    """[H, J]."""
    position: Array
    velocity: Array
    effort: Array
    """[H, J]."""
    variance: Array
    """[H, 3J]."""
    epistemic: Array
    """[H]."""
    terms: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Result:
    """Of one cycle with at least one finished iteration and one finite cost."""

    best: Best
    elites: Array
    """[K, H, J] best first, for the next cycle."""
    iterations: int
    finished_ns: int
    """Time at which the last iteration was done."""
    slowest_ns: int
    """Longest iteration."""


class AllScoresInvalid(ValueError):
    """Every sequence has a non-finite cost: a failure of the planner, never a score."""


Proposer = Callable[[Population | None], Array]
"""Informed samples [N, H, J] of an iteration, given the population of the one before (None: the first)."""


def optimize(
    problem: Problem,
    warm: Array,
    propose: Proposer,
    settings: Settings,
    clock: Clock,
    deadline_ns: int,
    generator: np.random.Generator,
    expected_ns: int = 0,
) -> Result | None:
    """Minimize risk-weighted cost over knots until the iterations or the budget end.

    ``warm`` [W, H, J] are the shifted elites of the last cycle, best first (W may be 0). A further iteration
    begins only when one and a half times the longest of this cycle, and of ``expected_ns``, still fits before the
    deadline: a plan that comes late is worth less than one iteration less. Returns None when the budget ended before
    the first iteration. Raises AllScoresInvalid.
    """
    size = problem.evaluator.batch_size
    mean, std = _initial(problem, warm)
    kept: Population | None = None
    population: Population | None = None
    best: Best | None = None
    slowest = done = 0
    finished = clock.now_ns()
    while done < settings.iterations and finished < deadline_ns:
        if done > 0 and finished + 3 * max(slowest, expected_ns) // 2 + settings.reserve_ns > deadline_ns:
            break
        informed = [warm, mean[None], propose(population)] if done == 0 else [mean[None], propose(population)]
        samples = _fill(np.concatenate(informed), mean, std, size, settings.noise_beta, generator)
        population, best = _score(project(samples, problem.first_knot, problem.limits), problem, settings.risk, best)
        kept = _keep(kept, population, settings.elites)
        mean, std = _update(mean, std, kept.knots, settings.momentum, problem.spread_floor)
        began, finished = finished, clock.now_ns()
        done, slowest = done + 1, max(slowest, finished - began)
    if kept is None:
        return None
    if best is None:
        raise AllScoresInvalid(f"all {size * done} sequences have a non-finite cost")
    return Result(best, kept.knots, done, finished, slowest)


def _initial(problem: Problem, warm: Array) -> tuple[Array, Array]:
    horizon, joints = problem.evaluator.horizon, len(problem.first_knot)
    mean = warm.mean(axis=0) if len(warm) else np.zeros((horizon, joints))
    return mean, np.broadcast_to(problem.spread, (horizon, joints))


def _fill(informed: Array, mean: Array, std: Array, size: int, beta: float, generator: np.random.Generator) -> Array:
    """Informed samples first, coloured noise around the mean for the rest, [size, H, J]."""
    missing = size - len(informed)
    if missing <= 0:
        return informed[:size]
    noise = colored_noise(beta, missing, mean.shape[0], mean.shape[1], generator)
    return np.concatenate([informed, mean + std * noise])


def _score(knots: Array, problem: Problem, risk: Risk, best: Best | None) -> tuple[Population, Best | None]:
    """Score a population; also the best of these and the best before."""
    actions = mean_actions(knots, problem.first_knot)
    scores = problem.evaluator.evaluate(
        problem.state, actions, problem.goal_position, problem.goal_joint, problem.weights
    )
    cost = np.where(np.isfinite(scores.position).all(axis=(1, 2)), aggregate(scores.cost, risk), np.inf)
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


def _keep(kept: Population | None, new: Population, count: int) -> Population:
    """The ``count`` best finite samples of all iterations, best first."""
    merged = new
    if kept is not None:
        merged = Population(
            *(
                np.concatenate(pair)
                for pair in ((kept.knots, new.knots), (kept.cost, new.cost), (kept.position, new.position))
            )
        )
    order = np.argsort(merged.cost, kind="stable")[:count]
    order = order[np.isfinite(merged.cost[order])]
    return replace(merged, knots=merged.knots[order], cost=merged.cost[order], position=merged.position[order])


def _update(mean: Array, std: Array, elites: Array, keep: float, floor: Array) -> tuple[Array, Array]:
    """Move mean and spread [H, J] to those of the elites (unchanged while there are none)."""
    if not len(elites):
        return mean, std
    moved = keep * mean + (1.0 - keep) * elites.mean(axis=0)
    spread = keep * std + (1.0 - keep) * elites.std(axis=0)
    return moved, np.maximum(spread, floor)
