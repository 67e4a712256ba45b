"""The relay's way to the arm's controller, of whatever interface: topic and messages."""

from __future__ import annotations

from builtin_interfaces.msg import Duration
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from mbrl_control.robot import Arm
from mbrl_control.safety.config import limits_of
from mbrl_control.safety.controllers import ControllerInterface
from mbrl_control.safety.setpoints import AHEAD_S, Measured, Setpoint, advance, point_ahead
from mbrl_control.signals import Array
from mbrl_nodes.convert import JointNameError, doubles, sample_from_joint_state
from mbrl_nodes.polled import Polled
from mbrl_nodes.runtime import COMMAND_QOS, STATE_QOS, GraphNode


class ControllerOutput:
    """Owned by the relay, and used in its control thread only."""

    def __init__(self, node: GraphNode, arm: Arm, interface: ControllerInterface, name: str, state_topic: str) -> None:
        self._node, self._arm, self._limits = node, arm, limits_of(arm)
        self._interface = interface
        trajectory = interface is ControllerInterface.JOINT_TRAJECTORY
        kind = JointTrajectory if trajectory else Float64MultiArray
        self._publisher = node.create_publisher(kind, interface.topic(name), COMMAND_QOS)
        self._setpoint, self._measured = Setpoint(), Measured()
        self._states: Polled | None = None
        if trajectory or interface is ControllerInterface.POSITION:
            self._states = Polled(node, JointState, state_topic, STATE_QOS)

    def send(self, command: Array, now_ns: int) -> bool:
        """Publish what the controller takes for the safe ``command`` [J]; False: there was nothing that may be sent."""
        if self._states is None:
            self._publisher.publish(Float64MultiArray(data=doubles(command)))
            return True
        self._read_state(now_ns)
        self._setpoint, position = advance(self._setpoint, command, self._measured, self._limits, now_ns)
        if position is None:
            self._node.get_logger().error(
                "no fresh joint_states: positions have nowhere to begin", throttle_duration_sec=1.0
            )
            return False
        self._publish_position(position, command)
        return True

    def forget(self) -> None:
        """The next setpoint begins at the measured position."""
        self._setpoint = Setpoint()

    def _read_state(self, now_ns: int) -> None:
        assert self._states is not None
        message = self._states.newest()
        if message is None:
            return
        try:
            self._measured = Measured(sample_from_joint_state(message, self._arm.joint_names).position, now_ns)
        except JointNameError as error:
            # Not taken in: the measurement grows old, and setpoints stay where they are.
            self._node.get_logger().error(str(error), throttle_duration_sec=1.0)

    def _publish_position(self, position: Array, velocity: Array) -> None:
        if self._interface is ControllerInterface.POSITION:
            self._publisher.publish(Float64MultiArray(data=doubles(position)))
            return
        end = point_ahead(position, velocity, self._measured, self._limits)
        point = JointTrajectoryPoint(positions=doubles(end), velocities=doubles(0.0 * end))
        point.time_from_start = Duration(nanosec=round(AHEAD_S * 1e9))
        # The stamp stays zero: to be begun at once, whatever the controller's clock says.
        self._publisher.publish(JointTrajectory(joint_names=list(self._arm.joint_names), points=[point]))
