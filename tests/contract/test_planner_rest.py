"""Where a cycle's commands go behind their end: to those under which the arm stays, as the model predicts it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.lag_evaluator import LagEvaluator
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.lag_model import LagModel
from mbrl_control.planning.planner import PlanningModel
from mbrl_control.planning.problem import Best
from mbrl_control.planning.proposals import Target
from mbrl_control.planning.tracks import proposer_for
from mbrl_control.replay.transitions import history_of
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import load_arm
from mbrl_control.signals import Array, CommandInterface
from tests.contract.planner_bench import EFFORT, ROBOTS, VELOCITY, Bench, pose, torque_model

DT_S = 0.02


def best_of(knots: Array, position: Array, velocity: Array) -> Best:
    nothing = np.zeros_like(knots)
    return Best(0.0, knots, position, velocity, nothing, nothing, nothing[:, 0], ())


@given(seed=st.integers(0, 2**16))
def test_whatever_the_commands_a_servo_that_sags_rests_under_what_it_sags_by(seed: int) -> None:
    """The noise of the commands shows in the predicted motion, too, and cancels."""
    arm, rng = load_arm(ROBOTS / "panda.yaml"), np.random.default_rng(seed)
    joints, model = arm.joints, LagModel(arm.servo_lag_s, DT_S)
    sag, knots, first = rng.normal(0.0, 0.2, joints), rng.normal(size=(15, joints)), rng.normal(size=joints)
    start = (arm.home, rng.normal(size=joints))
    position, velocity, rows = *start, []
    for before, after in zip(np.vstack([first, knots[:-1]]), knots, strict=True):
        position, velocity = model.advance(position, velocity, 0.5 * (before + after) + sag)
        rows.append((position, velocity))
    positions, velocities = (np.array(values) for values in zip(*rows, strict=True))
    proposer = proposer_for(arm, PlannerConfig(), len(knots), DT_S)
    np.testing.assert_allclose(proposer.remember(start, first, best_of(knots, positions, velocities)).rest, -sag)


@pytest.mark.parametrize("name", ["panda", "planar"])
def test_under_torques_gravity_is_carried_and_what_the_model_adds_is_opposed(name: str) -> None:
    """Of an arm that stands still under ``held`` because something pushes it with the rest of its gravity."""
    arm = load_arm(ROBOTS / f"{name}.yaml", CommandInterface.EFFORT)
    proposer, still = proposer_for(arm, PlannerConfig(), 15, DT_S), np.zeros(arm.joints)
    held = RigidBody(arm).gravity(arm.home) + 0.02 * arm.effort
    stays = np.tile(arm.home, (15, 1))
    remembered = proposer.remember((arm.home, still), held, best_of(np.tile(held, (15, 1)), stays, 0.0 * stays))
    np.testing.assert_allclose(remembered.rest, held, atol=1e-9)


@pytest.mark.parametrize(("interface", "share"), [(VELOCITY, 1.0), (EFFORT, 0.0)])
def test_to_go_on_with_a_goal_that_moves_takes_its_speed_and_no_torque(
    interface: CommandInterface, share: float
) -> None:
    arm = load_arm(ROBOTS / "panda.yaml", interface)
    speed = np.linspace(-0.3, 0.3, arm.joints)
    position = arm.home + DT_S * np.arange(1, 16)[:, None] * speed
    target = Target(position, np.tile(speed, (15, 1)))
    np.testing.assert_allclose(proposer_for(arm, PlannerConfig(), 15, DT_S).along(target), share * speed)


def test_the_next_cycle_begins_with_it() -> None:
    """Of a model that sinks."""
    arm = load_arm(ROBOTS / "panda.yaml", VELOCITY)
    sag = np.linspace(-0.1, 0.1, arm.joints)
    bench = Bench(arm)
    model = LagEvaluator(arm, LagModel(arm.servo_lag_s, DT_S), sag)
    bench.planner.use(PlanningModel(model, model, "m/2", DT_S, 0.008, history_of(arm)))
    for cycle in range(3):
        assert bench.cycle(pose(arm), 20 * cycle).plan is not None
    np.testing.assert_allclose(bench.planner._warm._rest, -sag, atol=1e-9)


def test_a_torque_that_pushes_no_longer_is_no_longer_opposed() -> None:
    arm = load_arm(ROBOTS / "planar.yaml", EFFORT)
    bench = Bench(arm)
    assert torque_model("planar").horizon == bench.evaluator.horizon
    bench.cycle(pose(arm), 0)
    before = bench.planner._warm._rest.copy()
    bench.planner._warm.change(np.full(arm.joints, 0.5))
    np.testing.assert_allclose(bench.planner._warm._rest, before - 0.5)
    bench.planner.activate()
    np.testing.assert_array_equal(bench.planner._warm._rest, 0.0)
