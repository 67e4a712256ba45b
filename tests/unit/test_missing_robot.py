"""A robot that is not there, seen by real nodes in this process: no driver speaks, no controller listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from mbrl_control.cadence import Tick
from mbrl_control.cli.locations import arm_file
from mbrl_nodes.command_relay import CommandRelay
from mbrl_nodes.patience import FIRST_LOOKS, LOOKS, Patience
from mbrl_nodes.runtime import GraphNode
from mbrl_nodes.state_estimator import StateEstimator

COMMANDS = "/forward_velocity_controller/commands"


@contextmanager
def configured(kind: type[GraphNode], **given: object) -> Iterator[tuple[GraphNode, Node]]:
    """A node that is set up and never started, and another one beside it."""
    words = [
        word for name, value in ({"arm": arm_file("planar")} | given).items() for word in ("-p", f"{name}:={value}")
    ]
    rclpy.init(args=["--ros-args", *words])
    try:
        node, other = kind(), rclpy.create_node("arm_side")
        try:
            node.setup()
            yield node, other
        finally:
            node.destroy_node()
            other.destroy_node()
    finally:
        rclpy.try_shutdown()


@pytest.mark.parametrize("first", [False, True])
def test_patience_is_longer_before_the_first_sign(first: bool) -> None:
    patience = Patience()
    assert not (first and patience.ends(True))
    granted = LOOKS if first else FIRST_LOOKS
    assert [patience.ends(False) for _ in range(granted + 1)] == [False] * (granted - 1) + [True, True]
    assert not patience.ends(True)


@pytest.mark.parametrize("dry_run", [True, False])
def test_the_relay_misses_a_controller_also_in_a_dry_run_which_has_no_publisher(dry_run: bool) -> None:
    with configured(CommandRelay, dry_run=dry_run) as (relay, other):
        assert relay.count_publishers(COMMANDS) == (0 if dry_run else 1)
        said = [relay.trouble() for _ in range(FIRST_LOOKS)]
        assert not any(said[:-1])
        for words in (COMMANDS, "spawner forward_velocity_controller", "an inactive controller listens too"):
            assert words in said[-1]
        other.create_subscription(Float64MultiArray, COMMANDS, lambda _: None, 1)
        while relay.trouble():
            pass  # until the middleware has told of it; the test's own time limit ends a wait in vain
        assert relay.diagnose()["listeners"] == "arm_side"


def test_the_estimator_misses_the_driver_by_topic_and_remedy() -> None:
    with configured(StateEstimator, state_topic="franka/joint_states") as (estimator, other):
        assert isinstance(estimator, StateEstimator)
        said = [estimator.trouble() for _ in range(FIRST_LOOKS)]
        assert not any(said[:-1])
        assert "no joint_states on /franka/joint_states for" in said[-1]
        assert "start the robot's driver, or set state_topic" in said[-1]
        driver = other.create_publisher(JointState, "franka/joint_states", qos_profile_sensor_data)
        while estimator.trouble():
            driver.publish(JointState())
            estimator._tick(Tick(0, 0, 0, 0))
