"""The oracle of `bench plan` predicts the plant: what it says of commands is what MuJoCo does with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.plan_oracle import Oracle
from benchmarks.plan_tasks import SWING_ARM
from mbrl_control.cli.locations import arm_file
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.planning.protocol import Objective
from mbrl_control.replay.transitions import history_of
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface
from sim.lockstep_model import DT_S
from sim.mujoco_arm import MujocoArm
from sim.randomization import SimParameters

HORIZON = 6


@pytest.mark.parametrize(
    ("path", "interface"),
    [(arm_file("panda"), CommandInterface.VELOCITY), (SWING_ARM, CommandInterface.EFFORT)],
    ids=["panda velocity", "swing effort"],
)
def test_it_foresees_what_the_plant_does(path, interface: CommandInterface) -> None:
    arm = load_arm(path, interface)
    plant = MujocoArm(path, 0, interface=interface, parameters=replace(SimParameters.nominal(arm), command_delay_s=0.0))
    past, generator = history_of(arm), np.random.default_rng(0)
    scale = 0.2 * (arm.velocity if interface is CommandInterface.VELOCITY else arm.effort)
    commands = scale * generator.uniform(-1.0, 1.0, (past + HORIZON, arm.joints))
    commands[0] = 0.0  # at rest, as the oracle takes the oldest one to have been for long

    def apply(command: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        plant.command(command)
        for _ in range(round(DT_S * 1e9) // plant.period_ns):
            plant.step()
        truth = plant.truth()
        return truth.position.copy(), truth.velocity.copy()

    for command in commands[:past]:
        begin = apply(command)
    ensemble = ProbabilisticEnsemble(
        EnsembleShape(2, arm.joints, past, 8), prior_of(arm, DT_S), torch.Generator().manual_seed(0)
    )
    oracle = Oracle(plant.model, ensemble, arm, GraphShape(HORIZON), samples=3)
    state = np.concatenate([*begin, commands[:past].ravel()])
    weights = np.ones(len(oracle.term_names))
    objective = Objective.plain(np.zeros((HORIZON, 3)), np.tile(arm.home, (HORIZON, 1)), weights)
    actions = np.stack([commands[past:], 0.0 * commands[past:], commands[past:]])
    scores = oracle.evaluate(state, actions, objective)
    stepped = oracle.step(state, commands[past])
    after = [apply(command) for command in commands[past:]]
    for index, (position, velocity) in enumerate(after):
        np.testing.assert_allclose(scores.position[0, index], position, atol=2e-4)
        np.testing.assert_allclose(scores.velocity[0, index], velocity, atol=5e-3)
    np.testing.assert_allclose(stepped[: arm.joints], after[0][0], atol=2e-4)
    np.testing.assert_array_equal(stepped[2 * arm.joints :], commands[1 : past + 1].ravel())
    assert scores.cost.shape == (1, 3)
    assert scores.cost[0, 0] == pytest.approx(scores.cost[0, 2], rel=1e-6)
    assert scores.cost[0, 0] != pytest.approx(scores.cost[0, 1], rel=1e-3)
