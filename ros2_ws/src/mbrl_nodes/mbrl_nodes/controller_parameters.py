"""Parameters of the nodes on both sides of the controller's topic: what the controller takes, and its name."""

from __future__ import annotations

from mbrl_control.robot import Arm
from mbrl_control.safety.controllers import ControllerInterface, controller_fault, kind_told
from mbrl_nodes.runtime import GraphNode


def declare_controller(node: GraphNode) -> None:
    kinds = ", ".join(ControllerInterface)
    node.declare(
        "controller_interface",
        "",
        f"what the controller takes: {kinds}; empty: as its name tells, else command_interface",
    )
    node.declare("controller_name", "", "controller of ros2_control; empty: the usual name of its interface")


def controller_of(node: GraphNode, arm: Arm) -> ControllerInterface:
    """The controller's interface; ValueError where it must not be sent the arm's commands."""
    kind, name = (node.get_parameter(key).value for key in ("controller_interface", "controller_name"))
    if kind and kind not in list(ControllerInterface):
        raise ValueError(f"controller_interface: {kind!r} is unknown; use one of {', '.join(ControllerInterface)}")
    given = ControllerInterface(kind) if kind else None
    if fault := controller_fault(arm.interface, given, name):
        raise ValueError(f"controller_interface: {fault}")
    return given or kind_told(name) or ControllerInterface(arm.interface.value)
