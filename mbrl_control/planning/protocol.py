"""What a planner needs from a model: batched rollouts with scores, and one mean step.

Shapes: ``E`` ensemble members, ``B`` action sequences, ``H`` steps of dt, ``J`` joints, ``T`` named
cost terms, ``K`` past commands, ``S = 2J + KJ`` model state (position, velocity, history oldest first).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model says about B action sequences."""

    cost: Array
    """[E, B] weighted cost of each sequence under each member; non-finite counts as the worst."""
    epistemic: Array
    """[B, H] root mean over joints of the members' velocity variance, rad/s."""
    aleatoric: Array
    """[B, H] root mean over joints of the mean predicted velocity variance, rad/s."""
    term_names: tuple[str, ...]
    """[T] names of the cost terms, in the order of the weights."""
    terms: Array
    """[T, B] cost terms, mean over members, already weighted."""
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

    def evaluate(self, state: Array, actions: Array, goal_position: Array, goal_joint: Array, weights: Array) -> Scores:
        """Score ``actions`` [B, H, J] rad/s or N m from ``state`` [S] towards the goals of every step, [H, 3] m for the
        tool and [H, J] rad for the joints; weights [T]. The next call may overwrite the scores: keep copies."""
        ...


class StepModel(Protocol):
    """One step of the mean dynamics."""

    def step(self, state: Array, action: Array) -> Array:
        """State [S] and mean command [J] over the step -> mean state [S] one dt later."""
        ...
