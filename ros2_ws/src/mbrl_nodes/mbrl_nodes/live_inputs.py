"""What predictions are scored with: every belief, applied command and report of the relay, onto the tape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mbrl_msgs.msg import BeliefState as BeliefMsg
from mbrl_msgs.msg import RelayStatus
from mbrl_msgs.msg import SafeCommand as SafeCommandMsg
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from mbrl_control.live.tape import Tape
from mbrl_control.robot import Arm
from mbrl_nodes.convert import belief_from_msg, ns_from_stamp, safe_command_from_msg
from mbrl_nodes.polled import Polled
from mbrl_nodes.runtime import GraphNode

_DEPTH = 1000
"""As long as a bundle takes to load: 2 s and more of each stream."""
_STREAM_QOS = QoSProfile(reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=_DEPTH)
_REPORT_QOS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST,
    depth=_DEPTH,
)


class LiveInputs:
    """Subscriptions of one node; they belong to its control thread."""

    def __init__(self, node: GraphNode, arm: Arm) -> None:
        self.tape = Tape(arm)
        self.refused = 0
        """Messages that could not be read."""
        self._node, self._names = node, arm.joint_names
        self._readers: tuple[tuple[Polled, Callable[[Any], None]], ...] = (
            (Polled(node, BeliefMsg, "belief", _STREAM_QOS), self._believe),
            (Polled(node, SafeCommandMsg, "safe_command", _STREAM_QOS), self._apply),
            (Polled(node, RelayStatus, "relay_status", _REPORT_QOS), self._report),
        )

    def take(self) -> Tape:
        """The tape, up to what has come by now."""
        for subscription, read in self._readers:
            for message in subscription.drain():
                try:
                    read(message)
                except (ValueError, IndexError) as error:
                    self.refused += 1
                    self._node.get_logger().error(str(error), throttle_duration_sec=1.0)
        return self.tape

    def _believe(self, message: BeliefMsg) -> None:
        self.tape.believe(belief_from_msg(message, self._names))

    def _apply(self, message: SafeCommandMsg) -> None:
        self.tape.apply(safe_command_from_msg(message, self._names))

    def _report(self, message: RelayStatus) -> None:
        self.tape.report(ns_from_stamp(message.stamp), message.publishing and not message.dry_run)
