"""A long motion costs a control cycle what a short one does; one that is too long is refused by name."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.kinematics import forward_kinematics
from mbrl_control.planning.goal_target import Ahead, GoalTarget
from mbrl_control.planning.goals import MOST_ROWS, goal_refusal
from mbrl_control.planning.kinematics import ToolKinematics
from mbrl_control.planning.proposals import rows_at
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import Goal, GoalKind
from tests.contract.planner_bench import MS, ROBOTS, T0

ARM = load_arm(ROBOTS / "panda.yaml")
HORIZON, DT_S = 15, 0.02


def motion(kind: GoalKind, rows: int) -> Goal:
    times = 0.01 * np.arange(rows, dtype=np.float64)
    joints = ARM.home + 0.1 * np.sin(times)[:, None] * np.linspace(1.0, 0.4, ARM.joints)
    path = joints if kind is GoalKind.TRAJECTORY else forward_kinematics(ARM, joints)
    return Goal(T0, kind, np.zeros(3), ARM.home, 1, times, path)


@pytest.mark.parametrize("kind", [GoalKind.TRAJECTORY, GoalKind.TOOL_TRAJECTORY])
def test_what_a_cycle_touches_of_a_motion_does_not_grow_with_it(kind: GoalKind) -> None:
    """By the memory that it takes, which every array of results needs."""
    short, long = (touched(motion(kind, rows)) for rows in (100, MOST_ROWS))
    assert long < 1.5 * short + 4096


def touched(goal: Goal) -> int:
    """Bytes at most of the cycle that takes the goal and of one that follows it."""
    target = GoalTarget(ARM, 0.05, HORIZON, DT_S)
    tracemalloc.start()
    try:
        one_cycle(target, goal, 100 * MS)
        one_cycle(target, goal, 120 * MS)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def one_cycle(target: GoalTarget, goal: Goal, after_ns: int) -> Ahead:
    if not target.holds(goal):
        target.take(goal, ARM.home, T0 + after_ns)
    return target.ahead(T0 + after_ns)


@pytest.mark.parametrize("name", ["planar", "panda", "ur5e"])
def test_the_tool_of_a_joint_motion_is_where_its_joints_put_it(name: str) -> None:
    arm: Arm = load_arm(ROBOTS / f"{name}.yaml")
    q = np.random.default_rng(0).uniform(arm.lower, arm.upper, (HORIZON, arm.joints))
    np.testing.assert_allclose(ToolKinematics(arm).tools(q), forward_kinematics(arm, q), atol=1e-12)
    goal = Goal(T0, GoalKind.TRAJECTORY, np.zeros(3), arm.home, 1, np.array([0.0, 1.0]), q[:2])
    target = GoalTarget(arm, 0.05, HORIZON, DT_S)
    ahead = one_cycle_of(target, goal, arm)
    np.testing.assert_allclose(ahead.tool, forward_kinematics(arm, ahead.joint), atol=1e-12)


def one_cycle_of(target: GoalTarget, goal: Goal, arm: Arm) -> Ahead:
    target.take(goal, arm.home, T0)
    return target.ahead(T0)


@given(
    st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=20),
    st.lists(st.floats(-2.0, 25.0), min_size=1, max_size=8),
    st.integers(0, 2**31),
)
def test_rows_between_times_are_those_of_linear_interpolation(gaps, seconds, seed: int) -> None:
    times = np.cumsum(gaps) - 0.5
    rows = np.random.default_rng(seed).normal(size=(len(times), 3))
    expected = np.stack([np.interp(seconds, times, column) for column in rows.T], axis=1)
    np.testing.assert_allclose(rows_at(np.array(seconds), times, rows), expected, atol=1e-9)


@pytest.mark.parametrize("kind", [GoalKind.TRAJECTORY, GoalKind.TOOL_TRAJECTORY])
def test_a_motion_of_ten_minutes_is_taken_and_a_longer_one_refused(kind: GoalKind) -> None:
    assert goal_refusal(motion(kind, MOST_ROWS), T0, ARM) == ""
    said = goal_refusal(motion(kind, MOST_ROWS + 1), T0, ARM)
    assert said.startswith("goal.trajectory: 60001 rows; at most 60000 are taken")
