"""What one cycle optimizes, and the best of what was scored for it."""

from __future__ import annotations

from dataclasses import dataclass

from mbrl_control.planning.limits import KnotLimits
from mbrl_control.planning.protocol import Derivatives, Objective, RolloutEvaluator
from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class Problem:
    """What one cycle optimizes."""

    evaluator: RolloutEvaluator
    derivatives: Derivatives | None
    """For the methods that refine."""
    state: Array
    """[S] at start + delay."""
    first_knot: Array
    """[J] rad/s or N m, knot 0."""
    objective: Objective
    limits: KnotLimits
    smoothness: Array
    """[J] cost of a squared change of the mean command from one step to the next, before its mean is taken."""
    spread: Array
    """[J] rad/s or N m, initial standard deviation."""
    spread_floor: Array
    """[J] least standard deviation."""


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
