"""What a planner needs from a model: batched rollouts with scores, and one mean step.

Shapes: ``E`` ensemble members, ``B`` action sequences, ``H`` steps of dt, ``J`` joints, ``T`` named
cost terms, ``K`` past commands, ``S = 2J + KJ`` model state (position, velocity, history oldest first).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mbrl_control.signals import Array

MOST_OBSTACLES = 8
"""Of an objective: exported derivatives have no open axis."""
UNLIMITED = 1e30
"""rad/s, a trust that no spread exceeds; finite in float32."""


class ModelFailed(RuntimeError):
    """What runs the model could not: no score and no step came of it, and another cycle may go better."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What sequences are scored by."""

    tool: Array
    """[H, 3] m, goal of the tool after each step."""
    joint: Array
    """[H, J] rad, goal of the joints."""
    weights: Array
    """[T] of the cost terms."""
    trust: Array
    """[H] rad/s, largest epistemic spread after each step that is trusted; `UNLIMITED`: the horizon is never cut."""
    obstacles: Array
    """[N, 7] m: the ends of capsules in the base frame, and their radii, margin included."""

    @staticmethod
    def plain(tool: Array, joint: Array, weights: Array) -> Objective:
        """Without obstacles, and every prediction trusted."""
        return Objective(tool, joint, weights, np.full(len(tool), UNLIMITED), np.zeros((0, 7)))


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model says about B action sequences."""

    cost: Array
    """[M, B] weighted cost of each sequence under each member (and particle); non-finite counts as the worst."""
    epistemic: Array
    """[B, H] root mean over joints of the members' velocity variance, rad/s."""
    aleatoric: Array
    """[B, H] root mean over joints of the mean predicted velocity variance, rad/s."""
    term_names: tuple[str, ...]
    """[T] names of the cost terms, in the order of the weights; then `rewards.names.DISTRUST` where a horizon may be
    cut."""
    terms: Array
    """[T or T + 1, B] cost terms, mean over members, already weighted."""
    position: Array
    """[B, H, J] rad, mean over members, after each step."""
    velocity: Array
    """[B, H, J] rad/s."""
    effort: Array
    """[B, H, J] N m."""
    variance: Array
    """[B, H, 3J] total variance of (position, velocity, effort)."""


class RolloutEvaluator(Protocol):
    """Scores a fixed number of action sequences from one state."""

    @property
    def batch_size(self) -> int:
        """B, fixed per evaluator."""
        ...

    @property
    def horizon(self) -> int:
        """H, fixed per model."""
        ...

    @property
    def term_names(self) -> tuple[str, ...]:
        """[T] names of the cost terms, in the order of the weights."""
        ...

    def evaluate(self, state: Array, actions: Array, objective: Objective) -> Scores:
        """Score ``actions`` [B, H, J] rad/s or N m from ``state`` [S]. The next call may overwrite the scores: keep
        copies. Raises ModelFailed, as what follows does."""
        ...


@dataclass(frozen=True, slots=True)
class Expansion:
    """A trajectory's steps to first, and their costs to second order."""

    jacobian: Array
    """[H, 2J, S + J] of the mean motion after each step by state and action before it."""
    gradient: Array
    """[H, 2J] of what the motion after each step costs."""
    hessian: Array
    """[H, 2J, 2J]."""


class Derivatives(Protocol):
    """Derivatives of what a `RolloutEvaluator` scores, of the mean over members."""

    def gradient(self, state: Array, actions: Array, objective: Objective) -> Array:
        """State [S], actions [H, J] -> derivative of the cost by each action [H, J]."""
        ...

    def expand(self, states: Array, actions: Array, objective: Objective) -> Expansion:
        """About states [H, S] and actions [H, J]; without the costs of the commands alone."""
        ...


class StepModel(Protocol):
    """One step of the mean dynamics."""

    def step(self, state: Array, action: Array) -> Array:
        """State [S] and mean command [J] over the step -> mean state [S] one dt later."""
        ...
