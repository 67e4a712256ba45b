"""The two deployed graphs: one step of every member, and the planner's scored rollout. No randomness inside.

The rollout propagates each member's own mean (trajectory sampling TS-infinity of PETS, Chua et al. 2018, without
the sampling): disagreement of the members is the epistemic spread. The loop over the horizon holds fourteen operations
a step for velocities, more than twice as many for torques; kinematics, spread and costs follow once, over all poses.
Layout inside: [H, E, rows, B].
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import nn

from mbrl_control.deployment.folding import FoldedWeights, fold, motion_scale
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.kinematics import ToolChain, tool_position
from mbrl_control.dynamics.normalizer import FEATURE_LIMIT, FRICTION_SPEED
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior, RigidTerms
from mbrl_control.rewards.names import ENERGY, term_names
from mbrl_control.rewards.terms import TERMS, Rollout, energy
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm
from mbrl_control.signals import CommandInterface

_TINY = 1e-12
"""Added under square roots of variances (rad^2/s^2): six orders below any sensor's noise."""


@dataclass(frozen=True, slots=True)
class GraphShape:
    """Fixed sizes of one exported rollout."""

    batch: int = 16
    horizon: int = 15
    refresh: int = 12
    """Steps for which a rollout of torques holds mass matrix and bias of a state: each evaluation costs as much as five
    steps of the network. Tracking at 0.3 of rated speed is the same with 3, 6 and 12 (docs/architecture.md); a swing-up
    turns an elbow by a radian in three steps and wants fewer. The one-step graph, and what a model is fitted to, have
    them fresh."""

    def __post_init__(self) -> None:
        for name in ("batch", "horizon", "refresh"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is too small; give 1 or more")

    @staticmethod
    def deployed(interface: CommandInterface) -> GraphShape:
        """What bundles carry. A rollout of torques is shorter: each step costs twice as much, and a torque acts at
        once where a velocity servo takes several steps."""
        return GraphShape() if interface is CommandInterface.VELOCITY else GraphShape(horizon=12)


class _Folded(nn.Module):
    """Holds folded weights as buffers and the step both graphs share."""

    scaling: torch.Tensor
    first: torch.Tensor
    hidden: torch.Tensor
    hidden_bias: torch.Tensor
    last: torch.Tensor
    direct: torch.Tensor
    variance_scale: torch.Tensor
    variance_floor: torch.Tensor
    unit: torch.Tensor
    per_unit: torch.Tensor
    one: torch.Tensor
    compose: torch.Tensor

    def __init__(self, ensemble: ProbabilisticEnsemble, batch: int) -> None:
        super().__init__()
        self.shape, self.prior = ensemble.shape, ensemble.prior
        folded = fold(ensemble)
        for field in fields(FoldedWeights):
            self.register_buffer(field.name, getattr(folded, field.name))
        joints = self.shape.joints
        unit = torch.cat([motion_scale(joints), torch.ones(joints).double()])
        self.register_buffer("unit", unit.float()[:, None])
        self.register_buffer("per_unit", (1.0 / unit[: 2 * joints]).float())
        self.register_buffer("one", torch.ones(self.shape.members, 1, batch))
        if isinstance(self.prior, RigidBodyPrior):
            self.register_buffer("compose", _composition(self.prior, self.shape.history).float())

    def advance(
        self, motion: torch.Tensor, commands: torch.Tensor, held: RigidTerms | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, RigidTerms | None]:
        """Carried motion [E, 2J, B], commands [E, (K+1)J, B] -> next motion and effort [E, 3J, B], raw variance
        [E, 3J, B], and of torques the rigid body's terms, fresh unless ``held``."""
        rows = torch.cat([motion, torch.tanh(motion), commands, self.one], dim=1)
        features = torch.matmul(self.scaling, rows).clamp(-FEATURE_LIMIT, FEATURE_LIMIT)
        hidden = nn.functional.silu(torch.matmul(self.first, features))
        hidden = nn.functional.silu(torch.matmul(self.hidden, hidden) + self.hidden_bias)
        outputs = torch.matmul(self.last, hidden) + torch.matmul(self.direct, rows)
        joints = self.shape.joints
        if not isinstance(self.prior, RigidBodyPrior):
            learned, raw = outputs.chunk(2, dim=1)
            return learned, raw, None
        if held is None:
            mean = motion.mean(0)
            held = self.prior.terms(mean[:joints], mean[joints:] * FRICTION_SPEED)
        speed = motion[:, joints:] * FRICTION_SPEED
        acceleration = self.prior.accelerate(held, commands[0, -joints:], outputs[:, joints : 2 * joints], speed)
        after = torch.matmul(self.compose, torch.cat([rows, outputs, acceleration], dim=1))
        return after, outputs[:, 3 * joints :], held

    def noise(self, raw: torch.Tensor, mobility: torch.Tensor | None) -> torch.Tensor:
        """Raw outputs [..., 3J, B] (and inverse masses [..., J, J, B] without members) -> variances in SI."""
        # Written out: ONNX Runtime's own sigmoid is off by 3e-5 of a small value, which an elite's variances are.
        variance = self.variance_scale / (1.0 + torch.exp(-raw)) + self.variance_floor
        if mobility is None or not isinstance(self.prior, RigidBodyPrior):
            return variance
        moved, torque, effort = variance.chunk(3, dim=-2)
        return torch.cat([moved, self.prior.velocity_variance(mobility, torque), effort], dim=-2)


def _composition(prior: RigidBodyPrior, history: int) -> torch.Tensor:
    """[3J, (K+12)J + 1]: rows, outputs and acceleration -> next motion and effort, as `RigidBodyPrior.compose` does.

    One product for the ten operations it stands for, because each is paid for in every step.
    """
    j, dt = prior.joints, prior.dt_s
    eye, rows = torch.eye(j, dtype=torch.float64), (history + 5) * j + 1
    matrix = torch.zeros(3 * j, rows + 7 * j, dtype=torch.float64)
    position, speed, effort = (slice(part * j, (part + 1) * j) for part in range(3))

    def column(start: int) -> slice:
        return slice(start, start + j)

    matrix[position, column(0)] = matrix[speed, column(j)] = eye
    matrix[position, column(j)] = dt * FRICTION_SPEED * eye
    matrix[effort, column(rows - 1 - j)] = eye
    matrix[position, column(rows)] = matrix[effort, column(rows + 2 * j)] = eye
    matrix[position, column(rows + 6 * j)] = 0.5 * dt**2 * eye
    matrix[speed, column(rows + 6 * j)] = dt / FRICTION_SPEED * eye
    return matrix


class StepGraph(_Folded):
    """state [E, 1, S], action [1, J] -> next_state [E, 1, S], mean and variance [E, 1, 3J]."""

    def __init__(self, ensemble: ProbabilisticEnsemble) -> None:
        super().__init__(ensemble, batch=1)

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, ...]:
        joints = self.shape.joints
        motion, history = state[..., : 2 * joints] * self.per_unit, state[..., 2 * joints :]
        commands = torch.cat([history, action.expand(self.shape.members, -1, -1)], dim=-1)
        after, raw, terms = self.advance(motion.transpose(-1, -2), commands.transpose(-1, -2))
        mobility = None if terms is None else terms.mobility
        mean = (after * self.unit).transpose(-1, -2)
        carried = torch.cat([mean[..., : 2 * joints], commands[..., joints:]], dim=-1)
        return carried, mean, self.noise(raw, mobility).transpose(-1, -2)


class RolloutGraph(_Folded):
    """state [S], actions [B, H, J], goal_position [H, 3], goal_joint [H, J], weights [T] -> `ROLLOUT_OUTPUTS`."""

    lower: torch.Tensor
    upper: torch.Tensor
    decay: torch.Tensor
    moved: torch.Tensor
    past: torch.Tensor
    per_action: torch.Tensor

    def __init__(self, ensemble: ProbabilisticEnsemble, arm: Arm, graph: GraphShape) -> None:
        super().__init__(ensemble, graph.batch)
        self.graph, self.chain, self.term_names = graph, ToolChain.of(arm), term_names(arm)
        self.per_energy = 1.0 / RigidBody(arm).lifting_energy if ENERGY in self.term_names else 0.0
        self.register_buffer("lower", torch.as_tensor(arm.lower, dtype=torch.float32)[:, None])
        self.register_buffer("upper", torch.as_tensor(arm.upper, dtype=torch.float32)[:, None])
        unit = torch.as_tensor(arm.effort if arm.interface is CommandInterface.EFFORT else np.ones(arm.joints))
        self.register_buffer("per_action", (1.0 / unit).float()[:, None])
        for name, matrix in zip(("decay", "moved", "past"), self.prior.noise_propagation(graph.horizon), strict=True):
            self.register_buffer(name, matrix.float())

    def forward(
        self,
        state: torch.Tensor,
        actions: torch.Tensor,
        goal_position: torch.Tensor,
        goal_joint: torch.Tensor,
        weights: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        joints = self.shape.joints
        commands = actions.permute(1, 2, 0)
        means, raw, mobility = self._simulate(state, commands)
        position, velocity, _ = means.chunk(3, dim=2)
        rollout = Rollout(
            self._distance_squared(position, goal_position),
            position,
            velocity,
            (commands * self.per_action).unsqueeze(1),
            (state[-joints:, None] * self.per_action)[None, None].expand(1, 1, joints, self.graph.batch),
            goal_joint[:, None, :, None],
            self.lower,
            self.upper,
            self._energy_gap(position, velocity, goal_joint),
        )
        terms = self._terms(rollout, weights)
        mean, between = _moments(means)
        noise = self.noise(raw, mobility).mean(1)
        spreads = [_root_mean(value[:, joints : 2 * joints]) for value in (between, noise)]
        parts = mean.permute(2, 0, 1).chunk(3, dim=-1)
        variance = between + self._accumulated(noise)
        return terms.sum(0), *spreads, terms.mean(1), *parts, variance.permute(2, 0, 1)

    def _simulate(
        self, state: torch.Tensor, commands: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Commands [H, J, B] -> (q, dq, effort) [H, E, 3J, B] in SI, raw variances [H, E, 3J, B], and of torques the
        inverse mass matrices [H, 1, J, J, B]."""
        members, joints, batch = self.shape.members, self.shape.joints, self.graph.batch
        past = state[2 * joints :, None].expand(-1, batch)
        line = torch.cat([past, commands.reshape(-1, batch)]).expand(members, -1, -1)
        motion = (state[: 2 * joints] * self.per_unit)[:, None].expand(members, -1, batch)
        window = (self.shape.history + 1) * joints
        outputs, raws, mobilities = [], [], []
        terms: RigidTerms | None = None
        for step in range(self.graph.horizon):
            held = None if step % self.graph.refresh == 0 else terms
            out, raw, terms = self.advance(motion, line[:, step * joints : step * joints + window], held)
            outputs.append(out)
            raws.append(raw)
            if terms is not None:
                mobilities.append(terms.mobility)
            motion = out[:, : 2 * joints]
        shaping = torch.stack(mobilities)[:, None] if mobilities else None
        return torch.stack(outputs) * self.unit, torch.stack(raws), shaping

    def _distance_squared(self, position: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        """[H, E, J, B], goal [H, 3] m -> [H, E, B] m^2."""
        x, y, z = tool_position(self.chain, position, dim=2)
        gx, gy, gz = goal[:, None, None, :, None].unbind(3)
        return ((x - gx).square() + (y - gy).square() + (z - gz).square()).squeeze(2)

    def _energy_gap(
        self, position: torch.Tensor, velocity: torch.Tensor, goal_joint: torch.Tensor
    ) -> torch.Tensor | None:
        """[H, E, J, B] twice and the goal [H, J] -> [H, 1, B] of the members' mean state; see `Rollout`."""
        if ENERGY not in self.term_names or not isinstance(self.prior, RigidBodyPrior):
            return None
        joints, shape = self.shape.joints, (self.graph.horizon, 1, self.graph.batch)
        columns = [value.mean(1).transpose(0, 1).reshape(joints, -1) for value in (position, velocity)]
        goal = goal_joint.transpose(0, 1)
        resting = self.prior.energy(goal, torch.zeros_like(goal)).reshape(-1, 1, 1)
        return (self.prior.energy(columns[0], columns[1]).reshape(shape) - resting) * self.per_energy

    def _terms(self, rollout: Rollout, weights: torch.Tensor) -> torch.Tensor:
        """[T, E, B] weighted."""
        shape = (self.shape.members, self.graph.batch)
        chosen = TERMS if rollout.energy_gap is None else (*TERMS, energy)
        values = torch.stack([term(rollout).expand(shape) for term in chosen])
        return values * weights.reshape(-1, 1, 1)

    def _accumulated(self, noise: torch.Tensor) -> torch.Tensor:
        """One-step variances [H, 3J, B] -> variances after the steps so far, by the nominal response."""
        position, velocity, effort = noise.chunk(3, dim=1)
        shaken = velocity.transpose(0, 1)
        summed = torch.matmul(self.past, position.transpose(0, 1)) + torch.matmul(self.moved, shaken)
        settled = torch.matmul(self.decay, shaken)
        return torch.cat([summed.transpose(0, 1), settled.transpose(0, 1), effort], dim=1)


def _moments(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance over members of [H, E, ...]."""
    mean = values.mean(1, keepdim=True)
    return mean.squeeze(1), (values - mean).square().mean(1)


def _root_mean(variance: torch.Tensor) -> torch.Tensor:
    """[H, J, B] -> [B, H]."""
    return torch.sqrt(variance.mean(1) + _TINY).transpose(-1, -2)
