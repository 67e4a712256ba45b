"""Logs every topic of the graph, serialized as received, into one crash-safe MCAP file.

The callbacks only queue bytes; one own thread writes. A full queue drops the newest message and counts it,
so a stalled disk never blocks the graph or grows without bound.
"""

from __future__ import annotations

import importlib
import threading
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from mbrl_control.episode_log.schema import GRAPH_TOPICS, QosClass, Topic
from mbrl_control.episode_log.writer import LogWriter
from mbrl_nodes.runtime import GraphNode, run

QUEUE_LIMIT = 20_000
"""About 20 s of the whole graph."""
DRAIN_PERIOD_S = 0.02
"""Draining in batches wakes the writer 50 times a second instead of a thousand."""
SUBSCRIPTION_DEPTH = 200


class DataLogger(GraphNode):
    """Subscribes raw to the graph; see the module's description."""

    def __init__(self) -> None:
        super().__init__("data_logger")
        self.declare("path", "", "new MCAP file to write")
        self._queue: deque[tuple[str, bytes, int]] = deque()
        self._writer: LogWriter | None = None
        self._writing = threading.Event()
        self._writer_thread: threading.Thread | None = None
        self._write_failed = False
        self._written = 0
        self._dropped = 0

    def setup(self) -> None:
        path = self.get_parameter("path").value
        if not path:
            raise ValueError("data_logger: path: is empty; give the file to write")
        self._writer = LogWriter(Path(path))
        for topic in GRAPH_TOPICS:
            name = self.resolve_topic_name(topic.name)
            self._writer.add_topic(name, topic.type)
            self.create_subscription(_message_class(topic), topic.name, self._queue_as(name), _qos(topic), raw=True)
        self._writing.set()
        self._writer_thread = threading.Thread(target=self._write, name="log_writer", daemon=True)
        self._writer_thread.start()

    def release(self) -> None:
        self._writing.clear()
        if self._writer_thread is not None:
            self._writer_thread.join()
            self._writer_thread = None

    @property
    def failed(self) -> bool:
        return super().failed or self._write_failed

    def diagnose(self) -> dict[str, str]:
        return {"written": str(self._written), "dropped": str(self._dropped), "queued": str(len(self._queue))}

    def _queue_as(self, name: str) -> Callable[[bytes], None]:
        def receive(cdr: bytes) -> None:
            if len(self._queue) >= QUEUE_LIMIT:
                self._dropped += 1
            else:
                self._queue.append((name, cdr, self.now_ns()))

        return receive

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
        except OSError:
            # A full disk ends the logger, not the arm: the graph's supervisor sees the exit status.
            self._write_failed = True
            self.get_logger().fatal("log cannot be written:\n" + traceback.format_exc())
            self.context.try_shutdown()

    def _drain(self, writer: LogWriter) -> None:
        while self._queue:
            name, cdr, received_ns = self._queue.popleft()
            writer.write(name, cdr, received_ns)
            self._written += 1


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
