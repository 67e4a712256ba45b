"""What every publisher of plans listens to: the newest belief and all applied commands.

Callbacks (main thread) only store; the control thread takes the values over at the start of its cycle.
"""

from __future__ import annotations

from collections import deque

from mbrl_msgs.msg import BeliefState as BeliefMsg
from mbrl_msgs.msg import SafeCommand as SafeCommandMsg
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.robot import Arm
from mbrl_control.signals import BeliefState
from mbrl_nodes.convert import belief_from_msg, safe_command_from_msg
from mbrl_nodes.runtime import STATE_QOS, GraphNode

EVERY_COMMAND_QOS = QoSProfile(reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=50)
"""Deep, because the history needs each command; best effort matches any publisher."""


class PlanInputs:
    """Subscriptions of one node; only ``take`` and the attributes belong to the control thread."""

    def __init__(self, node: GraphNode, arm: Arm) -> None:
        self.history = CommandHistory(arm.joints)
        self.following = False
        """The guard samples plans now."""
        self.armed_ns = 0
        """Time of the first command after the guard's last arming."""
        self._epoch: int | None = None
        self._arm = arm
        self._belief: BeliefMsg | None = None
        self._commands: deque[SafeCommandMsg] = deque(maxlen=512)
        node.create_subscription(BeliefMsg, "belief", self._on_belief, STATE_QOS)
        node.create_subscription(SafeCommandMsg, "safe_command", self._on_command, EVERY_COMMAND_QOS)

    def take(self) -> BeliefState | None:
        """Bring the history up to date and return the newest belief (None before the first)."""
        while self._commands:
            command = safe_command_from_msg(self._commands.popleft(), self._arm.joint_names)
            self.history.append(command.stamp_ns, command.applied)
            self.following = command.plan_sequence != 0
            if command.epoch != self._epoch:
                self._epoch, self.armed_ns = command.epoch, command.stamp_ns
        message = self._belief
        return None if message is None else belief_from_msg(message, self._arm.joint_names)

    def _on_belief(self, message: BeliefMsg) -> None:
        self._belief = message

    def _on_command(self, message: SafeCommandMsg) -> None:
        self._commands.append(message)
