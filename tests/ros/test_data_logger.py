"""The logger alone, over real DDS: killed in the middle, started again, its log whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from mbrl_msgs.msg import SafetyStatus
from rclpy.context import Context
from rclpy.node import Node
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import JointState

from mbrl_control.cli.processes import free_domain
from mbrl_control.episode_log.folder import event_files, log_files
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.episode_log.recovery import log_info
from mbrl_control.episode_log.schema import JOINT_STATES, SAFETY_STATUS
from mbrl_nodes.runtime import LATCHED_QOS, STATE_QOS
from tests.patience import HUNG_S, SLOW_S

pytestmark = [pytest.mark.ros, pytest.mark.timeout(SLOW_S)]


@pytest.fixture
def environment() -> dict[str, str]:
    # With threads that numpy's libraries make at their import, which block no signal: one may be delivered to them.
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    return kept | {"ROS_DOMAIN_ID": str(free_domain()), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


@pytest.fixture
def publisher(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    context = Context()
    rclpy.init(context=context, domain_id=int(environment["ROS_DOMAIN_ID"]))
    node = Node("publisher", namespace="/arm", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def logger(log: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    """A started one, active."""
    arguments = ["--ros-args", "-r", "__ns:=/arm", "-p", f"path:={log}"]
    command = [sys.executable, "-m", "mbrl_nodes.data_logger", *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert '"active"' in process.stdout.readline()
    return process


def speak(node: Node, log: Path, wanted: int) -> None:
    """Publish numbered states, and a latched status, until the log holds ``wanted`` more of them."""
    states = node.create_publisher(JointState, "joint_states", STATE_QOS)
    node.create_publisher(SafetyStatus, "safety_status", LATCHED_QOS).publish(SafetyStatus(model_id="m/1"))
    before, deadline = count(log), time.monotonic() + HUNG_S
    number = 0
    while count(log) < before + wanted:
        assert time.monotonic() < deadline, "nothing arrives in the log"
        for _ in range(20):
            number += 1
            states.publish(JointState(name=["elbow"], position=[float(number)]))
            time.sleep(0.01)


def count(log: Path) -> int:
    return sum(1 for _ in LogReader(log).raw((JOINT_STATES,)))


def test_a_killed_logger_goes_on_where_it_was_and_leaves_a_whole_bag(
    tmp_path: Path, environment: dict[str, str], publisher: Node
) -> None:
    log = tmp_path / "log"
    first = logger(log, environment)
    speak(publisher, log, 100)
    first.send_signal(signal.SIGKILL)
    first.wait(HUNG_S)
    kept = [m.cdr for m in LogReader(log).raw()]
    second = logger(log, environment)
    speak(publisher, log, 100)
    second.send_signal(signal.SIGTERM)  # SIGINT is ignored by the children of a job in the background
    assert second.wait(HUNG_S) == 0
    assert len(log_files(log)) == 2
    assert log_info(log).finished, "the torn file, too"
    whole = [m.cdr for m in LogReader(log).raw()]
    assert whole[: len(kept)] == kept
    for path in log_files(log):
        numbers = [m.position[0] for _, _, m in LogReader(path).messages((JOINT_STATES,))]
        assert numbers == [numbers[0] + step for step in range(len(numbers))], "nothing lost in between"
    with Reader(log) as bag:
        assert bag.message_count == len(whole)
    events = [m.model_id for _, path in event_files(log) for _, _, m in LogReader(path).messages((SAFETY_STATUS,))]
    assert "m/1" in events
