"""joint_states as drivers publish them: more joints, any order, fields that are missing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy")

from sensor_msgs.msg import JointState

from mbrl_control.planning.goals import goal_refusal
from mbrl_control.signals import Array, CommandInterface, Goal, GoalKind, Plan, PlanOutcome, PlanReport
from mbrl_nodes.convert import (
    JointNameError,
    goal_from_msg,
    goal_to_msg,
    plan_from_msg,
    plan_to_msg,
    report_to_msg,
    sample_from_joint_state,
)

NAMES = ("a", "b", "c")
ARM: Any = SimpleNamespace(joint_names=NAMES, lower=np.full(3, -3.0), upper=np.full(3, 3.0))
"""As far as a goal for the joints looks at it."""
VALUES = {"a": 1.0, "b": 2.0, "c": 3.0, "finger_left": 0.01, "finger_right": 0.02}


def state(names: list[str], velocity: bool = True, effort: bool = True) -> JointState:
    rows = {"position": 1.0, **({"velocity": 10.0} if velocity else {}), **({"effort": 100.0} if effort else {})}
    return JointState(name=names, **{field: [VALUES[n] * factor for n in names] for field, factor in rows.items()})


@given(st.permutations(list(VALUES)))
def test_joints_go_by_name_in_any_order_with_a_gripper_among_them(names: list[str]) -> None:
    sample = sample_from_joint_state(state(names), NAMES)
    np.testing.assert_array_equal(sample.position, [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(sample.velocity, [10.0, 20.0, 30.0])
    np.testing.assert_array_equal(sample.effort, [100.0, 200.0, 300.0])


def test_a_missing_effort_is_unknown_and_a_missing_velocity_is_refused_with_the_remedy() -> None:
    assert np.isnan(sample_from_joint_state(state([*NAMES], effort=False), NAMES).effort).all()
    with pytest.raises(JointNameError, match=r"3 positions and 0 velocities.*joint_state_broadcaster"):
        sample_from_joint_state(state([*NAMES], velocity=False), NAMES)


def test_a_message_of_other_joints_names_those_that_are_missing() -> None:
    with pytest.raises(JointNameError, match=r"joints \['c'\] are missing.*finger_left"):
        sample_from_joint_state(state(["a", "finger_left", "b"]), NAMES)


def test_a_moving_goal_comes_back_in_the_receivers_joint_order() -> None:
    times, rows = np.array([0.0, 0.5, 2.0]), 0.1 * np.arange(9.0).reshape(3, 3)
    goal = Goal(5_000_000_001, GoalKind.TRAJECTORY, np.zeros(3), np.array([1.0, 2.0, 3.0]), 7, times, rows)
    back = goal_from_msg(goal_to_msg(goal, NAMES, "base", "phase/0"), ("c", "a", "b"))
    assert (back.stamp_ns, back.kind, back.sequence) == (goal.stamp_ns, goal.kind, 7)
    np.testing.assert_array_equal(back.times, times)
    np.testing.assert_array_equal(back.trajectory, rows[:, [2, 0, 1]])
    assert goal_refusal(back, goal.stamp_ns, ARM) == ""


def test_a_path_of_the_tool_comes_back_as_it_was_sent() -> None:
    times, rows = np.array([0.0, 0.5]), np.array([[0.3, 0.2, 0.5], [0.4, 0.1, 0.5]])
    goal = Goal(5_000_000_001, GoalKind.TOOL_TRAJECTORY, np.zeros(3), np.array([1.0, 2.0, 3.0]), 7, times, rows)
    back = goal_from_msg(goal_to_msg(goal, NAMES, "base", ""), ("c", "a", "b"))
    assert back.kind is GoalKind.TOOL_TRAJECTORY
    np.testing.assert_array_equal(back.joint, [3.0, 1.0, 2.0])
    np.testing.assert_array_equal(back.trajectory, rows)


@pytest.mark.parametrize("joint", [[], [1.0, 2.0]])
def test_a_goal_without_a_posture_for_every_joint_is_refused_by_name(joint: list[float]) -> None:
    msg = goal_to_msg(Goal(0, GoalKind.POSE, np.zeros(3), np.zeros(3), 1), NAMES, "base", "")
    msg.joint = joint
    with pytest.raises(ValueError, match=rf"goal\.joint: {len(joint)} values for 3 joint names"):
        goal_from_msg(msg, NAMES)


@pytest.mark.parametrize("spoil", ["row", "order", "nan"])
def test_a_spoilt_trajectory_is_refused_by_name(spoil: str) -> None:
    times, rows = np.array([0.0, 0.5, 2.0]), 0.1 * np.arange(9.0).reshape(3, 3)
    goal = Goal(0, GoalKind.TRAJECTORY, np.zeros(3), np.zeros(3), 1, times, rows)
    msg = goal_to_msg(goal, NAMES, "base", "")
    if spoil == "row":
        msg.trajectory.pop()
    elif spoil == "order":
        msg.trajectory_times[2] = 0.5
    else:
        msg.trajectory[4] = float("nan")
    assert goal_refusal(goal_from_msg(msg, NAMES), 0, ARM).startswith("goal.trajectory")


@pytest.mark.parametrize("interface", list(CommandInterface))
def test_the_interface_goes_there_and_back_and_an_unknown_number_is_refused(interface: CommandInterface) -> None:
    zeros = np.zeros((2, 3))
    plan = Plan(
        1, 2, 3, 4, 5, 6, PlanOutcome.OPTIMIZED, "m/1", NAMES, np.array([0.0, 0.02]), zeros + 1.0, zeros, zeros, zeros,
        np.zeros((2, 9)), np.zeros(2), interface,
    )  # fmt: skip
    msg = plan_to_msg(plan)
    assert plan_from_msg(msg).interface is interface
    msg.interface = 2
    with pytest.raises(ValueError, match=r"interface: 2 is unknown; send VELOCITY or EFFORT"):
        plan_from_msg(msg)


@pytest.mark.parametrize("disturbance", [np.array([1.5, -2.0]), None])
def test_a_report_tells_the_torque_that_a_plan_was_made_with(disturbance: Array | None) -> None:
    facts = (
        3,
        10**18,
        PlanOutcome.OPTIMIZED,
        "m/1",
        1,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        1.0,
        (),
        "mppi",
        "cpu, 2 lanes",
        0.015,
        0.02,
    )
    report = PlanReport(*facts, disturbance)
    message = report_to_msg(report, None, 10**18)
    assert list(message.disturbance) == ([] if disturbance is None else [1.5, -2.0])
    assert (message.method, message.rollouts, message.delay, message.goal_gap) == ("mppi", "cpu, 2 lanes", 0.015, 0.02)
