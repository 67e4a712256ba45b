"""The planner's scored rollout as one graph, without randomness.

It propagates each member's own mean (trajectory sampling TS-infinity of PETS, Chua et al. 2018, without
the sampling): disagreement of the members is the epistemic spread. The loop over the horizon holds the networks and
what leads from step to step; kinematics, spread and costs follow once, over all poses, laid out [H, E, joints, B].
The number of sequences is left open: whoever opens the graph fixes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mbrl_control.deployment.step_graph import FoldedStep
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.kinematics import ToolChain, tool_position
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

    horizon: int = 15
    refresh: int = 12
    """Steps for which a rollout of torques holds mass matrix and bias of a state: each evaluation costs as much as five
    steps of the network. Tracking at 0.3 of rated speed is the same with 3, 6 and 12 (docs/architecture.md); a swing-up
    turns an elbow by a radian in three steps and wants fewer. The one-step graph, and what a model is fitted to, have
    them fresh."""

    def __post_init__(self) -> None:
        for name in ("horizon", "refresh"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is too small; give 1 or more")

    @staticmethod
    def deployed(interface: CommandInterface) -> GraphShape:
        """What bundles carry. A rollout of torques is shorter: each step costs twice as much, and a torque acts at
        once where a velocity servo takes several steps."""
        return GraphShape() if interface is CommandInterface.VELOCITY else GraphShape(horizon=12)


class RolloutGraph(FoldedStep):
    """state [S], actions [B, H, J], goal_position [H, 3], goal_joint [H, J], weights [T] -> `ROLLOUT_OUTPUTS`."""

    lower: torch.Tensor
    upper: torch.Tensor
    decay: torch.Tensor
    moved: torch.Tensor
    past: torch.Tensor
    per_action: torch.Tensor

    def __init__(self, ensemble: ProbabilisticEnsemble, arm: Arm, graph: GraphShape) -> None:
        super().__init__(ensemble)
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
            (state[-joints:, None] * self.per_action + torch.zeros_like(commands[:1]))[None],
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
        joints, window = self.shape.joints, (self.shape.history + 1) * self.shape.joints
        column = state[:, None] + torch.zeros_like(commands[0, :1])
        line = torch.cat([column[2 * joints :], commands.reshape(self.graph.horizon * joints, -1)])
        told = self.told([line[step * joints : step * joints + window] for step in range(self.graph.horizon)])
        motion = column[: 2 * joints] * self.per_unit + self.members
        outputs, raws, mobilities = [], [], []
        terms: RigidTerms | None = None
        for step in range(self.graph.horizon):
            held = None if step % self.graph.refresh == 0 else terms
            out, raw, terms = self.advance(motion, commands[step], told[step], held)
            outputs.append(out)
            raws.append(raw)
            if terms is not None:
                mobilities.append(terms.mobility)
            motion = out[:, : 2 * joints]
        shape = (self.graph.horizon, self.shape.members, 3 * joints, -1)
        means, variances = (torch.cat(values).reshape(shape) for values in (outputs, raws))
        return means * self.unit, variances, torch.stack(mobilities)[:, None] if mobilities else None

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
        joints, shape = self.shape.joints, (self.graph.horizon, 1, -1)
        columns = [value.mean(1).transpose(0, 1).reshape(joints, -1) for value in (position, velocity)]
        goal = goal_joint.transpose(0, 1)
        resting = self.prior.energy(goal, torch.zeros_like(goal)).reshape(-1, 1, 1)
        return (self.prior.energy(columns[0], columns[1]).reshape(shape) - resting) * self.per_energy

    def _terms(self, rollout: Rollout, weights: torch.Tensor) -> torch.Tensor:
        """[T, E, B] weighted."""
        chosen = TERMS if rollout.energy_gap is None else (*TERMS, energy)
        values = torch.stack([term(rollout) + self.members[:, 0] for term in chosen])
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
