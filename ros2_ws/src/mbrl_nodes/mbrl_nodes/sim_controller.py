"""Stands for the controller of ros2_control in front of a simulated arm: its topic in, the servo's command out."""

from __future__ import annotations

import numpy as np
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from mbrl_control.robot import Arm
from mbrl_control.safety.controllers import ControllerInterface
from mbrl_control.signals import Array
from mbrl_nodes.convert import joint_order
from mbrl_nodes.polled import Polled
from mbrl_nodes.runtime import COMMAND_QOS, GraphNode
from sim.controllers import PositionLoop, TrajectoryFollower


class SimController:
    """Owned by the driver; a message that its controller would refuse is counted, logged, and not followed."""

    def __init__(self, node: GraphNode, arm: Arm, interface: ControllerInterface, name: str) -> None:
        self._node, self._arm = node, arm
        trajectory = interface is ControllerInterface.JOINT_TRAJECTORY
        kind = JointTrajectory if trajectory else Float64MultiArray
        self._commands = Polled(node, kind, interface.topic(name), COMMAND_QOS)
        self._follower = TrajectoryFollower(arm) if trajectory else None
        self._loop = PositionLoop(arm) if interface is ControllerInterface.POSITION else None
        self.refused = 0

    def take(self, position: Array, time_s: float) -> Array | None:
        """What the servo gets for a command that has come in since the last call; None: none came.

        ``position`` [J] rad is the arm's, ``time_s`` that of the simulation.
        """
        message = self._commands.newest()
        if message is None:
            return None
        try:
            return self._follow(message, position, time_s)
        except ValueError as error:
            self.refused += 1
            self._node.get_logger().error(f"command refused: {error}", throttle_duration_sec=1.0)
            return None

    def again(self, position: Array, time_s: float) -> Array | None:
        """What the servo gets when no command has come in; None: what it got before."""
        drive = self._follower or self._loop
        return None if drive is None else drive.velocity(position, time_s)

    def forget(self) -> None:
        """The brakes are clamped."""
        for drive in (self._follower, self._loop):
            if drive is not None:
                drive.forget()

    def _follow(self, message: Float64MultiArray | JointTrajectory, position: Array, time_s: float) -> Array:
        if self._follower is not None:
            point, length_s = self._point(message)
            self._follower.take(point, length_s, position, time_s)
            return self._follower.velocity(position, time_s)
        command = self._checked(message.data, "data")
        if self._loop is None:
            return command
        self._loop.take(command, time_s)
        return self._loop.velocity(position, time_s)

    def _point(self, message: JointTrajectory) -> tuple[Array, float]:
        """The one point [J] rad of a trajectory, and the time to it."""
        if len(message.points) != 1:
            raise ValueError(f"trajectory: {len(message.points)} points; this stand-in follows one")
        order = joint_order(message.joint_names, self._arm.joint_names, "trajectory.joint_names")
        (point,) = message.points
        if self._checked(point.velocities, "velocities").any():
            raise ValueError("trajectory: velocity at its end is not zero, which joint_trajectory_controller refuses")
        length_s = point.time_from_start.sec + point.time_from_start.nanosec * 1e-9
        return self._checked(point.positions, "positions")[order], length_s

    def _checked(self, field: object, name: str) -> Array:
        values = np.array(field, dtype=np.float64)
        if values.shape != (self._arm.joints,) or not np.isfinite(values).all():
            raise ValueError(f"{name}: needs {self._arm.joints} finite numbers, got {values}")
        return values
