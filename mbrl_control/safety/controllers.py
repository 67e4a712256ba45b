"""The controllers of ros2_control that the relay can write to: interface, default name, topic, message type.

Names and topics are those of `ros2_controllers` (forward_command_controller, joint_trajectory_controller).
"""

from __future__ import annotations

import re
from enum import StrEnum

from mbrl_control.signals import CommandInterface


class ControllerInterface(StrEnum):
    """What a controller takes."""

    POSITION = "position"
    """rad, Float64MultiArray."""
    VELOCITY = "velocity"
    """rad/s, Float64MultiArray."""
    EFFORT = "effort"
    """N m, Float64MultiArray."""
    JOINT_TRAJECTORY = "joint_trajectory"
    """One point ahead, JointTrajectory."""

    @property
    def takes(self) -> CommandInterface:
        """The safe command it is made from: position and trajectory are integrated velocities."""
        return CommandInterface.EFFORT if self is ControllerInterface.EFFORT else CommandInterface.VELOCITY

    @property
    def default_name(self) -> str:
        """Name that the examples of ros2_control give the controller."""
        return "joint_trajectory_controller" if self is self.JOINT_TRAJECTORY else f"forward_{self}_controller"

    @property
    def message_type(self) -> str:
        """ROS type of the command topic."""
        trajectory = self is ControllerInterface.JOINT_TRAJECTORY
        return "trajectory_msgs/msg/JointTrajectory" if trajectory else "std_msgs/msg/Float64MultiArray"

    def topic(self, name: str = "") -> str:
        """Command topic of the controller ``name`` (empty: the default name)."""
        last = "joint_trajectory" if self is ControllerInterface.JOINT_TRAJECTORY else "commands"
        return f"{name or self.default_name}/{last}"


_FORWARD = re.compile(r"forward_(position|velocity|effort)_controller")


def kind_told(name: str) -> ControllerInterface | None:
    """What a controller's name tells of its interface by the convention of `ros2_controllers`; None: nothing."""
    if "trajectory" in name:
        return ControllerInterface.JOINT_TRAJECTORY
    match = _FORWARD.fullmatch(name.rpartition("/")[2])
    return None if match is None else ControllerInterface(match[1])


def controller_fault(command: CommandInterface, given: ControllerInterface | None, name: str) -> str:
    """Why such safe commands must not go to the controller of this interface (None: not given) and name (empty: usual).

    Empty when they may. Radians and rad/s travel as the same plain numbers: only the name tells them apart.
    """
    told = kind_told(name)
    kinds = ", ".join(ControllerInterface)
    if given is None and name and told is None:
        return f"missing: {name} does not tell what it takes, and a wrong guess sends rad/s as rad; give one of {kinds}"
    if given is not None and told not in (None, given):
        return f"{given} contradicts {name}, the name of a {told} controller; give {told}, or another name"
    taken = given or told
    unfit = "" if taken is None else mismatch(command, taken)
    return f"{name}: {unfit}" if unfit and name else unfit


def mismatch(command: CommandInterface, controller: ControllerInterface) -> str:
    """Why a controller cannot follow such safe commands; empty when it can."""
    if command is controller.takes:
        return ""
    fitting = ", ".join(other for other in ControllerInterface if other.takes is command)
    return f"safe commands are {command}, a {controller} controller needs {controller.takes}; use one of {fitting}"
