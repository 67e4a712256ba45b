"""The analytic evaluator: nominal velocity lag, NumPy kinematics, the cost terms written out a second time.

It stands in where no bundle exists (tests, first tuning) and shows the planner without any learned model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.kinematics import forward_kinematics
from mbrl_control.planning.lag_model import LagModel
from mbrl_control.planning.protocol import Objective, Scores
from mbrl_control.robot import Arm
from mbrl_control.signals import Array

TERMS = ("reach", "reach_terminal", "speed_near_goal", "speed_terminal", "smoothness", "joint_goal")


@dataclass(frozen=True, slots=True)
class LagEvaluator:
    """One member, no spread. ``drift`` [J] rad/s is added to every velocity: a droop the planner must counter."""

    arm: Arm
    model: LagModel
    drift: Array
    batch_size: int = 32
    horizon: int = 15

    @property
    def term_names(self) -> tuple[str, ...]:
        return TERMS

    def step(self, state: Array, action: Array) -> Array:
        """As LagModel.step, with the drift."""
        joints = len(self.drift)
        position, velocity = self._advance(state[:joints], state[joints : 2 * joints], action)
        return np.concatenate([position, velocity, state[3 * joints :], action])

    def evaluate(self, state: Array, actions: Array, objective: Objective) -> Scores:
        """See RolloutEvaluator."""
        count, horizon, joints = actions.shape
        position, velocity = np.empty_like(actions), np.empty_like(actions)
        q, v = (np.broadcast_to(part, (count, joints)) for part in (state[:joints], state[joints : 2 * joints]))
        for k in range(horizon):
            q, v = self._advance(q, v, actions[:, k])
            position[:, k], velocity[:, k] = q, v
        goals = (objective.tool, objective.joint)
        terms = self._terms(state[-joints:], actions, position, velocity, *goals) * objective.weights[:, None]
        still = np.zeros((count, horizon))
        return Scores(
            terms.sum(axis=0)[None],
            still,
            still,
            TERMS,
            terms,
            position,
            velocity,
            np.zeros_like(actions),
            np.zeros((count, horizon, 3 * joints)),
        )

    def _advance(self, position: Array, velocity: Array, action: Array) -> tuple[Array, Array]:
        return self.model.advance(position, velocity, action + self.drift)

    def _terms(
        self, last: Array, actions: Array, position: Array, velocity: Array, goal: Array, goal_joint: Array
    ) -> Array:
        squared = np.square(forward_kinematics(self.arm, position) - goal).sum(axis=-1)
        distance = np.sqrt(squared + 0.005**2) - 0.005
        change = np.diff(np.concatenate([np.broadcast_to(last, actions[:, :1].shape), actions], axis=1), axis=1)
        speed = np.square(velocity).mean(axis=-1)
        joint = np.sqrt(np.square(position - goal_joint).mean(axis=-1) + 0.01**2) - 0.01
        return np.stack(
            [
                distance.mean(axis=1),
                distance[:, -1],
                (np.exp(-squared / 0.05**2) * speed).mean(axis=1),
                speed[:, -1],
                np.square(change).mean(axis=(1, 2)),
                joint.mean(axis=1),
            ]
        )
