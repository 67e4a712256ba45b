"""What a model knows before it has learned: one protocol, a prior per command interface."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior
from mbrl_control.rigid_load import MOMENTS
from mbrl_control.robot import Arm
from mbrl_control.signals import CommandInterface


class Prior(Protocol):
    """Nominal response of an arm over one step, and where the learned residual enters it."""

    @property
    def dt_s(self) -> float: ...

    @property
    def interface(self) -> CommandInterface: ...

    def targets(
        self, position: torch.Tensor, velocity: torch.Tensor, action: torch.Tensor, outputs: torch.Tensor
    ) -> torch.Tensor:
        """State and action [N, J], outputs (q', dq', effort) [N, 3J] -> the residual [N, 3J] that explains them."""
        ...

    def compose(
        self,
        position: torch.Tensor,
        velocity: torch.Tensor,
        action: torch.Tensor,
        residual: torch.Tensor,
        variance: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """State [E, N, J], action [N, J], residual and its variance [E, N, 3J] -> outputs and theirs [E, N, 3J].

        Undoes `targets`, exactly where the members agree on the state: what is nonlinear is taken at their mean.
        """
        ...

    def noise_propagation(self, horizon: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """How independent one-step noise of step i adds up by step k: [J, H, H], [J, H, H], [H, H], float64.

        Returns the variance gains velocity -> velocity, velocity -> position and position -> position.
        """
        ...


def as_described(prior: Prior) -> Prior:
    """What the arm description alone says: nothing that was found in data."""
    if isinstance(prior, RigidBodyPrior):
        return prior.with_found(np.zeros((2, prior.joints)), np.zeros(MOMENTS))
    return prior


def prior_step(
    prior: Prior, position: torch.Tensor, velocity: torch.Tensor, action: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Position, velocity and action [N, J] -> position and velocity one dt later, by the prior alone."""
    nothing = torch.zeros(1, *position.shape[:-1], 3 * position.shape[-1], dtype=position.dtype)
    mean, _ = prior.compose(position[None], velocity[None], action, nothing, nothing)
    joints = position.shape[-1]
    return mean[0, :, :joints], mean[0, :, joints : 2 * joints]


def prior_of(arm: Arm, dt_s: float) -> Prior:
    """The prior of an arm description, for the interface by which the arm is commanded."""
    if arm.interface is CommandInterface.EFFORT:
        return RigidBodyPrior.of(arm, dt_s)
    return NominalPrior.of(arm, dt_s)
