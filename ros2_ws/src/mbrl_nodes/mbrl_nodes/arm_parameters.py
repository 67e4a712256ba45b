"""Parameters that say which arm a node is of and how it is commanded; every node of a graph gets the same."""

from __future__ import annotations

from mbrl_control.robot import Arm, ArmError, load_arm
from mbrl_control.safety.controllers import ControllerInterface, mismatch
from mbrl_control.signals import CommandInterface
from mbrl_nodes.runtime import GraphNode


def declare_arm(node: GraphNode) -> None:
    node.declare("arm", "", "arm description YAML, with its URDF beside it")
    node.declare("command_interface", "velocity", "what plans and safe commands are: velocity or effort")


def arm_of(node: GraphNode) -> Arm:
    """The arm as it is commanded here; ArmError names what is wrong."""
    name = node.get_parameter("command_interface").value
    if name not in list(CommandInterface):
        raise ArmError(f"command_interface: {name!r} is unknown; use one of {', '.join(CommandInterface)}")
    return load_arm(node.get_parameter("arm").value, CommandInterface(name))


def declare_controller(node: GraphNode) -> None:
    """Of the nodes on both sides of the controller's topic."""
    kinds = ", ".join(ControllerInterface)
    node.declare("controller_interface", "", f"what the controller takes: {kinds}; empty: the command_interface")
    node.declare("controller_name", "", "controller of ros2_control; empty: the usual name of its interface")


def controller_of(node: GraphNode, arm: Arm) -> ControllerInterface:
    """The controller's interface; ValueError where it cannot follow the arm's commands."""
    name = node.get_parameter("controller_interface").value or arm.interface.value
    if name not in list(ControllerInterface):
        raise ValueError(f"controller_interface: {name!r} is unknown; use one of {', '.join(ControllerInterface)}")
    if refusal := mismatch(arm.interface, ControllerInterface(name)):
        raise ValueError(f"controller_interface: {refusal}")
    return ControllerInterface(name)
