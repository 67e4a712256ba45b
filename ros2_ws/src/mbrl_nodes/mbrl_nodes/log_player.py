"""Plays a log in its own rhythm, under a prefix: `/played/arm/joint_states`.

Never under the names of the log: a controller that runs would take the played commands for the relay's.
"""

from __future__ import annotations

import importlib
import threading
import traceback
from pathlib import Path
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from mbrl_control.episode_log.playback import (
    Due,
    Playback,
    channels,
    pace,
    played,
    qos_of,
    require_same_layout,
    under,
)
from mbrl_control.episode_log.reader import Channel, LogReader
from mbrl_control.episode_log.schema import QosClass
from mbrl_nodes.runtime import GraphNode, run

DISCOVERY_S = 1.0
"""Whoever waits for the topics finds them in this time; what is sent before is lost to best-effort readers. Once more
at the end: latched messages reach those who come as late."""
LATE_S = 0.1


class LogPlayer(GraphNode):
    """Ends its process when the log has ended."""

    def __init__(self) -> None:
        super().__init__("log_player")
        self.declare("log", "", "folder of the log, or one MCAP file")
        self.declare("rate", 1.0, "of the log's own rhythm", (0.01, 100.0))
        self.declare("start", 0.0, "s after the first message", (0.0, 1.0e7))
        self.declare("seconds", 0.0, "s of the log to play; 0: to its end", (0.0, 1.0e7))
        self.declare("topics", [""], "only these; empty: all")
        self.declare("prefix", "played", "put before every name; begins with `played`")
        self._senders: dict[str, Any] = {}
        self._ending = threading.Event()
        self._player: threading.Thread | None = None
        self._counts = {"played": 0, "late": 0}
        self._failed = False

    def setup(self) -> None:
        path = self.get_parameter("log").value
        if not path:
            raise ValueError("log_player: log: is empty; give the folder of a log")
        self._reader = LogReader(Path(path), skip_damaged=True)
        topics = tuple(topic for topic in self.get_parameter("topics").value if topic)
        self._wanted = Playback(self.get_parameter("start").value, self.get_parameter("seconds").value, topics)
        for channel in channels(self._reader, self._wanted):
            self._sender(channel)

    def start(self) -> None:
        self._player = threading.Thread(target=self._play, name="log_player", daemon=True)
        self._player.start()

    def stop(self) -> None:
        self._ending.set()
        if self._player is not None:
            self._player.join()

    @property
    def failed(self) -> bool:
        return super().failed or self._failed

    def diagnose(self) -> dict[str, str]:
        return {name: str(count) for name, count in self._counts.items()}

    def _play(self) -> None:
        try:
            self._ending.wait(DISCOVERY_S)
            left = pace(self.get_parameter("rate").value, self.now_ns)
            for due in played(self._reader, self._wanted):
                wait = left(due)
                if self._ending.wait(max(0.0, wait)):
                    return
                self._counts["late"] += wait < -LATE_S
                self._send(due)
            self._ending.wait(DISCOVERY_S)
            self.get_logger().info(f"the log has ended: {self._counts}")
        except Exception:
            self._failed = True
            self.get_logger().fatal("the log cannot be played:\n" + traceback.format_exc())
        self.finish()

    def _send(self, due: Due) -> None:
        self._sender(due.message.channel).publish(due.message.cdr)
        self._counts["played"] += 1

    def _sender(self, channel: Channel) -> Any:
        name = under(self.get_parameter("prefix").value, channel.topic)
        if name not in self._senders:
            require_same_layout(channel)
            package, _, kind = channel.type.split("/")
            message = getattr(importlib.import_module(f"{package}.msg"), kind)
            self._senders[name] = self.create_publisher(message, name, _qos(qos_of(channel.topic)))
        return self._senders[name]


def _qos(kind: QosClass) -> QoSProfile:
    latched = kind is QosClass.LATCHED
    return QoSProfile(
        depth=1 if latched else 100,
        reliability=ReliabilityPolicy.BEST_EFFORT if kind is QosClass.STREAM else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def main() -> None:
    """Process entry."""
    run(LogPlayer)


if __name__ == "__main__":
    main()
