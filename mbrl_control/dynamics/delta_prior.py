"""The prior that knows nothing: the state stays as it is, all motion is the network's to learn (a pure network)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mbrl_control.signals import CommandInterface


@dataclass(frozen=True, slots=True)
class DeltaPrior:
    """See `Prior`; what is learned is the change of the state, as in PETS."""

    dt_s: float

    @property
    def interface(self) -> CommandInterface:
        """Velocity's features whatever the arm takes: the network has to see the command."""
        return CommandInterface.VELOCITY

    def targets(
        self, position: torch.Tensor, velocity: torch.Tensor, action: torch.Tensor, outputs: torch.Tensor
    ) -> torch.Tensor:
        """See `Prior`."""
        return outputs - torch.cat([position, velocity, torch.zeros_like(position)], dim=-1)

    def compose(
        self,
        position: torch.Tensor,
        velocity: torch.Tensor,
        action: torch.Tensor,
        residual: torch.Tensor,
        variance: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Prior`."""
        return torch.cat([position, velocity, torch.zeros_like(position)], dim=-1) + residual, variance

    def noise_propagation(self, horizon: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See `Prior`: noise of velocity stays, none of it reaches the position."""
        past = torch.ones(horizon, horizon, dtype=torch.float64).tril()
        return past[None], torch.zeros_like(past)[None], past
