"""The prior of velocity commands: a first-order servo, integrated exactly over one step.

With ``dq_dot = (a - dq) / lag`` and a constant command ``a`` over dt:
``dq' = dq + alpha (a - dq)``, ``q' = q + dt a + gain (dq - a)``, ``alpha = 1 - exp(-dt / lag)``, ``gain = lag alpha``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from mbrl_control.robot import Arm
from mbrl_control.signals import CommandInterface


@dataclass(frozen=True, slots=True)
class NominalPrior:
    """Velocity-lag response of one arm; a lag of 0 is an ideal velocity servo."""

    dt_s: float
    lag_s: tuple[float, ...]
    """[J] s, time constant of each joint."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.dt_s) and self.dt_s > 0.0):
            raise ValueError(f"dt_s: {self.dt_s} is not a positive time step; use 0.02")
        for joint, lag in enumerate(self.lag_s):
            if not (math.isfinite(lag) and lag >= 0.0):
                raise ValueError(f"lag_s[{joint}]: {lag} is not a servo lag; give 0 or more seconds")

    @property
    def interface(self) -> CommandInterface:
        return CommandInterface.VELOCITY

    @staticmethod
    def of(arm: Arm, dt_s: float) -> NominalPrior:
        """The prior of an arm description."""
        return NominalPrior(dt_s, tuple(float(lag) for lag in arm.servo_lag_s))

    @property
    def alpha(self) -> torch.Tensor:
        """[J] share of the velocity error that one step removes, float64."""
        shares = [1.0 if lag == 0.0 else -math.expm1(-self.dt_s / lag) for lag in self.lag_s]
        return torch.tensor(shares, dtype=torch.float64)

    @property
    def gain(self) -> torch.Tensor:
        """[J] seconds of the velocity error that one step adds to the position, float64."""
        return torch.tensor(self.lag_s, dtype=torch.float64) * self.alpha

    def targets(
        self, position: torch.Tensor, velocity: torch.Tensor, action: torch.Tensor, outputs: torch.Tensor
    ) -> torch.Tensor:
        """See `Prior`: outputs less the response; of effort nothing is known before."""
        return outputs - torch.cat([*self.step(position, velocity, action), torch.zeros_like(position)], dim=-1)

    def compose(
        self,
        position: torch.Tensor,
        velocity: torch.Tensor,
        action: torch.Tensor,
        residual: torch.Tensor,
        variance: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Prior`."""
        known = torch.cat([*self.step(position, velocity, action), torch.zeros_like(position)], dim=-1)
        return known + residual, variance

    def step(
        self, position: torch.Tensor, velocity: torch.Tensor, action: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Position [..., J] rad, velocity and action [..., J] rad/s -> both one dt later."""
        error = velocity - action
        moved = position + self.dt_s * action + self.gain.to(error.dtype) * error
        return moved, velocity - self.alpha.to(error.dtype) * error

    def state_matrix(self) -> torch.Tensor:
        """[2J, 2J] A with ``[q', dq'] = [q, dq] A + a B``, float64."""
        eye = torch.eye(len(self.lag_s), dtype=torch.float64)
        top = torch.cat([eye, torch.zeros_like(eye)], dim=1)
        return torch.cat([top, torch.cat([self.gain.diag(), (1.0 - self.alpha).diag()], dim=1)])

    def action_matrix(self) -> torch.Tensor:
        """[J, 2J] B with ``[q', dq'] = [q, dq] A + a B``, float64."""
        return torch.cat([(self.dt_s - self.gain).diag(), self.alpha.diag()], dim=1)

    def noise_propagation(self, horizon: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """How independent one-step noise of step i adds up by step k: [J, H, H], [J, H, H], [H, H], float64.

        Returns the variance gains velocity -> velocity, velocity -> position and position -> position of the
        nominal response ``dq(t) = exp(-t / lag) n``, ``q(t) = lag (1 - exp(-t / lag)) n``.
        """
        step = torch.arange(horizon, dtype=torch.float64)
        age = step[:, None] - step[None, :]
        past = (age >= 0).double()
        decay = past * (1.0 - self.alpha)[:, None, None] ** age.clamp(min=0)
        moved = past * torch.tensor(self.lag_s, dtype=torch.float64)[:, None, None] * (1.0 - decay)
        return decay**2, moved**2, past
