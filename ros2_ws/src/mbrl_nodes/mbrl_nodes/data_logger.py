"""Logs every topic of the graph, serialized as received, into a folder of crash-safe MCAP files.

Log time and publish time of a message are those the middleware noted, so a played log keeps the graph's rhythm.

One own thread polls all subscriptions, another writes; between them stands a bounded backlog. A disk that stalls or is
full holds up the writer alone: what there is no room for is dropped, counted and said on `/diagnostics`, and rare
messages are kept in a ring of their own. Nothing here ever blocks the graph.
"""

from __future__ import annotations

import importlib
import threading
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from mbrl_control.episode_log.background import BackgroundWriter
from mbrl_control.episode_log.backlog import Received
from mbrl_control.episode_log.qos import offered_qos
from mbrl_control.episode_log.rotation import FolderWriter, Limits
from mbrl_control.episode_log.schema import CONTROLLER_COMMANDS, GRAPH_TOPICS, JOINT_STATES, QosClass, Topic
from mbrl_control.safety.controllers import ControllerInterface, kind_told
from mbrl_nodes.polled import Polled
from mbrl_nodes.runtime import GraphNode, run

DRAIN_PERIOD_S = 0.02
"""Draining in batches wakes the receiver 50 times a second instead of a thousand."""
MIB = 1024 * 1024
SUBSCRIPTION_DEPTH = 1000
"""4 s of the fastest topic."""


class DataLogger(GraphNode):
    """Subscribes raw to the graph; see the module's description."""

    def __init__(self) -> None:
        super().__init__("data_logger")
        self.declare("path", "", "folder of the log; made, or gone on in")
        self.declare("file_mib", 64, "a file of the log is closed beyond this size", (1, 4096))
        self.declare("quota_mib", 20480, "all files of the log together; the oldest go", (2, 2**24))
        self.declare("free_mib", 512, "with less left on the disk only events are kept", (0, 2**24))
        self.declare("state_topic", "joint_states", "measured state of the arm, as the other nodes have it")
        self.declare("controller_interface", "", "as of command_relay; empty: as the name tells, else velocity")
        self.declare("controller_name", "", "as of command_relay")
        self._inputs: list[tuple[str, bool, Polled]] = []
        self._log: BackgroundWriter | None = None
        self._receiving = threading.Event()
        self._receiver: threading.Thread | None = None
        self._log_failed = False
        self._overflows = 0
        self._lost = 0
        """As `trouble` last saw it."""

    def setup(self) -> None:
        path = self.get_parameter("path").value
        if not path:
            raise ValueError("data_logger: path: is empty; give the folder to write")
        sizes = {f"{name}_bytes": self.get_parameter(f"{name}_mib").value * MIB for name in ("file", "quota", "free")}
        writer = FolderWriter(Path(path), Limits(**sizes))
        for topic in self._topics():
            name, event = self.resolve_topic_name(topic.name), topic.qos is not QosClass.STREAM
            writer.add_topic(name, topic.type, qos=offered_qos(topic.qos), event=event)
            self._inputs.append((name, event, Polled(self, _message_class(topic), topic.name, _qos(topic), raw=True)))
        self._log = BackgroundWriter(writer, self.now_ns, self._fail)
        self._receiving.set()
        self._receiver = threading.Thread(target=self._receive, name="log_receiver", daemon=True)
        self._receiver.start()

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
        self._receiving.clear()
        if self._receiver is not None:
            self._receiver.join()
            self._receiver = None
        if self._log is not None:
            self._log.close()
            if self._log.fault:
                self.get_logger().error(self._log.fault)

    @property
    def failed(self) -> bool:
        return super().failed or self._log_failed

    def diagnose(self) -> dict[str, str]:
        if self._log is None:
            return {}
        log = self._log
        counts = {"written": log.written, "overflows": self._overflows, "removed_files": log.removed_files}
        counts["dropped_events"] = log.dropped_events
        dropped = {f"dropped {topic}": count for topic, count in sorted(log.dropped.items())}
        return {name: str(count) for name, count in (counts | dropped).items()}

    def trouble(self) -> str:
        if self._log is None or self._log.fault:
            return "" if self._log is None else self._log.fault
        before, self._lost = self._lost, sum(self._log.dropped.values()) + self._overflows
        return "messages are not logged: the disk or a processor is too slow" if self._lost > before else ""

    def _fail(self, reason: str) -> None:
        """Ends the logger, not the arm: the graph's supervisor sees the exit status."""
        self._log_failed = True
        self.get_logger().fatal("log cannot be written:\n" + reason)
        self.finish()

    def _receive(self) -> None:
        pause = threading.Event()
        try:
            while self._receiving.is_set():
                self._drain()
                pause.wait(DRAIN_PERIOD_S)
            self._drain()
        except Exception:
            self._fail(traceback.format_exc())

    def _drain(self) -> None:
        assert self._log is not None
        for name, event, subscription in self._inputs:
            messages = subscription.drain_stamped(self.graph_clock)
            # A full history has lost an unknown number of older messages.
            self._overflows += len(messages) >= SUBSCRIPTION_DEPTH
            for message in messages:
                times = message.received_ns, message.published_ns
                self._log.put(Received(name, message.content, *times, event))


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
