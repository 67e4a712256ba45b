"""Parameters of the nodes on both sides of the controller's topic: what the controller takes, and its name."""

from __future__ import annotations

from mbrl_control.robot import Arm
from mbrl_control.safety.controllers import ControllerInterface, mismatch
from mbrl_nodes.runtime import GraphNode


def declare_controller(node: GraphNode) -> None:
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
