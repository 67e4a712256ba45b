"""Logs every topic of the graph, serialized as received, into one crash-safe MCAP file.

Log time and publish time of a message are those the middleware noted, so a played log keeps the graph's rhythm.

One own thread polls all subscriptions and writes. What a stalled disk keeps from being read in time is dropped by
the depth of the subscriptions, so a stall never blocks the graph or grows without bound.
"""

from __future__ import annotations

import importlib
import threading
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from mbrl_control.episode_log.schema import CONTROLLER_COMMANDS, GRAPH_TOPICS, JOINT_STATES, QosClass, Topic
from mbrl_control.episode_log.writer import LogWriter
from mbrl_control.safety.controllers import ControllerInterface, kind_told
from mbrl_nodes.polled import Polled
from mbrl_nodes.runtime import GraphNode, run

DRAIN_PERIOD_S = 0.02
"""Draining in batches wakes the writer 50 times a second instead of a thousand."""
SUBSCRIPTION_DEPTH = 1000
"""4 s of the fastest topic."""


class DataLogger(GraphNode):
    """Subscribes raw to the graph; see the module's description."""

    def __init__(self) -> None:
        super().__init__("data_logger")
        self.declare("path", "", "new MCAP file to write")
        self.declare("state_topic", "joint_states", "measured state of the arm, as the other nodes have it")
        self.declare("controller_interface", "", "as of command_relay; empty: as the name tells, else velocity")
        self.declare("controller_name", "", "as of command_relay")
        self._inputs: list[tuple[str, Polled]] = []
        self._writer: LogWriter | None = None
        self._writing = threading.Event()
        self._writer_thread: threading.Thread | None = None
        self._write_failed = False
        self._written = 0
        self._overflows = 0

    def setup(self) -> None:
        path = self.get_parameter("path").value
        if not path:
            raise ValueError("data_logger: path: is empty; give the file to write")
        self._writer = LogWriter(Path(path))
        for topic in self._topics():
            name = self.resolve_topic_name(topic.name)
            self._writer.add_topic(name, topic.type)
            self._inputs.append((name, Polled(self, _message_class(topic), topic.name, _qos(topic), raw=True)))
        self._writing.set()
        self._writer_thread = threading.Thread(target=self._write, name="log_writer", daemon=True)
        self._writer_thread.start()

    def _topics(self) -> tuple[Topic, ...]:
        """Those of the graph, with state and controller as this graph has them."""
        kind, name = (self.get_parameter(key).value for key in ("controller_interface", "controller_name"))
        interface = ControllerInterface(kind or kind_told(name) or "velocity")
        commands = interface.topic(name)
        changed = {
            JOINT_STATES: replace(JOINT_STATES, name=self.get_parameter("state_topic").value),
            CONTROLLER_COMMANDS: replace(CONTROLLER_COMMANDS, name=commands, type=interface.message_type),
        }
        return tuple(changed.get(topic, topic) for topic in GRAPH_TOPICS)

    def release(self) -> None:
        self._writing.clear()
        if self._writer_thread is not None:
            self._writer_thread.join()
            self._writer_thread = None

    @property
    def failed(self) -> bool:
        return super().failed or self._write_failed

    def diagnose(self) -> dict[str, str]:
        return {"written": str(self._written), "overflows": str(self._overflows)}

    def _write(self) -> None:
        pause = threading.Event()
        writer = self._writer
        assert writer is not None
        try:
            with writer:
                while self._writing.is_set():
                    self._drain(writer)
                    writer.flush_if_due(self.now_ns())
                    pause.wait(DRAIN_PERIOD_S)
                self._drain(writer)
        except Exception:
            # A full disk, say, ends the logger, not the arm: the graph's supervisor sees the exit status.
            self._write_failed = True
            self.get_logger().fatal("log cannot be written:\n" + traceback.format_exc())
            self.finish()

    def _drain(self, writer: LogWriter) -> None:
        for name, subscription in self._inputs:
            messages = subscription.drain_stamped(self.graph_clock)
            # A full history has lost an unknown number of older messages.
            self._overflows += len(messages) >= SUBSCRIPTION_DEPTH
            for message in messages:
                writer.write(name, message.content, message.received_ns, message.published_ns)
            self._written += len(messages)


def _qos(topic: Topic) -> QoSProfile:
    """Best effort matches every publisher; only latched topics ask for reliable, to get the last value late."""
    latched = topic.qos is QosClass.LATCHED
    return QoSProfile(
        reliability=ReliabilityPolicy.RELIABLE if latched else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        history=HistoryPolicy.KEEP_LAST,
        depth=SUBSCRIPTION_DEPTH,
    )


def _message_class(topic: Topic) -> Any:
    package, _, name = topic.type.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), name)


def main() -> None:
    """Process entry."""
    run(DataLogger)


if __name__ == "__main__":
    main()
