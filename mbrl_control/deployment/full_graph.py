"""The scored rollout with all that not every planner wants to pay for: particles, and obstacles.

Particles: trajectory sampling (Chua et al., NeurIPS 2018). Each member has P of them, which carry the sampled noise of
every step. TS-infinity: a particle stays with its member. TS1: after every step the particles change members. All
sequences meet the same noise, which is an input (common random numbers: Ng and Jordan, PEGASUS, UAI 2000), so two
sequences differ by what they command and not by luck, and the graph itself has no randomness.
A particle without noise is the member's mean, as in `rollout_graph`. The first one always is: what is predicted, and
the members' spread, are read from it, since the mean of a few noisy particles would differ between members that agree.
"""

from __future__ import annotations

from functools import partial

import torch

from mbrl_control.deployment.obstacles import CapsuleBodies
from mbrl_control.deployment.rollout_graph import GraphShape, ScoredSteps, Simulated, moments
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.rigid_prior import RigidTerms
from mbrl_control.rewards.terms import terms_of
from mbrl_control.rewards.total import total_cost
from mbrl_control.robot import Arm


class FullRolloutGraph(ScoredSteps):
    """`FULL_INPUTS` -> `ROLLOUT_OUTPUTS`, costs [P E, B].

    As `RolloutGraph`, and obstacles [N, 7], noise [P, H, E, 2J] standard normal, shuffle [P, H, E] the member whose
    place a particle of each member takes after a step, order [P, H, E] the place of every particle before that, counted
    [P] whether a particle counts for the terms' means (the first one does only where it is alone).
    """

    def __init__(self, ensemble: ProbabilisticEnsemble, arm: Arm, graph: GraphShape) -> None:
        super().__init__(ensemble, arm, graph, extended=True)
        self.bodies = CapsuleBodies(arm)

    def forward(
        self,
        state: torch.Tensor,
        actions: torch.Tensor,
        goal_position: torch.Tensor,
        goal_joint: torch.Tensor,
        weights: torch.Tensor,
        trust: torch.Tensor,
        obstacles: torch.Tensor,
        noise: torch.Tensor,
        shuffle: torch.Tensor,
        order: torch.Tensor,
        counted: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        horizon, members, joints = self.graph.horizon, self.shape.members, self.shape.joints
        particles, sequences = noise.shape[0], actions.shape[0]
        commands = actions.permute(1, 2, 0)
        repeated = (commands[..., None] + torch.zeros_like(noise[:, 0, 0, 0])).reshape(horizon, joints, -1)
        hand_over = partial(self._sampled, noise.permute(1, 2, 3, 0), shuffle.permute(1, 2, 0).long())
        simulated = self.simulate(state, repeated, hand_over)
        split = simulated.means.reshape(horizon, members, 3 * joints, sequences, particles)
        mean, between = moments(split[..., 0])
        places = order.permute(1, 2, 0).long()[:, :, None, None]
        own = torch.gather(split, 1, places + torch.zeros_like(split).long())
        each = own.permute(0, 1, 4, 2, 3).reshape(horizon, members * particles, 3 * joints, sequences)
        intrusion = self.bodies.intrusion(each[:, :, :joints], obstacles)
        rollout = self.outcome(each, between, state, commands, goal_position, goal_joint, intrusion)
        total = total_cost(rollout, terms_of(self.term_names), weights, trust, counted.repeat(members))
        alike = self._of_sequences(simulated, particles)
        epistemic, aleatoric, *means = self.predicted(mean, between, alike, rollout)
        return total.cost, epistemic, aleatoric, total.terms, *means

    def _sampled(
        self,
        noise: torch.Tensor,
        shuffle: torch.Tensor,
        step: int,
        out: torch.Tensor,
        raw: torch.Tensor,
        terms: RigidTerms | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A `HandOver`: each particle goes on from its own sample, with the member whose place it takes."""
        joints, drawn, places = self.shape.joints, noise[step], shuffle[step]
        variance = self.noise(raw, None if terms is None else terms.mobility)[:, : 2 * joints]
        deviation = torch.sqrt(variance) * self.per_unit
        split = deviation.reshape(*deviation.shape[:2], -1, drawn.shape[-1])
        motion = out[:, : 2 * joints] + (split * drawn[:, :, None]).reshape(deviation.shape)
        sampled = torch.cat([motion, out[:, 2 * joints :]], dim=1)
        apart = motion.reshape(split.shape)
        moved = torch.gather(apart, 0, places[:, None, None] + torch.zeros_like(apart).long())
        return sampled, moved.reshape(motion.shape)

    def _of_sequences(self, simulated: Simulated, particles: int) -> Simulated:
        """One particle's raw variances and masses stand for all: they state a noise, whose size hardly differs."""
        raw = simulated.raw.reshape(*simulated.raw.shape[:3], -1, particles)[..., 0]
        mobility = simulated.mobility
        if mobility is not None:
            mobility = mobility.reshape(*mobility.shape[:4], -1, particles)[..., 0]
        return Simulated(simulated.means, raw, mobility)
