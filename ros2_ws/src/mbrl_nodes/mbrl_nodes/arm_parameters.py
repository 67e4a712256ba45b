"""Parameters that say which arm a node is of and how it is commanded; every node of a graph gets the same."""

from __future__ import annotations

from mbrl_control.robot import Arm, ArmError, load_arm
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
