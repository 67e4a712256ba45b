"""One step of every member, as both deployed graphs take it, and the graph of one step alone. No randomness inside."""

from __future__ import annotations

import torch
from torch import nn

from mbrl_control.deployment.folding import fold, motion_scale
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.normalizer import FEATURE_LIMIT, FRICTION_SPEED
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior, RigidTerms


class FoldedStep(nn.Module):
    """Folded weights as buffers, and the step; activations are columns [E, rows, B]."""

    motion: torch.Tensor
    command: torch.Tensor
    offset: torch.Tensor
    variance_scale: torch.Tensor
    variance_floor: torch.Tensor
    unit: torch.Tensor
    per_unit: torch.Tensor
    members: torch.Tensor
    """[E, 1, 1] zeros: adding them gives each member its copy, without a shape that the exporter would fix."""
    compose: torch.Tensor

    def __init__(self, ensemble: ProbabilisticEnsemble) -> None:
        super().__init__()
        self.shape, self.prior = ensemble.shape, ensemble.prior
        folded = fold(ensemble)
        for name in ("motion", "command", "offset", "variance_scale", "variance_floor"):
            self.register_buffer(name, getattr(folded, name))
        self.networks = folded.networks
        joints = self.shape.joints
        unit = torch.cat([motion_scale(joints), torch.ones(joints).double()])
        self.register_buffer("unit", unit.float()[:, None])
        self.register_buffer("per_unit", (1.0 / unit[: 2 * joints]).float()[:, None])
        self.register_buffer("members", torch.zeros(self.shape.members, 1, 1))
        if isinstance(self.prior, RigidBodyPrior):
            self.register_buffer("compose", _composition(self.prior).float())

    def told(self, windows: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Commands [..., (K+1)J, B] of each step -> their share of features and prior, each [..., G + 3J, B or 1]."""
        if isinstance(self.prior, RigidBodyPrior):
            return (self.offset,) * len(windows)  # what a torque does is the rigid body's to say
        return (torch.matmul(self.command, torch.stack(windows)) + self.offset).unbind(0)

    def advance(
        self, motion: torch.Tensor, action: torch.Tensor, told: torch.Tensor, held: RigidTerms | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, RigidTerms | None]:
        """Carried motion [E, 2J, B], newest command [J, B] and `told` -> next motion and effort [E, 3J, B], raw
        variance [E, 3J, B], and of torques the rigid body's terms, fresh unless ``held``."""
        known = torch.matmul(self.motion, torch.cat([motion, torch.tanh(motion)], dim=1)) + told
        joints = self.shape.joints
        features, linear = torch.split(known, [len(self.motion) - 3 * joints, 3 * joints], dim=1)
        learned, raw = self.networks(features.clamp(-FEATURE_LIMIT, FEATURE_LIMIT)).chunk(2, dim=1)
        if not isinstance(self.prior, RigidBodyPrior):
            return learned + linear, raw, None
        speed = motion[:, joints:] * FRICTION_SPEED
        if held is None:
            held = self.prior.terms(motion[:, :joints].mean(0), speed.mean(0))
        acceleration = self.prior.accelerate(held, action, learned[:, joints : 2 * joints], speed)
        parts = [motion, action + self.members, learned, acceleration]
        return torch.matmul(self.compose, torch.cat(parts, dim=1)), raw, held

    def noise(self, raw: torch.Tensor, mobility: torch.Tensor | None) -> torch.Tensor:
        """Raw outputs [..., 3J, B] (and inverse masses [..., J, J, B] without members) -> variances in SI."""
        # Written out: ONNX Runtime's own sigmoid is off by 3e-5 of a small value, which an elite's variances are.
        variance = self.variance_scale / (1.0 + torch.exp(-raw)) + self.variance_floor
        if mobility is None or not isinstance(self.prior, RigidBodyPrior):
            return variance
        moved, torque, effort = variance.chunk(3, dim=-2)
        return torch.cat([moved, self.prior.velocity_variance(mobility, torque), effort], dim=-2)


def _composition(prior: RigidBodyPrior) -> torch.Tensor:
    """[3J, 7J]: motion, command, residual (3J) and acceleration -> next motion and effort, as `RigidBodyPrior.compose`.

    One product for the ten operations it stands for, because each is paid for in every step.
    """
    j, dt = prior.joints, prior.dt_s
    eye = torch.eye(j, dtype=torch.float64)
    blocks = [
        [eye, 0 * eye, 0 * eye],
        [dt * FRICTION_SPEED * eye, eye, 0 * eye],
        [0 * eye, 0 * eye, eye],
        [eye, 0 * eye, 0 * eye],
        [0 * eye, 0 * eye, 0 * eye],  # the residual torque is in the acceleration
        [0 * eye, 0 * eye, eye],
        [0.5 * dt**2 * eye, dt / FRICTION_SPEED * eye, 0 * eye],
    ]
    return torch.cat([torch.cat(row, dim=1) for row in blocks]).mT


class StepGraph(FoldedStep):
    """state [E, 1, S], action [1, J] -> next_state [E, 1, S], mean and variance [E, 1, 3J]."""

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, ...]:
        joints = self.shape.joints
        column, newest = state.transpose(-1, -2), action.transpose(-1, -2)
        motion, history = column[:, : 2 * joints] * self.per_unit, column[:, 2 * joints :]
        commands = torch.cat([history, newest + self.members], dim=1)
        after, raw, terms = self.advance(motion, newest, self.told([commands])[0])
        mean = after * self.unit
        carried = torch.cat([mean[:, : 2 * joints], commands[:, joints:]], dim=1)
        variance = self.noise(raw, None if terms is None else terms.mobility)
        return tuple(value.transpose(-1, -2) for value in (carried, mean, variance))
