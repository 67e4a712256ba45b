"""What every dynamics model answers: carried state in, carried state out, mean and variance per member.

Shapes: ``E`` members, ``B`` rows, ``J`` joints, ``K`` past commands, ``S = 2J + KJ`` the carried state
(position, velocity, history of mean commands, oldest first).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class Prediction:
    """One step of every member."""

    state: Array
    """[E, B, S] carried state one dt later; its history ends with the action."""
    mean: Array
    """[E, B, 3J] position rad, velocity rad/s, effort N m."""
    variance: Array
    """[E, B, 3J] predicted (aleatoric) variance of the same."""


class DynamicsModel(Protocol):
    """Torch, ONNX and analytic models are interchangeable behind this."""

    @property
    def members(self) -> int:
        """E."""
        ...

    def predict(self, state: Array, action: Array) -> Prediction:
        """State [E, B, S] and mean applied command [B, J] rad/s over the step -> prediction one dt later."""
        ...
