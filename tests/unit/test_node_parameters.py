"""Parameters that several nodes share, on a real node that is never started: names, types, defaults, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.parameter import Parameter

from mbrl_control.cli.locations import arm_file
from mbrl_control.robot import ArmError, load_arm
from mbrl_control.safety.controllers import ControllerInterface
from mbrl_control.signals import CommandInterface
from mbrl_nodes.arm_parameters import arm_of, declare_arm
from mbrl_nodes.controller_parameters import controller_of, declare_controller
from mbrl_nodes.runtime import GraphNode

DEFAULTS = {"arm": "", "command_interface": "velocity", "controller_interface": "", "controller_name": ""}


@contextmanager
def declared(**given: object) -> Iterator[GraphNode]:
    """A node with these parameters, ``given`` as on its command line."""
    words = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
    rclpy.init(args=["--ros-args", *words] if words else [])
    try:
        node = GraphNode("declared")
        try:
            declare_arm(node)
            declare_controller(node)
            yield node
        finally:
            node.destroy_node()
    finally:
        rclpy.try_shutdown()


def test_names_defaults_descriptions_and_that_a_running_node_keeps_them() -> None:
    with declared() as node:
        assert {name: node.get_parameter(name).value for name in DEFAULTS} == DEFAULTS
        for name in DEFAULTS:
            descriptor = node.describe_parameter(name)
            assert descriptor.description
            assert descriptor.read_only
            assert not node.set_parameters([Parameter(name, value="effort")])[0].successful


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_number_in_place_of_a_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidParameterTypeException, match=name), declared(**{name: 1}):
        pass


@pytest.mark.parametrize("interface", list(CommandInterface))
def test_arm_and_controller_are_those_given(interface: CommandInterface) -> None:
    with declared(arm=arm_file("planar"), command_interface=interface.value) as node:
        arm = arm_of(node)
        assert (arm.name, arm.interface) == ("planar", interface)
        assert controller_of(node, arm).value == interface.value


@pytest.mark.parametrize("controller", list(ControllerInterface))
@pytest.mark.parametrize("interface", list(CommandInterface))
def test_a_controller_is_taken_or_refused_by_field_and_remedy(
    interface: CommandInterface, controller: ControllerInterface
) -> None:
    with declared(controller_interface=controller.value) as node:
        arm = load_arm(arm_file("planar"), interface)
        if controller.takes is interface:
            assert controller_of(node, arm) is controller
        else:
            with pytest.raises(ValueError, match=rf"^controller_interface: .*{controller}.*use one of"):
                controller_of(node, arm)


def test_a_controllers_name_tells_what_it_takes_and_contradicts_nothing() -> None:
    arm = load_arm(arm_file("planar"))
    with declared(controller_name="forward_position_controller") as node:
        assert controller_of(node, arm) is ControllerInterface.POSITION
    for name, kind in (("forward_position_controller", "velocity"), ("arm_controller", "")):
        given = {"controller_name": name} | ({"controller_interface": kind} if kind else {})
        with declared(**given) as node, pytest.raises(ValueError, match=f"^controller_interface: .*{name}"):
            controller_of(node, arm)


def test_unknown_names_and_files_are_refused_by_field_and_remedy() -> None:
    with declared(arm="/no/such.yaml", command_interface="torque", controller_interface="servo") as node:
        with pytest.raises(ArmError, match="command_interface: 'torque' is unknown; use one of velocity, effort"):
            arm_of(node)
        with pytest.raises(ValueError, match="controller_interface: 'servo' is unknown; use one of position, "):
            controller_of(node, load_arm(arm_file("planar")))
    with declared(arm="/no/such.yaml") as node, pytest.raises(ArmError, match=r"/no/such\.yaml"):
        arm_of(node)
