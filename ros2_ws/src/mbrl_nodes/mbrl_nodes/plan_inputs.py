"""What every publisher of plans listens to: the newest belief and all applied commands.

The control thread reads them at the start of its cycle.
"""

from __future__ import annotations

from mbrl_msgs.msg import BeliefState as BeliefMsg
from mbrl_msgs.msg import SafeCommand as SafeCommandMsg

from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.robot import Arm
from mbrl_control.signals import BeliefState
from mbrl_nodes.convert import belief_from_msg, safe_command_from_msg
from mbrl_nodes.runtime import EVERY_MESSAGE_QOS, STATE_QOS, GraphNode, Polled


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
        self._belief: BeliefMsg | None = None
        self._beliefs = Polled(node, BeliefMsg, "belief", STATE_QOS)
        self._commands = Polled(node, SafeCommandMsg, "safe_command", EVERY_MESSAGE_QOS)

    def take(self) -> BeliefState | None:
        """Bring the history up to date and return the newest belief (None before the first)."""
        for received in self._commands.drain():
            command = safe_command_from_msg(received, self._arm.joint_names)
            self.history.append(command.stamp_ns, command.applied)
            self.following = command.plan_sequence != 0
            if command.epoch != self._epoch:
                self._epoch, self.armed_ns = command.epoch, command.stamp_ns
        self._belief = self._beliefs.newest() or self._belief
        return None if self._belief is None else belief_from_msg(self._belief, self._arm.joint_names)
