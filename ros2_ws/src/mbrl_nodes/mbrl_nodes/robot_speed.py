"""The guard's ear for the robot's own speed scaling."""

from __future__ import annotations

from std_msgs.msg import Float64

from mbrl_control.safety.guard_core import GuardCore
from mbrl_control.safety.speed_scaling import SpeedScaling, impose
from mbrl_nodes.polled import Polled
from mbrl_nodes.runtime import STATE_QOS, GraphNode


class RobotSpeed:
    """Belongs to the guard's control thread. Without a topic it does nothing."""

    def __init__(self, node: GraphNode, topic: str, scale: float) -> None:
        self._messages = Polled(node, Float64, topic, STATE_QOS) if topic else None
        self._scale = scale
        """The guard's own parameter, which the robot's share multiplies."""
        self._heard = SpeedScaling()

    def apply(self, core: GuardCore, now_ns: int) -> None:
        """Before every tick."""
        if self._messages is None:
            return
        message = self._messages.newest()
        if message is not None:
            self._heard = SpeedScaling(message.data, now_ns)
        impose(core, self._heard, self._scale, now_ns)
