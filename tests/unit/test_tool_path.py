"""Joint positions along a path of the tool."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.kinematics import forward_kinematics
from mbrl_control.planning.figure_eight import figure_eight
from mbrl_control.planning.kinematics import ToolKinematics
from mbrl_control.planning.tool_path import ToolPath
from mbrl_control.robot import load_arm
from mbrl_control.signals import Goal, GoalKind

ARM = load_arm(Path(__file__).parents[2] / "sim/robots/panda.yaml")
DT = 0.02
HORIZON = DT * np.arange(1, 16)
TIMES, WAY = figure_eight(ARM, 0.1, 4.0, 1, 0.5)
GOAL = Goal(0, GoalKind.TOOL_TRAJECTORY, np.zeros(3), ARM.home, 1, TIMES, forward_kinematics(ARM, WAY))


def path_of(goal: Goal) -> ToolPath:
    return ToolPath(ARM, ToolKinematics(ARM), 0.05, DT, goal)


@pytest.mark.parametrize("period", [0.5 * DT, DT])
def test_the_joints_lead_the_tool_along_the_path_and_past_its_end(period: float) -> None:
    path = path_of(GOAL)
    path.begin(0.3 * DT, ARM.home)
    for now in np.arange(0.3 * DT, TIMES[-1] + 1.0, period):
        joints = path.joints(now + HORIZON)
        away = np.linalg.norm(forward_kinematics(ARM, joints) - path.tool(now + HORIZON), axis=1)
        assert away.max() < 1e-3
        assert np.abs(np.diff(joints, axis=0)).max() < 0.5 * ARM.velocity.max() * DT, "a leap"
        path.go_on()
        assert len(path._joints) < 25, "what has passed, and what is far ahead, is not kept"
    np.testing.assert_allclose(path.tool(now + HORIZON), np.tile(GOAL.trajectory[-1], (15, 1)))


@pytest.mark.parametrize("now", [0.1 * DT, 0.3 * DT, 0.7 * DT, 20.3 * DT])
def test_the_first_cycle_begins_once_and_half_a_step_before_the_horizon_is_known(now: float) -> None:
    """Joints for half a step before the first are asked for, too: the target's first velocity is their difference."""
    path = path_of(GOAL)
    path.begin(now, WAY[0])
    begun = path._joints[0]
    path.joints(now + HORIZON)
    assert path._joints[0] is begun
    assert path._first * DT <= now + 0.5 * DT
    before, first = path.joints(now + HORIZON[:1] - 0.5 * DT), path.joints(now + HORIZON[:1])
    assert np.abs(first - before).max() > 0.0


def test_between_two_cycles_the_next_ones_steps_are_found() -> None:
    path = path_of(GOAL)
    path.begin(0.0, ARM.home)
    path.joints(HORIZON)
    path.go_on()
    found = path._first + len(path._joints)
    path.joints(HORIZON + DT)
    assert path._first + len(path._joints) == found, "a cycle had to find steps within its budget"


def test_a_path_that_leaves_the_reach_says_how_far_it_is() -> None:
    assert GOAL.trajectory is not None
    path = path_of(replace(GOAL, trajectory=GOAL.trajectory + np.linspace(0.0, 1.0, len(TIMES))[:, None]))
    path.begin(0.0, ARM.home)
    path.joints(HORIZON)
    assert path.gap_m < 2e-3
    path.begin(TIMES[-1], ARM.home)
    path.joints(TIMES[-1] + HORIZON)
    assert path.gap_m > 0.3
