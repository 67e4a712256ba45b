"""What every publisher of plans listens to: the newest belief and all applied commands.

The control thread reads them at the start of its cycle.
"""

from __future__ import annotations

from mbrl_msgs.msg import BeliefState as BeliefMsg
from mbrl_msgs.msg import SafeCommand as SafeCommandMsg

from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.robot import Arm
from mbrl_control.signals import BeliefState, SafeCommand
from mbrl_nodes.convert import belief_from_msg, safe_command_from_msg
from mbrl_nodes.polled import Polled
from mbrl_nodes.runtime import EVERY_MESSAGE_QOS, STATE_QOS, GraphNode

AHEAD_NS = 50_000_000
"""A command stamped further ahead is none of this graph's: it would shut out all that come before its time."""


class PlanInputs:
    """Subscriptions of one node; they belong to its control thread."""

    def __init__(self, node: GraphNode, arm: Arm) -> None:
        self.history = CommandHistory(arm.joints)
        self.following = False
        """The guard samples plans now."""
        self.armed_ns = 0
        """Time of the first command after the guard's last arming."""
        self._epoch: int | None = None
        self._arm = arm
        self._belief: BeliefState | None = None
        self._node = node
        self.refused = 0
        """Messages that could not be read."""
        self._beliefs = Polled(node, BeliefMsg, "belief", STATE_QOS)
        self._commands = Polled(node, SafeCommandMsg, "safe_command", EVERY_MESSAGE_QOS)

    def take(self) -> BeliefState | None:
        """Bring the history up to date and return the newest belief (None before the first)."""
        for received in self._commands.drain():
            try:
                command = safe_command_from_msg(received, self._arm.joint_names)
                self._append(command)
            except (ValueError, IndexError) as error:
                self.refuse(f"safe_command: {error}")
                continue
            self.following = command.plan_sequence != 0
            if command.epoch != self._epoch:
                self._epoch, self.armed_ns = command.epoch, command.stamp_ns
        newest = self._beliefs.newest()
        if newest is not None:
            try:
                self._belief = belief_from_msg(newest, self._arm.joint_names)
            except (ValueError, IndexError) as error:
                self.refuse(f"belief: {error}")
        return self._belief

    def _append(self, command: SafeCommand) -> None:
        """Raises ValueError for one that has no place in the history."""
        ahead_ns = command.stamp_ns - self._node.now_ns()
        if ahead_ns > AHEAD_NS:
            raise ValueError(f"stamp: {ahead_ns * 1e-9:.3f} s in the future; publishers share the graph's clock")
        if not self.history.append(command.stamp_ns, command.applied):
            raise ValueError("stamp: not after that of the command before; one guard publishes them, in order")

    def refuse(self, reason: str) -> None:
        """Count a message that cannot be used, and say why."""
        # The last good value grows old, and age is judged by the planner and the guard.
        self.refused += 1
        self._node.get_logger().error(reason, throttle_duration_sec=1.0)
