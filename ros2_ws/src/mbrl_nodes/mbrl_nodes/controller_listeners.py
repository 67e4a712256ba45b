"""Whether a controller listens on the command topic, as ROS sees it: a dry run looks too, and has no publisher."""

from __future__ import annotations

from mbrl_control.safety.controllers import ControllerInterface
from mbrl_nodes.patience import Patience
from mbrl_nodes.runtime import GraphNode

_ONLOOKERS = ("_ros2cli", "data_logger", "rosbag2")
"""Nodes that listen to a command topic without moving an arm, by the beginning of their names."""


class ControllerListeners:
    """Owned by the relay, and called from its executor's thread.

    A controller of ros2_controllers subscribes when it is configured: one that is inactive counts as listening.
    """

    def __init__(self, node: GraphNode, interface: ControllerInterface, name: str) -> None:
        self._node, self._name = node, name or interface.default_name
        self._topic = node.resolve_topic_name(interface.topic(name))
        self._patience = Patience()
        self.names: tuple[str, ...] = ()
        """Nodes that listen and may move an arm, at the last look."""

    def look(self) -> str:
        """To be called once a second: what is wrong with the listeners, empty when nothing is."""
        names = [info.node_name for info in self._node.get_subscriptions_info_by_topic(self._topic)]
        self.names = tuple(sorted(name for name in names if not name.startswith(_ONLOOKERS)))
        if not self._patience.ends(bool(self.names)):
            return ""
        return (
            f"no controller listens on {self._topic}: the arm does not move; start it: ros2 run controller_manager "
            f"spawner {self._name}, or set controller_name; `ros2 control list_controllers` shows what there is, and "
            "whether it is active: an inactive controller listens too"
        )
