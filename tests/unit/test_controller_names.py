"""A controller's name against what it is sent: radians, rad/s and N m travel as the same plain numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from mbrl_control.cli import main as cli
from mbrl_control.cli.errors import UserError
from mbrl_control.cli.wiring import CONTROLLER_USERS, Wiring
from mbrl_control.safety.controllers import ControllerInterface
from mbrl_control.signals import CommandInterface

TAKEN_BY = {
    "forward_position_controller": "position",
    "forward_velocity_controller": "velocity",
    "forward_effort_controller": "effort",
    "joint_trajectory_controller": "joint_trajectory",
    "scaled_joint_trajectory_controller": "joint_trajectory",
}
"""What the controllers that ros2_controllers and ur_robot_driver give these names take."""
UNKNOWN = ("arm_controller", "forward_command_controller", "my_forward_velocity_controller")


@pytest.mark.parametrize("name", ["", *TAKEN_BY, *UNKNOWN])
@pytest.mark.parametrize("given", [None, *ControllerInterface])
@pytest.mark.parametrize("command", list(CommandInterface))
def test_a_controller_is_sent_what_it_takes_or_the_run_is_refused(
    command: CommandInterface, given: ControllerInterface | None, name: str
) -> None:
    carried = {"effort"} if command is CommandInterface.EFFORT else {"position", "velocity", "joint_trajectory"}
    said = {kind for kind in (given, TAKEN_BY.get(name)) if kind}
    sound = said <= carried and len(said) <= 1 and bool(said or not name)
    if not sound:
        with pytest.raises(UserError, match=r"^controller_interface: "):
            Wiring(command=command, controller_interface=given, controller_name=name)
        return
    wiring = Wiring(command=command, controller_interface=given, controller_name=name)
    for node in CONTROLLER_USERS:
        sent = wiring.parameters(node)
        assert sent.get("controller_interface", "velocity") in (said or {command.value})
        assert TAKEN_BY.get(sent.get("controller_name", "")) in (None, *said, command.value)


@pytest.mark.parametrize(
    ("given", "name", "remedy"),
    [
        (ControllerInterface.VELOCITY, "forward_position_controller", "give position, or another name"),
        (ControllerInterface.EFFORT, "", "use one of position, velocity, joint_trajectory"),
        (None, "forward_effort_controller", "use one of position, velocity, joint_trajectory"),
        (ControllerInterface.VELOCITY, "/forward_position_controller", "velocity contradicts"),
        (ControllerInterface.VELOCITY, "cell/forward_position_controller", "velocity contradicts"),
        (None, "arm_controller", "give one of position, velocity, effort, joint_trajectory"),
    ],
    ids=lambda value: str(value or "none"),
)
def test_the_refusal_names_the_options_and_the_remedy(
    given: ControllerInterface | None, name: str, remedy: str
) -> None:
    with pytest.raises(UserError) as caught:
        Wiring(controller_interface=given, controller_name=name)
    for words in (remedy, name, "controller_interface:=", "--controller-interface"):
        assert words in str(caught.value)


@pytest.mark.parametrize("name", ["my ctl", "2nd_arm", "cell//arm", "arm/", "{node}", "arm-1", "ärm"])
def test_a_name_that_ros_refuses_is_refused_with_the_rule(name: str) -> None:
    with pytest.raises(UserError, match=r"^controller_name: '.*no ROS name: letters, digits and _ only") as caught:
        Wiring(controller_interface=ControllerInterface.VELOCITY, controller_name=name)
    for words in (name, "initial_joint_controller:=", "--controller-name"):
        assert words in str(caught.value)


def test_a_name_may_have_parts() -> None:
    assert Wiring(controller_interface=ControllerInterface.VELOCITY, controller_name="cell_2/arm").controller_name
    assert Wiring(controller_interface=ControllerInterface.VELOCITY, controller_name="/left/arm").controller_name


@pytest.mark.parametrize(
    "options",
    [
        ("--controller-interface", "effort"),
        ("--real", "--controller-name", "arm_controller"),
        ("--real", "--controller-name", "my ctl", "--controller-interface", "velocity"),
    ],
    ids=" ".join,
)
def test_up_refuses_it_in_one_line_before_anything_is_written(
    options: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["up", "--robot", "planar", "--out", str(tmp_path / "out"), *options])
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert ("controller_name: " if "my ctl" in options else "controller_interface: ") in line
    assert not (tmp_path / "out").exists()
