"""The prior of torque commands: rigid-body forward dynamics of the arm description, friction and load once identified.

The residual is learned as a torque, so that it passes the mass matrix as the commands do. Over one step the
acceleration of its beginning is held: ``a = (M + armature)^-1 (effort + friction + residual - b)``,
``dq' = dq + dt a``, ``q' = q + dt dq + dt^2 / 2 a`` (+ a residual). Predicted effort is what is commanded, plus a
residual: gravity that the drives add themselves does not count.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from mbrl_control.dynamics.friction import friction_torque
from mbrl_control.rigid_body import Constants, RigidBody, energy, fields_of, inverse, inverse_dynamics, mass_and_bias
from mbrl_control.rigid_load import MOMENTS, carrying
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, CommandInterface


@dataclass(frozen=True, slots=True)
class RigidTerms:
    """What turns torques into accelerations at given states."""

    mobility: torch.Tensor
    """[J, J, N] inverse of mass matrix with armature."""
    bias: torch.Tensor
    """[J, N] N m."""
    stop: torch.Tensor
    """[J, N] N m s/rad: torque that takes a joint's speed away within a step, the others left alone."""


@dataclass(frozen=True, slots=True)
class RigidBodyPrior:
    """Response of one arm to joint torques."""

    dt_s: float
    joints: int
    tool: Array = field(repr=False, compare=False)
    """[3] m in the last link's frame."""
    described: Constants = field(repr=False, compare=False)
    """NumPy, without a load."""
    constants: Constants = field(repr=False, compare=False)
    """float64 tensors, with the load."""
    friction: torch.Tensor = field(repr=False, compare=False)
    """[2, J] float64, Coulomb N m and viscous N m s/rad; 0 before any data."""
    load: torch.Tensor = field(repr=False, compare=False)
    """[10] float64, see `rigid_load`; 0 before any data."""

    @property
    def interface(self) -> CommandInterface:
        return CommandInterface.EFFORT

    @staticmethod
    def of(arm: Arm, dt_s: float) -> RigidBodyPrior:
        """The prior of an arm description that has an effort mode."""
        described, friction, load = RigidBody(arm).constants, torch.zeros(2, arm.joints), torch.zeros(MOMENTS)
        constants = _tensors(described)
        return RigidBodyPrior(
            dt_s, arm.joints, arm.tool_translation, described, constants, friction.double(), load.double()
        )

    def with_found(self, friction: Array, load: Array) -> RigidBodyPrior:
        """The same arm with friction [2, J] and a load [10] that were found in data."""
        constants = _tensors(carrying(self.described, load))
        return replace(self, constants=constants, friction=torch.from_numpy(friction), load=torch.from_numpy(load))

    def required_torque(self, position: Array, velocity: Array, acceleration: Array) -> Array:
        """Motion [N, J] -> the torque [N, J] N m that it takes of the arm as described, without friction."""
        return np.asarray(inverse_dynamics(self.described, position.T, velocity.T, acceleration.T, np).T)

    def targets(
        self, position: torch.Tensor, velocity: torch.Tensor, action: torch.Tensor, outputs: torch.Tensor
    ) -> torch.Tensor:
        """See `Prior`: residual position rad, torque N m and effort N m."""
        after, speed, effort = outputs.chunk(3, dim=-1)
        acceleration = (speed - velocity) / self.dt_s
        constants = self._constants(position.dtype)
        mass, bias = mass_and_bias(constants, position.T, velocity.T, torch)
        terms = self._terms(inverse(constants, mass, torch), bias)
        needed = (mass * acceleration.T[None]).sum(1) + bias - self._friction(terms, action.T, velocity.T)
        moved = position + self.dt_s * velocity + 0.5 * self.dt_s**2 * acceleration
        return torch.cat([after - moved, needed.T - action, effort - action], dim=-1)

    def compose(
        self,
        position: torch.Tensor,
        velocity: torch.Tensor,
        action: torch.Tensor,
        residual: torch.Tensor,
        variance: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Prior`."""
        moved, torque, effort = residual.chunk(3, dim=-1)
        terms = self.terms(position.mean(0).T, velocity.mean(0).T)
        speed_rows, torque_rows = velocity.transpose(-1, -2), torque.transpose(-1, -2)
        acceleration = self.accelerate(terms, action.T, torque_rows, speed_rows).transpose(-1, -2)
        drift = position + self.dt_s * velocity + 0.5 * self.dt_s**2 * acceleration
        mean = torch.cat([drift + moved, velocity + self.dt_s * acceleration, action + effort], dim=-1)
        own, shaken, sensed = variance.chunk(3, dim=-1)
        speed = self.velocity_variance(terms.mobility, shaken.transpose(-1, -2)).transpose(-1, -2)
        return mean, torch.cat([own, speed, sensed], dim=-1)

    def terms(self, position: torch.Tensor, velocity: torch.Tensor) -> RigidTerms:
        """Of states [J, N]."""
        constants = self._constants(position.dtype)
        mass, bias = mass_and_bias(constants, position, velocity, torch)
        return self._terms(inverse(constants, mass, torch), bias)

    def accelerate(
        self, terms: RigidTerms, action: torch.Tensor, residual: torch.Tensor, velocity: torch.Tensor
    ) -> torch.Tensor:
        """Torque [J, N], residual torque and speed [E, J, N] -> acceleration [E, J, N]."""
        torque = residual + (action - terms.bias) + self._friction(terms, action, velocity)
        return (terms.mobility[None] * torque[:, None]).sum(2)

    def _terms(self, mobility: torch.Tensor, bias: torch.Tensor) -> RigidTerms:
        diagonal = (mobility * torch.eye(self.joints, dtype=mobility.dtype)[..., None]).sum(1)
        return RigidTerms(mobility, bias, 1.0 / (self.dt_s * diagonal))

    def _friction(self, terms: RigidTerms, action: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        stopping = velocity * terms.stop + (action - terms.bias)
        return friction_torque(self.friction.to(velocity.dtype), velocity, stopping)

    def energy(self, position: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """State [J, N] -> mechanical energy [N] J."""
        total: torch.Tensor = energy(self._constants(position.dtype), position, velocity, torch)
        return total

    def velocity_variance(self, mobility: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
        """Inverse mass [..., J, J, N] and variance of the torque [..., J, N] -> variance of dq' [..., J, N]."""
        return ((self.dt_s * mobility).square() * variance[..., None, :, :]).sum(-2)

    def noise_propagation(self, horizon: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See `Prior`: a double integrator keeps velocity noise and moves with it."""
        step = torch.arange(horizon, dtype=torch.float64)
        age = step[:, None] - step[None, :]
        past = (age >= 0).double()
        every = past.expand(self.joints, -1, -1)
        return every, (past * age.clamp(min=0) * self.dt_s).expand(self.joints, -1, -1) ** 2, past

    def _constants(self, dtype: torch.dtype) -> Constants:
        return Constants(**{name: value.to(dtype) for name, value in fields_of(self.constants).items()})


def _tensors(constants: Constants) -> Constants:
    return Constants(**{name: torch.from_numpy(value) for name, value in fields_of(constants).items()})
