"""Moves by torque, what torques make of them, and goals that move."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_control.kinematics import forward_kinematics
from mbrl_control.planning.figure_eight import STEP_S, figure_eight
from mbrl_control.planning.goal_target import GoalTarget
from mbrl_control.planning.goals import goal_refusal, renewed
from mbrl_control.planning.limits import KnotLimits, mean_actions
from mbrl_control.planning.proposals import Target
from mbrl_control.planning.torque_tracks import (
    RigidModel,
    accelerate_to,
    integrator_response,
    learned_torque,
    torque_knots,
)
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm, ArmError, load_arm
from mbrl_control.signals import CommandInterface, Goal, GoalKind
from sim.generate import ROBOTS

DT = 0.02
WIDE = KnotLimits(np.array([2.0, 1.0]), np.array([1.0, 1.0]))


@pytest.fixture(params=["panda", "ur5e", "planar"])
def arm(request: pytest.FixtureRequest) -> Arm:
    return load_arm(ROBOTS / f"{request.param}.yaml", CommandInterface.EFFORT)


def test_a_move_arrives_without_overshoot_and_joints_keep_their_ratio_at_the_speed_limit() -> None:
    start, goal = (np.zeros(2), np.zeros(2)), np.array([1.0, 1.0])
    motions = accelerate_to(start, Target.rest(goal, 100), np.array([4.0, 10.0]), WIDE, DT)
    assert (motions.position <= goal + 1e-3).all()
    np.testing.assert_allclose(motions.position[:, -1], [goal, goal], atol=5e-3)
    assert (np.abs(motions.velocity) <= WIDE.bound + 1e-9).all()
    assert (np.abs(motions.acceleration * DT) <= WIDE.step + 1e-9).all()
    np.testing.assert_allclose(motions.velocity[..., 0], motions.velocity[..., 1], atol=1e-9)


def test_a_gain_of_zero_brakes() -> None:
    motions = accelerate_to(
        (np.zeros(2), np.array([1.0, -0.5])), Target.rest(np.ones(2), 60), np.array([8.0, 0.0]), WIDE, DT
    )
    np.testing.assert_allclose(motions.velocity[1, -1], 0.0, atol=1e-3)
    assert np.abs(motions.velocity[0]).max() > 0.5


def test_an_accelerating_target_is_followed_without_lag() -> None:
    times = DT * np.arange(1, 41)[:, None]
    target = Target(0.5 * times**2 * np.ones(2), times * np.ones(2))
    motions = accelerate_to((np.zeros(2), np.zeros(2)), target, np.array([8.0]), WIDE, DT)
    np.testing.assert_allclose(motions.position[0], target.position, atol=1e-9)


def test_the_integrators_response_is_the_simulation() -> None:
    acceleration = np.random.default_rng(0).normal(size=10)
    position, velocity, rows = 0.0, 0.0, []
    for value in acceleration:
        position, velocity = position + DT * velocity + 0.5 * DT**2 * value, velocity + DT * value
        rows.append(position)
    np.testing.assert_allclose(integrator_response(2, 10, DT)[1] @ acceleration, rows, atol=1e-12)


def test_torques_of_a_move_move_the_arm_so_also_under_torques_that_the_model_has_learned(arm: Arm) -> None:
    body, model = RigidBody(arm), RigidModel(RigidBody(arm), DT)
    limits = KnotLimits(0.3 * arm.velocity, 0.3 * arm.acceleration * DT)
    start = (arm.home, np.zeros(arm.joints))
    target = Target.rest(arm.home + 0.1 * (arm.box_upper - arm.home), 15)
    motions = accelerate_to(start, target, np.array([6.0]), limits, DT)
    learned = np.tile(0.05 * arm.effort, (15, 1))
    for extra in (None, learned):
        knots = torque_knots(body, motions, extra).effort[0]
        first = body.effort(*(row[None] for row in start), motions.acceleration[:, 0])[0]
        first = first if extra is None else first - extra[0]
        actions = mean_actions(knots[None], first)[0]
        position, velocity = start
        rows = []
        for step, action in enumerate(actions):
            position, velocity = model.advance(position, velocity, action if extra is None else action + extra[step])
            rows.append((position, velocity))
        predicted = tuple(np.array(part) for part in zip(*rows, strict=True))
        way = np.abs(target.position[-1] - arm.home).max()
        assert np.abs(predicted[0] - motions.position[0]).max() < 0.1 * way
        found = learned_torque(body, start, first, knots, predicted, DT)
        np.testing.assert_allclose(found, np.zeros_like(learned) if extra is None else learned, atol=1e-8)


@pytest.mark.parametrize("laps", [1, 2])
def test_the_figure_eight_is_closed_on_its_path_and_within_speeds(arm: Arm, laps: int) -> None:
    times, way = figure_eight(arm, 0.08, 5.0, laps, 1.0)
    assert times[-1] == pytest.approx(5.0 * laps + 1.0)
    for end in (0, -1):
        np.testing.assert_allclose(forward_kinematics(arm, way[end]), forward_kinematics(arm, arm.home), atol=2e-4)
    speed = np.diff(way, axis=0) / DT
    assert (np.abs(speed) <= arm.velocity).all()
    assert np.abs(speed[[0, -1]]).max() < 0.1 * np.abs(speed).max()
    tool = forward_kinematics(arm, way) - forward_kinematics(arm, arm.home)
    assert np.linalg.norm(tool, axis=1).max() == pytest.approx(0.08, rel=0.2)
    # Flat: a plane through home holds it, and its two axes are the amplitude and half of it.
    singular = np.linalg.svd(tool, compute_uv=False)
    assert singular[2] < 0.01 * singular[0]
    assert singular[1] == pytest.approx(0.5 * singular[0], rel=0.15)


def test_a_figure_eight_beyond_the_arm_is_refused_with_the_remedy(arm: Arm) -> None:
    with pytest.raises(ArmError, match="smaller or slower"):
        figure_eight(arm, 0.12, 1.0, 20, 0.2)
    with pytest.raises(ArmError, match="smaller or slower"):
        figure_eight(arm, 2.0, 20.0, 1, 1.0)


NO_FIGURES = {
    "amplitude": [(value, 5.0, 1) for value in (0.0, -0.1, np.nan, np.inf)],
    "period": [(0.1, value, 1) for value in (0.99, 0.0, -5.0, np.nan, np.inf)],
    "laps": [(0.1, 5.0, value) for value in (0, -1, 1.5, np.nan, np.inf)],
}


@pytest.mark.parametrize(("field", "figure"), [(name, row) for name, rows in NO_FIGURES.items() for row in rows])
def test_what_is_no_figure_is_refused_by_field_and_remedy(field: str, figure: tuple[float, float, int]) -> None:
    panda = load_arm(ROBOTS / "panda.yaml")
    with pytest.raises(ArmError, match=rf"panda: figure eight: {field}: .*; give "):
        figure_eight(panda, *figure, 1.0)


def test_the_shortest_period_that_is_accepted_still_closes_the_figure() -> None:
    panda = load_arm(ROBOTS / "panda.yaml")
    _, way = figure_eight(panda, 0.01, 50 * STEP_S, 1, 1.0)
    np.testing.assert_allclose(forward_kinematics(panda, way[-1]), forward_kinematics(panda, panda.home), atol=2e-4)


def test_a_moving_goal_is_read_at_the_time_of_each_step(arm: Arm) -> None:
    target = GoalTarget(arm, 0.05, 10, DT)
    times = np.array([0.0, 1.0, 2.0])
    way = np.stack([arm.home, arm.home + 0.1, arm.home - 0.1])
    stamp = 1_790_000_000_000_000_000
    goal = Goal(stamp, GoalKind.TRAJECTORY, np.zeros(3), arm.home, 1, times, way)
    target.take(goal, arm.home, stamp)
    ahead = target.ahead(stamp + 500_000_000)
    seconds = 0.5 + DT * np.arange(1, 11)
    np.testing.assert_allclose(ahead.joint, arm.home + 0.1 * seconds[:, None], atol=1e-9)
    np.testing.assert_allclose(ahead.target.velocity, 0.1, atol=1e-6)
    np.testing.assert_allclose(ahead.tool, forward_kinematics(arm, ahead.joint), atol=1e-9)
    for late in (-1_000_000_000, 5_000_000_000):
        held = target.ahead(stamp + late)
        np.testing.assert_allclose(held.joint, np.tile(way[0 if late < 0 else -1], (10, 1)))
        assert not held.target.velocity.any()


@pytest.mark.parametrize("kind", [GoalKind.TRAJECTORY, GoalKind.JOINT])
def test_a_goal_asked_for_again_after_an_arming_asks_the_same_of_the_same_times(kind: GoalKind) -> None:
    arm = load_arm(ROBOTS / "panda.yaml", CommandInterface.EFFORT)
    times, rows = figure_eight(arm, 0.12, 4.0, 2, 0.5)
    moving = (times, rows) if kind is GoalKind.TRAJECTORY else (None, None)
    first = Goal(10**18, kind, np.zeros(3), arm.home + 0.1, 1, *moving)
    again = renewed(first, 10**18 + 3_100_000_000, 2)
    assert (again.stamp_ns, again.sequence) == (10**18 + 3_100_000_000, 2)
    assert goal_refusal(again, again.stamp_ns, arm) == ""
    asked = []
    for goal in (first, again):
        target = GoalTarget(arm, 0.05, 12, DT)
        target.take(goal, arm.home, again.stamp_ns)
        asked.append([target.ahead(10**18 + ns) for ns in (3_100_000_000, 5_000_000_000, 9_000_000_000)])
    for one, other in zip(*asked, strict=True):
        np.testing.assert_allclose(one.joint, other.joint, atol=1e-9)
        np.testing.assert_allclose(one.tool, other.tool, atol=1e-9)
        np.testing.assert_allclose(one.target.velocity, other.target.velocity, atol=1e-6)
