"""The planner's scored rollout as one graph, without randomness.

It propagates each member's own mean (trajectory sampling TS-infinity of PETS, Chua et al. 2018, without
the sampling): disagreement of the members is the epistemic spread. The loop over the horizon holds the networks and
what leads from step to step; kinematics, spread and costs follow once, over all poses, laid out [H, E, joints, B].
The number of sequences is left open: whoever opens the graph fixes it. `full_graph` has the same with particles and
obstacles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from mbrl_control.deployment.step_graph import FoldedStep
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.kinematics import ToolChain, tool_position
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior, RigidTerms
from mbrl_control.rewards.names import ENERGY, term_names
from mbrl_control.rewards.terms import Rollout, terms_of
from mbrl_control.rewards.total import total_cost
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
        for name, least in (("horizon", 2), ("refresh", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)} is too small; give {least} or more")

    @staticmethod
    def deployed(interface: CommandInterface) -> GraphShape:
        """What bundles carry. A rollout of torques is shorter: each step costs twice as much, and a torque acts at
        once where a velocity servo takes several steps."""
        return GraphShape() if interface is CommandInterface.VELOCITY else GraphShape(horizon=12)


@dataclass(frozen=True, slots=True)
class Simulated:
    """B sequences through the members."""

    means: torch.Tensor
    """[H, E, 3J, B] q, dq and effort, SI."""
    raw: torch.Tensor
    """[H, E, 3J, B] raw variances."""
    mobility: torch.Tensor | None
    """[H, 1, J, J, B] inverse mass matrices; None where velocities are commanded."""


HandOver = Callable[[int, torch.Tensor, torch.Tensor, RigidTerms | None], tuple[torch.Tensor, torch.Tensor]]
"""Means [E, 3J, B] and raw variances of a step -> what counts as its outcome, and the motion [E, 2J, B] that the next
step begins with."""


class ScoredSteps(FoldedStep):
    """What every graph of a whole rollout is made of: steps over the horizon, and what their costs and spreads read."""

    lower: torch.Tensor
    upper: torch.Tensor
    rated: torch.Tensor
    decay: torch.Tensor
    moved: torch.Tensor
    past: torch.Tensor
    per_action: torch.Tensor

    def __init__(self, ensemble: ProbabilisticEnsemble, arm: Arm, graph: GraphShape, extended: bool = False) -> None:
        super().__init__(ensemble)
        self.graph, self.chain, self.term_names = graph, ToolChain.of(arm), term_names(arm, extended)
        self.per_energy = 1.0 / RigidBody(arm).lifting_energy if ENERGY in self.term_names else 0.0
        self.register_buffer("lower", torch.as_tensor(arm.lower, dtype=torch.float32)[:, None])
        self.register_buffer("upper", torch.as_tensor(arm.upper, dtype=torch.float32)[:, None])
        self.register_buffer("rated", torch.as_tensor(arm.velocity, dtype=torch.float32)[:, None])
        unit = torch.as_tensor(arm.effort if arm.interface is CommandInterface.EFFORT else np.ones(arm.joints))
        self.register_buffer("per_action", (1.0 / unit).float()[:, None])
        for name, matrix in zip(("decay", "moved", "past"), self.prior.noise_propagation(graph.horizon), strict=True):
            self.register_buffer(name, matrix.float())

    def outcome(
        self,
        means: torch.Tensor,
        between: torch.Tensor,
        state: torch.Tensor,
        commands: torch.Tensor,
        goal_position: torch.Tensor,
        goal_joint: torch.Tensor,
        intrusion: torch.Tensor | None,
    ) -> Rollout:
        """What the terms read of predicted means [H, E, 3J, B] and their variance over the members [H, 3J, B]."""
        joints = self.shape.joints
        position, velocity, _ = means.chunk(3, dim=2)
        return Rollout(
            self.distance_squared(position, goal_position.transpose(0, 1)[:, :, None, None]),
            position,
            velocity,
            (commands * self.per_action).unsqueeze(1),
            (state[-joints:, None] * self.per_action + torch.zeros_like(commands[:1]))[None],
            goal_joint[:, None, :, None],
            self.lower,
            self.upper,
            self.rated,
            _root_mean(between[:, joints : 2 * joints])[:, None],
            intrusion,
            self.energy_gap(position, velocity, goal_joint.transpose(0, 1)),
        )

    def predicted(
        self, mean: torch.Tensor, between: torch.Tensor, simulated: Simulated, rollout: Rollout
    ) -> tuple[torch.Tensor, ...]:
        """Epistemic and aleatoric spread, the parts of the mean, total variance; sequences first."""
        joints = self.shape.joints
        noise = self.noise(simulated.raw, simulated.mobility).mean(1)
        spreads = [rollout.epistemic[:, 0], _root_mean(noise[:, joints : 2 * joints])]
        variance = between + self._accumulated(noise)
        parts = mean.permute(2, 0, 1).chunk(3, dim=-1)
        return *(value.transpose(0, 1) for value in spreads), *parts, variance.permute(2, 0, 1)

    def simulate(self, state: torch.Tensor, commands: torch.Tensor, hand_over: HandOver | None = None) -> Simulated:
        """Through commands [H, J, B]; without ``hand_over`` each member goes on from its own mean."""
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
            out, motion = (out, out[:, : 2 * joints]) if hand_over is None else hand_over(step, out, raw, terms)
            outputs.append(out)
            raws.append(raw)
            if terms is not None:
                mobilities.append(terms.mobility)
        shape = (self.graph.horizon, self.shape.members, 3 * joints, -1)
        means, variances = (torch.cat(values).reshape(shape) for values in (outputs, raws))
        return Simulated(means * self.unit, variances, torch.stack(mobilities)[:, None] if mobilities else None)

    def distance_squared(self, position: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        """[H, E, J, B], goal [3, ...] m, each broadcast to [H, E, B] -> [H, E, B] m^2."""
        x, y, z = (value.squeeze(2) for value in tool_position(self.chain, position, dim=2))
        gx, gy, gz = goal.unbind(0)
        return (x - gx).square() + (y - gy).square() + (z - gz).square()

    def energy_gap(
        self, position: torch.Tensor, velocity: torch.Tensor, goal_joint: torch.Tensor
    ) -> torch.Tensor | None:
        """[H, E, J, B] twice and goals [J, H] or, of one step, [J, B] -> [H, 1, B] of the members' mean state; see
        `Rollout`."""
        if ENERGY not in self.term_names or not isinstance(self.prior, RigidBodyPrior):
            return None
        joints, shape = self.shape.joints, (len(position), 1, -1)
        columns = [value.mean(1).transpose(0, 1).reshape(joints, -1) for value in (position, velocity)]
        resting = self.prior.energy(goal_joint, torch.zeros_like(goal_joint)).reshape(len(position), 1, -1)
        return (self.prior.energy(columns[0], columns[1]).reshape(shape) - resting) * self.per_energy

    def _accumulated(self, noise: torch.Tensor) -> torch.Tensor:
        """One-step variances [H, 3J, B] -> variances after the steps so far, by the nominal response."""
        position, velocity, effort = noise.chunk(3, dim=1)
        shaken = velocity.transpose(0, 1)
        summed = torch.matmul(self.past, position.transpose(0, 1)) + torch.matmul(self.moved, shaken)
        settled = torch.matmul(self.decay, shaken)
        return torch.cat([summed.transpose(0, 1), settled.transpose(0, 1), effort], dim=1)


class RolloutGraph(ScoredSteps):
    """`ROLLOUT_INPUTS` -> `ROLLOUT_OUTPUTS`.

    state [S], actions [B, H, J], goal_position [H, 3], goal_joint [H, J], weights [T].
    """

    def forward(
        self,
        state: torch.Tensor,
        actions: torch.Tensor,
        goal_position: torch.Tensor,
        goal_joint: torch.Tensor,
        weights: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        commands = actions.permute(1, 2, 0)
        simulated = self.simulate(state, commands)
        mean, between = moments(simulated.means)
        rollout = self.outcome(simulated.means, between, state, commands, goal_position, goal_joint, None)
        total = total_cost(rollout, terms_of(self.term_names), weights)
        epistemic, aleatoric, *means = self.predicted(mean, between, simulated, rollout)
        return total.cost, epistemic, aleatoric, total.terms, *means


def moments(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance over members of [H, E, ...]."""
    mean = values.mean(1, keepdim=True)
    return mean.squeeze(1), (values - mean).square().mean(1)


def _root_mean(variance: torch.Tensor) -> torch.Tensor:
    """[H, J, B] -> [H, B]."""
    return torch.sqrt(variance.mean(1) + _TINY)
