"""Mechanical energy: against MuJoCo, against the work of the torques, and as the cost term of a rollout graph."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.swing_up_run import ARM, UPRIGHT, static_torque
from mbrl_control.deployment.rollout_graph import GraphShape, RolloutGraph
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.replay.transitions import history_of
from mbrl_control.rewards.names import ENERGY, term_names
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import CommandInterface
from sim.generate import ROBOTS


@pytest.mark.parametrize("name", ["planar", "panda", "ur5e"])
def test_energy_is_mujocos(name: str) -> None:
    path = ROBOTS / f"{name}.yaml"
    arm = load_arm(path, CommandInterface.EFFORT)
    model = mujoco.MjModel.from_xml_path(str(path.with_suffix(".mjcf.xml")))
    model.opt.enableflags |= mujoco.mjtEnableBit.mjENBL_ENERGY
    model.body_gravcomp[:] = 0.0
    body, rng, data = RigidBody(arm, gravity=True), np.random.default_rng(0), mujoco.MjData(model)
    rows = []
    for _ in range(20):
        data.qpos[:], data.qvel[:] = rng.uniform(arm.lower, arm.upper), rng.uniform(-3.0, 3.0, arm.joints)
        mujoco.mj_forward(model, data)
        rows.append((data.energy.sum(), body.energy(data.qpos[None], data.qvel[None])[0]))
    theirs, ours = np.array(rows).T
    np.testing.assert_allclose(ours - ours[0], theirs - theirs[0], atol=1e-4)  # the base's own potential is theirs only


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_energy_grows_by_the_work_of_the_torques(seed: int) -> None:
    body, rng = RigidBody(load_arm(ARM, CommandInterface.EFFORT)), np.random.default_rng(seed)
    q, dq, torque = rng.uniform(-3.0, 3.0, (1, 2)), rng.uniform(-5.0, 5.0, (1, 2)), rng.uniform(-20.0, 20.0, (1, 2))
    h = 1e-5
    ahead, behind = (body.energy(q + s * h * dq, dq + s * h * body.acceleration(q, dq, torque))[0] for s in (1.0, -1.0))
    assert (ahead - behind) / (2.0 * h) == pytest.approx(float((torque * dq).sum()), abs=1e-3)


def test_upright_is_twice_the_static_torque_above_hanging() -> None:
    """The straight arm is a pendulum: its torque in the horizontal, m g l, is half of its swing in energy, 2 m g l."""
    arm = load_arm(ARM, CommandInterface.EFFORT)
    body = RigidBody(arm)
    low, high = body.energy(np.stack([0.0 * UPRIGHT, UPRIGHT]), np.zeros((2, 2)))
    assert high - low == pytest.approx(2.0 * static_torque(arm)[0], rel=1e-9)
    assert arm.effort[0] < static_torque(arm)[0]
    assert high - low == pytest.approx(2.0 * body.lifting_energy)


def graph_of(arm: Arm) -> RolloutGraph:
    ensemble = ProbabilisticEnsemble(
        EnsembleShape(2, arm.joints, history_of(arm), 8), prior_of(arm, 0.02), torch.Generator().manual_seed(0)
    )
    return RolloutGraph(ensemble, arm, GraphShape(5)).double()


def test_the_graphs_term_is_the_squared_gap_of_its_own_prediction() -> None:
    arm = load_arm(ARM, CommandInterface.EFFORT)
    graph, body, rng = graph_of(arm), RigidBody(arm), np.random.default_rng(1)
    state, actions = rng.uniform(-1.0, 1.0, 6), rng.uniform(-20.0, 20.0, (3, 5, 2))
    goals, weights = rng.uniform(-3.0, 3.0, (5, 2)), np.arange(1.0, 10.0)
    inputs = (state, actions, np.zeros((5, 3)), goals, weights)
    with torch.inference_mode():
        out = graph(*(torch.from_numpy(value) for value in inputs))
    found, position, velocity = out[3][-1].numpy(), out[4].numpy(), out[5].numpy()
    resting = body.energy(goals, np.zeros((5, 2)))
    for b in range(3):
        gap = (body.energy(position[b], velocity[b]) - resting) / body.lifting_energy
        assert found[b] == pytest.approx(9.0 * np.square(gap).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "interface", "has"),
    [
        ("planar", CommandInterface.EFFORT, True),
        ("planar", CommandInterface.VELOCITY, False),
        ("panda", CommandInterface.EFFORT, False),
    ],
)
def test_only_graphs_whose_torques_carry_the_weight_have_the_term(
    name: str, interface: CommandInterface, has: bool
) -> None:
    arm = load_arm(ROBOTS / f"{name}.yaml", interface)
    graph = graph_of(arm)
    assert (ENERGY in term_names(arm)) == (ENERGY in graph.term_names) == has
