"""The model to first and the cost of every step to second order about a trajectory, as a graph: what iLQR solves with.

Reverse mode alone, over columns: a trajectory's steps are repeated once per derivative that is asked for, so that one
pass gives them all (a column's cost depends on nothing but that column).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.func import grad

from mbrl_control.deployment.full_graph import FullRolloutGraph
from mbrl_control.rewards.terms import Rollout, terms_of


class JacobianGraph(nn.Module):
    """`JACOBIAN_INPUTS` along one trajectory -> `JACOBIAN_OUTPUTS`.

    state [H, S] before and actions [H, J] of each step, goals, weights and obstacles as for a rollout. Out come the
    mean motion after each step [H, 2J], its derivative [H, 2J, S + J] by state and action, and the gradient [H, 2J] and
    Hessian [H, 2J, 2J] of what that motion costs, terminal terms with the last step. Terms of the commands alone
    (smoothness) and of the members' spread are not in them.
    """

    running: torch.Tensor
    final: torch.Tensor
    wanted: torch.Tensor

    def __init__(self, rollout: FullRolloutGraph) -> None:
        super().__init__()
        self.rollout = rollout
        self.terms = terms_of(rollout.term_names)
        horizon, motions = rollout.graph.horizon, 2 * rollout.shape.joints
        terminal = torch.tensor([[float(term.terminal)] for term in self.terms])
        self.register_buffer("running", (1.0 - terminal) / horizon)
        last = torch.zeros(1, horizon)
        last[0, -1] = 1.0
        self.register_buffer("final", terminal * last)
        # [2J, H 2J]: column h 2J + i asks for the derivative of motion i after step h.
        self.register_buffer("wanted", torch.eye(motions).repeat(1, horizon))

    def forward(
        self,
        state: torch.Tensor,
        actions: torch.Tensor,
        goal_position: torch.Tensor,
        goal_joint: torch.Tensor,
        weights: torch.Tensor,
        obstacles: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        both = torch.cat([state, actions], dim=1).transpose(0, 1)
        after = self._after(both)
        jacobian = grad(lambda columns: (self._after(columns) * self.wanted).sum())(self._repeated(both))
        shares = (self.running + self.final) * weights[:, None]
        asked = (goal_position.transpose(0, 1), goal_joint.transpose(0, 1), shares)
        gradient = grad(self._cost)(after, *asked, obstacles)
        tool, joint, share = (self._repeated(value) for value in asked)

        def slope(motion: torch.Tensor) -> torch.Tensor:
            by_motion: torch.Tensor = grad(self._cost)(motion, tool, joint, share, obstacles)
            return (by_motion * self.wanted).sum()

        curved = grad(slope)(self._repeated(after))
        return after.transpose(0, 1), self._split(jacobian), gradient.transpose(0, 1), self._split(curved)

    def _repeated(self, columns: torch.Tensor) -> torch.Tensor:
        """[R, H] -> [R, H 2J]."""
        motions = len(self.wanted)
        return columns[..., None].expand(-1, -1, motions).reshape(len(columns), -1)

    def _split(self, columns: torch.Tensor) -> torch.Tensor:
        """[R, H 2J] -> [H, 2J, R]."""
        return columns.transpose(0, 1).reshape(-1, len(self.wanted), len(columns))

    def _after(self, both: torch.Tensor) -> torch.Tensor:
        """State and action [S + J, N] -> mean motion [2J, N] one step later."""
        graph, joints = self.rollout, self.rollout.shape.joints
        motion = both[: 2 * joints] * graph.per_unit + graph.members
        out, _, _ = graph.advance(motion, both[-joints:], graph.told([both[2 * joints :]])[0])
        return (out.mean(0) * graph.unit)[: 2 * joints]

    def _cost(
        self,
        motion: torch.Tensor,
        tool: torch.Tensor,
        joint: torch.Tensor,
        shares: torch.Tensor,
        obstacles: torch.Tensor,
    ) -> torch.Tensor:
        """Motions [2J, N], goals [3, N] and [J, N], shares [T, N] -> the sum of what every column costs."""
        graph, joints = self.rollout, self.rollout.shape.joints
        position, velocity = motion[None, None, :joints], motion[None, None, joints:]
        nothing = torch.zeros_like(position)
        outcome = Rollout(
            graph.distance_squared(position, tool),
            position,
            velocity,
            nothing,
            nothing,
            joint[None, None],
            graph.lower,
            graph.upper,
            graph.rated,
            nothing[:, :, 0],
            self.rollout.bodies.intrusion(position, obstacles),
            graph.energy_gap(position, velocity, joint),
        )
        costs = torch.stack([term.cost(outcome)[0, 0] for term in self.terms])
        return (costs * shares).sum()
