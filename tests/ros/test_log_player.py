"""A log played over real DDS: every message, under the prefix, nothing under its own name."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from mbrl_control.cli.processes import free_domain
from mbrl_control.episode_log.rotation import FolderWriter
from mbrl_control.episode_log.schema import JOINT_STATES, PHASE
from mbrl_nodes.runtime import EVERY_MESSAGE_QOS, LATCHED_QOS
from tests.patience import HUNG_S, SLOW_S

pytestmark = [pytest.mark.ros, pytest.mark.timeout(SLOW_S)]
S = 1_000_000_000


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    with FolderWriter(folder) as writer:
        writer.add_topic("/arm/phase", PHASE.type)
        writer.add_topic("/arm/joint_states", JOINT_STATES.type)
        writer.write("/arm/phase", serialize_message(String(data="fresh")), S)
        for number in range(100):
            state = JointState(name=["elbow"], position=[float(number)])
            writer.write("/arm/joint_states", serialize_message(state), S + number * S // 100)
    return folder


def test_a_played_log_arrives_whole_under_the_prefix(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = free_domain()
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    node, executor = Node("listener", context=context), SingleThreadedExecutor(context=context)
    executor.add_node(node)
    heard: list[float] = []
    phases: list[str] = []
    names: set[str] = set()
    node.create_subscription(
        JointState, "/played/arm/joint_states", lambda m: heard.append(m.position[0]), EVERY_MESSAGE_QOS
    )
    node.create_subscription(String, "/played/arm/phase", lambda m: phases.append(m.data), LATCHED_QOS)
    command = [sys.executable, "-m", "mbrl_control.cli.main", "log", "play", str(log), "--rate", "0.2"]
    process = subprocess.Popen(command, env=os.environ | {"ROS_DOMAIN_ID": str(domain)})
    try:
        deadline = time.monotonic() + HUNG_S
        while process.poll() is None and time.monotonic() < deadline:
            for _ in range(20):  # one callback each
                executor.spin_once(timeout_sec=0.02)
            names |= {name for name, _ in node.get_topic_names_and_types()}
        assert process.poll() == 0
        for _ in range(200):
            executor.spin_once(timeout_sec=0.0)
    finally:
        process.kill()
        process.wait()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert phases == ["fresh"]
    # Best effort, and discovery takes its time: the beginning may be missing, nothing of the rest.
    assert heard
    assert heard == sorted(heard)
    assert heard[-1] == 99.0
    assert not any(name.startswith("/arm/") for name in names)
