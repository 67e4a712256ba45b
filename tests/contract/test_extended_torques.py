"""Derivatives of an arm that takes torques (rigid body, networks) against the graphs that score and step."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mbrl_control.cadence import VirtualClock
from mbrl_control.deployment.bundle import Origin, write_bundle
from mbrl_control.deployment.evaluator import DeployedModel, Opening, load_model
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.planner_model import opening_of, planning_model
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.condensed import trajectory_states
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import Planner
from mbrl_control.planning.protocol import Objective
from mbrl_control.replay.transitions import history_of
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import BeliefState, CommandInterface, Goal, GoalKind, PlanOutcome
from tests.patience import SLOW_S

pytestmark = pytest.mark.timeout(SLOW_S)  # recording the derivatives takes minutes on a slow machine
HORIZON, MEMBERS, BATCH = 3, 2, 4
MS, T0 = 1_000_000, 1_790_000_000_000_000_000


@pytest.fixture(scope="module")
def arm() -> Arm:
    return load_arm(Path(__file__).parents[2] / "sim/robots/planar.yaml", CommandInterface.EFFORT)


@pytest.fixture(scope="module")
def bundle(arm: Arm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    registry = Registry(tmp_path_factory.mktemp("models"), arm.model_name)
    shape = EnsembleShape(MEMBERS, arm.joints, history_of(arm), 8)
    ensemble = ProbabilisticEnsemble(shape, prior_of(arm, 0.02), torch.Generator().manual_seed(0)).eval()
    return write_bundle(ensemble, arm, registry, Origin(0, 0.013), GraphShape(HORIZON), extended=True)[0]


@pytest.fixture(scope="module")
def model(arm: Arm, bundle: Path) -> DeployedModel:
    return load_model(bundle, arm, opening=Opening(BATCH, derivatives=True))


@pytest.fixture(scope="module")
def start(arm: Arm) -> np.ndarray:
    velocity = np.random.default_rng(0).uniform(-0.3, 0.3, arm.joints)
    return np.concatenate([arm.home, velocity, np.tile(_held(arm), history_of(arm))])


@pytest.fixture(scope="module")
def actions(arm: Arm) -> np.ndarray:
    return _held(arm) + np.random.default_rng(1).uniform(-3.0, 3.0, (BATCH, HORIZON, arm.joints))


def _held(arm: Arm) -> np.ndarray:
    return RigidBody(arm).gravity(arm.home)


def _objective(arm: Arm, model: DeployedModel, **weights: float) -> Objective:
    chosen = np.array([weights.get(name, 1.0) for name in model.rollout.term_names])
    return Objective.plain(np.full((HORIZON, 3), 0.4), np.tile(arm.home + 0.2, (HORIZON, 1)), chosen)


def test_gradient_is_the_slope_of_what_the_rollouts_score(arm, model, start, actions) -> None:
    objective, step = _objective(arm, model), 0.3
    found = model.derivatives.gradient(start, actions[0], objective)
    for place in np.ndindex(*found.shape):
        pair = np.stack([actions[0]] * BATCH)
        pair[(0, *place)] += step
        pair[(1, *place)] -= step
        cost = model.rollout.evaluate(start, pair, objective).cost.mean(axis=0)
        assert found[place] == pytest.approx((cost[0] - cost[1]) / (2.0 * step), abs=5e-3 * np.abs(found).max() + 1e-5)


def test_expansion_is_that_of_the_step_model(arm, model, start, actions) -> None:
    joints, objective = arm.joints, _objective(arm, model, smoothness=0.0, spread=0.0)
    scores = model.rollout.evaluate(start, actions, objective)
    states = trajectory_states(start, actions[0], scores.position[0].copy(), scores.velocity[0].copy())
    expansion = model.derivatives.expand(states, actions[0], objective)
    assert np.isfinite(expansion.hessian).all()
    both = np.concatenate([states[1], actions[0, 1]])
    for column in range(len(both)):
        step = 1e-3 if column < 2 * joints else 0.3
        ends = []
        for sign in (1.0, -1.0):
            moved = both.copy()
            moved[column] += sign * step
            ends.append(model.step_model.step(moved[:-joints], moved[-joints:])[: 2 * joints])
        slope = (ends[0] - ends[1]) / (2.0 * step)
        scale = max(1.0, float(np.abs(slope).max()))
        np.testing.assert_allclose(expansion.jacobian[1, :, column], slope, atol=5e-3 * scale)


@pytest.mark.parametrize("settings", [{"method": "gradient"}, {"method": "ilqr"}, {"refine": "ilqr"}], ids=str)
def test_it_plans_towards_the_goal_within_the_torque_and_its_rate(arm, bundle, settings) -> None:
    config, clock = PlannerConfig(**settings), VirtualClock(T0)
    planner = Planner(arm, config, clock, np.random.default_rng(0))
    planner.use(planning_model(load_model(bundle, arm, None, opening_of(config)), config))
    history, away = CommandHistory(arm.joints), arm.home + 0.3 * (arm.box_upper - arm.home)
    history.append(T0 - 200 * MS, _held(arm))
    goal = Goal(T0, GoalKind.POSE, forward_kinematics(arm, away), arm.home, 1)
    zeros = np.zeros(arm.joints)
    belief = BeliefState(T0 - 2 * MS, arm.home, zeros, np.zeros((arm.joints, 2, 2)), zeros)
    cycle = planner.plan(0, T0 + 10 * MS, belief, history, goal, following=False)
    planner.prepare()
    plan = cycle.plan
    assert plan is not None, cycle.reason
    assert plan.outcome is PlanOutcome.OPTIMIZED
    assert (np.abs(plan.knots) <= 0.9 * arm.effort + 1e-9).all()
    assert (np.abs(np.diff(plan.knots, axis=0)) <= 0.9 * arm.torque_rate * 0.02 + 1e-9).all()
    ends = forward_kinematics(arm, plan.position[[0, -1]])
    assert np.linalg.norm(ends[1] - goal.position) < np.linalg.norm(ends[0] - goal.position)
