"""The plant itself as the planner's model: MuJoCo's rollouts, scored by the costs of the exported graph.

What a planner loses against this one is the model's fault; both have the same optimizer, samples and costs. Rollouts
begin where the planner's do, after the delay, with what the servos' lag holds of the past commands.
"""

from __future__ import annotations

import copy

import mujoco
import mujoco.rollout
import numpy as np
import torch

from mbrl_control.deployment.rollout_graph import GraphShape, RolloutGraph
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.planning.protocol import Objective, Scores
from mbrl_control.rewards.terms import terms_of
from mbrl_control.rewards.total import total_cost
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, CommandInterface

_AT_ONCE_S = 1e-9
"""Time constant of an actuator that follows its torque: the plant's lag is the velocity servos'."""


class Oracle:
    """RolloutEvaluator and StepModel of the plant."""

    def __init__(
        self, plant: mujoco.MjModel, ensemble: ProbabilisticEnsemble, arm: Arm, graph: GraphShape, samples: int
    ) -> None:
        """``ensemble``: whose costs, not whose dynamics."""
        self._model, self._data = copy.deepcopy(plant), mujoco.MjData(plant)
        if arm.interface is CommandInterface.EFFORT:
            self._model.actuator_dyntype[:] = mujoco.mjtDyn.mjDYN_FILTEREXACT
            self._model.actuator_dynprm[:, 0] = _AT_ONCE_S
            self._model.actuator_actearly[:] = True
        self._costs = RolloutGraph(ensemble.select([0]), arm, graph)
        self._joints, self._substeps = arm.joints, round(ensemble.prior.dt_s / plant.opt.timestep)
        self.batch_size, self.horizon, self.term_names = samples, graph.horizon, self._costs.term_names

    def evaluate(self, state: Array, actions: Array, objective: Objective) -> Scores:
        """See RolloutEvaluator; neither spread nor variance."""
        position, velocity, effort = self._simulate(state, actions)
        means = torch.as_tensor(np.concatenate([position, velocity, effort], axis=2), dtype=torch.float32)
        means = means.permute(1, 2, 0)[:, None]
        single = (torch.as_tensor(value, dtype=torch.float32) for value in (state, objective.tool, objective.joint))
        told, tool, joint = single
        commands = torch.as_tensor(actions, dtype=torch.float32).permute(1, 2, 0)
        with torch.inference_mode():
            outcome = self._costs.outcome(means, torch.zeros_like(means[:, 0]), told, commands, tool, joint, None)
            weights = torch.as_tensor(objective.weights, dtype=torch.float32)
            total = total_cost(outcome, terms_of(self.term_names), weights)
        nothing = np.zeros((len(actions), self.horizon))
        return Scores(
            cost=total.cost.numpy().astype(np.float64),
            epistemic=nothing,
            aleatoric=nothing,
            term_names=self.term_names,
            terms=total.terms.numpy().astype(np.float64),
            position=position,
            velocity=velocity,
            effort=effort,
            variance=np.zeros((len(actions), self.horizon, 3 * self._joints)),
        )

    def step(self, state: Array, action: Array) -> Array:
        """See StepModel."""
        position, velocity, _ = self._simulate(state, action[None, None])
        return np.concatenate([position[0, 0], velocity[0, 0], state[3 * self._joints :], action])

    def _simulate(self, state: Array, actions: Array) -> tuple[Array, Array, Array]:
        """Position, velocity, torque [B, H, J] after each step."""
        joints = self._joints
        self._data.qpos[:], self._data.qvel[:] = state[:joints], state[joints : 2 * joints]
        self._data.act[:] = self._held(state[2 * joints :].reshape(-1, joints))
        size = mujoco.mj_stateSize(self._model, mujoco.mjtState.mjSTATE_FULLPHYSICS)
        begin = np.empty(size)
        mujoco.mj_getState(self._model, self._data, begin, mujoco.mjtState.mjSTATE_FULLPHYSICS)
        control = np.repeat(actions, self._substeps, axis=1)
        begins = np.tile(begin, (len(actions), 1))
        states, _ = mujoco.rollout.rollout(self._model, self._data, begins, control, nstep=control.shape[1])
        after = states[:, self._substeps - 1 :: self._substeps]
        position, velocity = after[:, :, 1 : 1 + joints], after[:, :, 1 + joints : 1 + 2 * joints]
        # Costs read no torque; the servos' own would have to be computed anew from every state.
        return position, velocity, np.zeros_like(position)

    def _held(self, past: Array) -> Array:
        """[J] what a servo's lag holds after past mean commands [K, J], from rest at the oldest."""
        lag_s, dt_s = self._model.actuator_dynprm[:, 0], self._substeps * self._model.opt.timestep
        decay = np.exp(-dt_s / np.maximum(lag_s, _AT_ONCE_S))
        held = past[0]
        for command in past[1:]:
            held = command + (held - command) * decay
        return np.asarray(held)
