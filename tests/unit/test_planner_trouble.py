"""What the planner's node has somebody look at: a joint that is pushed too hard, a goal that cannot be followed."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from mbrl_control.cli.locations import arm_file
from mbrl_control.robot import load_arm
from mbrl_control.signals import Goal, GoalKind
from mbrl_nodes.convert import goal_to_msg
from mbrl_nodes.goal_input import GoalInput
from mbrl_nodes.mpc_planner import MpcPlanner

ARM = load_arm(arm_file("planar"))
ARMED_NS = 5 * 10**9


class Listener:
    """A node as a goal's subscription needs it."""

    def __init__(self) -> None:
        self.now = 0
        self.receive: Callable[[Any], None] = lambda _: None

    def create_subscription(self, _: type, __: str, receive: Callable[[Any], None], ___: Any) -> None:
        self.receive = receive

    def now_ns(self) -> int:
        return self.now

    def send(self, stamp_ns: int, at_ns: int) -> None:
        self.now = at_ns
        goal = Goal(stamp_ns, GoalKind.JOINT, np.zeros(3), ARM.home, 1)
        self.receive(goal_to_msg(goal, ARM.joint_names, ARM.base_frame, ""))


def trouble(goals: GoalInput, overloaded: tuple[str, ...], gap_m: float = 0.0) -> str:
    node: Any = SimpleNamespace(
        _planner=SimpleNamespace(overloaded=overloaded, goal_gap_m=gap_m),
        _goals=goals,
        _inputs=SimpleNamespace(armed_ns=ARMED_NS),
    )
    return MpcPlanner.trouble(node)


def heard(stamp_ns: int, at_ns: int) -> GoalInput:
    node: Any = Listener()
    goals = GoalInput(node, ARM)
    node.send(stamp_ns, at_ns)
    return goals


@pytest.mark.parametrize(("gap_m", "word"), [(0.004, ""), (0.035, "35 mm away")])
def test_a_goal_that_no_joints_meet_is_told_with_its_distance(gap_m: float, word: str) -> None:
    said = trouble(heard(ARMED_NS, ARMED_NS), (), gap_m)
    assert word in said
    assert bool(said) == bool(word)


def test_joints_that_are_pushed_too_hard_are_named() -> None:
    said = trouble(heard(ARMED_NS, ARMED_NS), ("elbow", "wrist"))
    assert said.startswith("elbow, wrist: more torque acts there")
    assert "stop and look" in said


@pytest.mark.parametrize(
    ("stamp_ns", "at_ns", "told"),
    [
        (0, ARMED_NS + 1, True),
        (ARMED_NS - 1, ARMED_NS + 1, True),
        (ARMED_NS, ARMED_NS + 1, False),
        (ARMED_NS - 2, ARMED_NS - 1, False),
    ],
    ids=["without a stamp", "stamped before", "in order", "of before the arming"],
)
def test_a_goal_that_came_after_the_arming_and_is_not_followed_is_told(stamp_ns: int, at_ns: int, told: bool) -> None:
    said = trouble(heard(stamp_ns, at_ns), ())
    assert ("stamped before the last arming" in said) is told
    assert bool(said) is told
