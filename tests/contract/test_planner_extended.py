"""What holds for every planner on an extended bundle, whichever of its graphs the settings ask for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mbrl_control.cadence import VirtualClock
from mbrl_control.deployment.bundle import Origin, write_bundle
from mbrl_control.deployment.evaluator import load_model
from mbrl_control.deployment.manifest import Training
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.planner_model import opening_of, planning_model
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import Obstacle, PlannerConfig
from mbrl_control.planning.planner import Planner
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import BeliefState, Goal, GoalKind, PlanOutcome
from tests.contract.planner_bench import MS, ROBOTS, T0, knot_limits
from tests.patience import SLOW_S

pytestmark = pytest.mark.timeout(SLOW_S)  # recording the derivatives takes minutes on a slow machine
HORIZON = 6
"""Few: what recording the derivatives costs grows with it."""
FAR = Obstacle(start=(0.0, 0.0, 5.0), end=(0.0, 0.0, 6.0), radius=0.1)
CASES = {
    "gradient": {"method": "gradient"},
    "ilqr": {"method": "ilqr", "iterations": 2},
    "icem, then gradient": {"refine": "gradient"},
    "icem, then ilqr": {"refine": "ilqr"},
    "trust": {"trust": 2.0},
    "TS-infinity": {"particles": 2},
    "TS1": {"particles": 2, "particle_members": "ts1", "risk": "cvar"},
    "obstacles": {"obstacles": (FAR,)},
    "exploration": {"pose_weights": {"spread": -1.0}},
    "speed limit": {"pose_weights": {"speed_limit": 0.1}},
    "everything at 100 Hz": {"refine": "ilqr", "trust": 2.0, "particles": 2, "obstacles": (FAR,), "period_s": 0.01},
}


@pytest.fixture(scope="module")
def arm() -> Arm:
    return load_arm(ROBOTS / "planar.yaml")


@pytest.fixture(scope="module")
def bundle(arm: Arm, tmp_path_factory: pytest.TempPathFactory):
    registry = Registry(tmp_path_factory.mktemp("models"), arm.model_name)
    generator = torch.Generator().manual_seed(0)
    ensemble = ProbabilisticEnsemble(EnsembleShape(2, arm.joints, 3, 8), prior_of(arm, 0.02), generator).eval()
    ensemble.target_std = torch.tensor((1e-4, 1e-3, 1.0)).repeat_interleave(arm.joints)
    held_out = {"holdout_nll": 0.0, "coverage_90": 0.9, "k_step": (), "spread": (0.01,) * HORIZON}
    training = Training(log_sha256=("0" * 64,), log_bytes=(1,), rows=1, payload_kg=0.0, **held_out)
    path, _ = write_bundle(ensemble, arm, registry, Origin(0, 0.008, training), GraphShape(HORIZON), extended=True)
    return path


@pytest.mark.parametrize("name", CASES)
def test_it_plans_towards_the_goal_within_the_limits(arm: Arm, bundle, name: str) -> None:
    config = PlannerConfig(**CASES[name])
    clock = VirtualClock(T0)
    planner = Planner(arm, config, clock, np.random.default_rng(0))
    planner.use(planning_model(load_model(bundle, arm, None, opening_of(config)), config))
    history, away = CommandHistory(arm.joints), arm.home + 0.3 * (arm.box_upper - arm.home)
    history.append(T0 - 200 * MS, np.zeros(arm.joints))
    goal = Goal(T0, GoalKind.POSE, forward_kinematics(arm, away), arm.home, 1)
    for at_ms in (0, 20):
        clock.sleep_until_ns(T0 + at_ms * MS)
        zeros = np.zeros(arm.joints)
        belief = BeliefState(T0 + (at_ms - 2) * MS, arm.home, zeros, np.zeros((arm.joints, 2, 2)), zeros)
        cycle = planner.plan(at_ms, T0 + (at_ms + 10) * MS, belief, history, goal, at_ms > 0)
        planner.prepare()
        plan = cycle.plan
        assert plan is not None, cycle.reason
        assert plan.outcome is PlanOutcome.OPTIMIZED
        bound, step = knot_limits(arm)
        assert (np.abs(plan.knots) <= bound + 1e-9).all()
        assert (np.abs(np.diff(plan.knots, axis=0)) <= step + 1e-9).all()
    if config.risk == "mean":
        assert cycle.report.best_cost == pytest.approx(sum(value for _, value in cycle.report.terms), rel=1e-4)
    ends = forward_kinematics(arm, plan.position[[0, -1]])
    nearer = np.linalg.norm(ends[1] - goal.position) - np.linalg.norm(ends[0] - goal.position)
    assert nearer < -0.003, "the plan hardly moves to the goal"
