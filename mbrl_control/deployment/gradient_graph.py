"""The gradient of a rollout's cost by its commands, as a graph of its own: ONNX Runtime cannot differentiate."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import grad_and_value

from mbrl_control.deployment.full_graph import FullRolloutGraph
from mbrl_control.deployment.rollout_graph import moments
from mbrl_control.rewards.terms import terms_of
from mbrl_control.rewards.total import total_cost


class GradientGraph(nn.Module):
    """`GRADIENT_INPUTS` for one sequence, actions [1, H, J] -> its cost, mean over members [1], and the gradient of
    that by the actions [H, J].

    Of the members' means: sampled particles are left to the rollouts that choose among the candidates.
    """

    def __init__(self, rollout: FullRolloutGraph) -> None:
        super().__init__()
        self.rollout = rollout

    def cost(
        self,
        actions: torch.Tensor,
        state: torch.Tensor,
        goal_position: torch.Tensor,
        goal_joint: torch.Tensor,
        weights: torch.Tensor,
        trust: torch.Tensor,
        obstacles: torch.Tensor,
    ) -> torch.Tensor:
        """Of actions [1, H, J], mean over the members: a number."""
        commands = actions.permute(1, 2, 0)
        means = self.rollout.simulate(state, commands).means
        _, between = moments(means)
        intrusion = self.rollout.bodies.intrusion(means[:, :, : self.rollout.shape.joints], obstacles)
        outcome = self.rollout.outcome(means, between, state, commands, goal_position, goal_joint, intrusion)
        return total_cost(outcome, terms_of(self.rollout.term_names), weights, trust).cost.mean()

    def forward(self, state: torch.Tensor, actions: torch.Tensor, *objective: torch.Tensor) -> tuple[torch.Tensor, ...]:
        gradient, cost = grad_and_value(self.cost)(actions, state, *objective)
        return cost.reshape(1), gradient[0]
