"""Arguments and parameter files that the launch files refuse: by name, with the remedy, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mbrl_control.cli.errors import UserError
from mbrl_control.cli.locations import arm_file
from mbrl_control.deployment.errors import BundleError
from mbrl_control.graph import GraphError
from mbrl_control.planning.config import PlannerConfigError
from mbrl_control.robot import ArmError
from tests.launch.stand_ins import GRAPHS, run

REFUSED = {
    "simulated time": (GRAPHS, {"use_sim_time": "true"}, "use_sim_time: .*steady clock"),
    "no flag": (GRAPHS, {"use_sim_time": "maybe"}, "use_sim_time: 'maybe': write true or false"),
    "two names, two values": (GRAPHS, {"use_mock_hardware": "true", "use_fake_hardware": "false"}, "older name"),
    "unknown arm": (GRAPHS, {"robot_type": "r2d2"}, "unknown arm"),
    "URDF that is not there": (GRAPHS, {"robot_type": "r2d2.urdf"}, "r2d2.urdf: no such file; name an arm's YAML"),
    "own arm that is not there": (GRAPHS, {"arm": "cell.yaml"}, "cell.yaml: no such arm description"),
    "too fast": (GRAPHS, {"speed_scale": "2"}, "speed_scale: 2.0: give a number from 0.05 to 1"),
    "faster than real time": (
        ("sim.launch.py",),
        {"real_time_factor": "2"},
        "real_time_factor: 2.0: give a number from 0.1 to 1",
    ),
    "no number": (GRAPHS, {"speed_scale": "fast"}, "speed_scale: 'fast': give a number"),
    "no seed": (GRAPHS, {"seed": "-1"}, "seed: -1: give a whole number"),
    "no whole seed": (GRAPHS, {"seed": "1.5"}, "seed: 1.5: give a whole number"),
    "no namespace": (GRAPHS, {"namespace": "my arm"}, "namespace: 'my arm'"),
    "no parameter file": (GRAPHS, {"params_file": "none.yaml"}, "none.yaml: no such file; .*params_file:="),
    "no planner settings": (GRAPHS, {"planner_settings": "none.yaml"}, "none.yaml: no such file; .*planner_settings:="),
    "a controller of another kind": (
        GRAPHS,
        {"initial_joint_controller": "forward_position_controller", "controller_interface": "velocity"},
        "velocity contradicts forward_position_controller",
    ),
    "a controller of torques": (GRAPHS, {"initial_joint_controller": "forward_effort_controller"}, "needs effort"),
    "torques to a controller of speeds": (
        GRAPHS,
        {"initial_joint_controller": "forward_velocity_controller", "command_interface": "effort"},
        "safe commands are effort",
    ),
    "torques from speeds": (GRAPHS, {"controller_interface": "effort"}, "controller_interface: safe commands are"),
    "a controller of unknown kind": (
        GRAPHS,
        {"initial_joint_controller": "arm"},
        "arm does not tell what it takes.*give one of",
    ),
    "no controller's name": (
        GRAPHS,
        {"initial_joint_controller": "my ctl", "controller_interface": "velocity"},
        "controller_name: 'my ctl': no ROS name",
    ),
    "no registry": (GRAPHS, {"models": "nowhere"}, "nowhere: no such folder; .*models:="),
    "an empty registry": (GRAPHS, {"models": "."}, "panda: active.json: names no bundle"),
    "an address in simulation": (("sim.launch.py",), {"robot_ip": "192.0.2.1"}, "robot_ip: the arm is simulated"),
    "controllers in simulation": (("sim.launch.py",), {"controllers_file": "c.yaml"}, "controllers_file: the arm is"),
    "hardware in simulation": (("sim.launch.py",), {"use_mock_hardware": "false"}, "use_mock_hardware: the arm is"),
    "an address for nobody": (("real.launch.py",), {"robot_ip": "192.0.2.1"}, "robot_ip: for the launch file of"),
    "hardware for nobody": (("real.launch.py",), {"use_mock_hardware": "false"}, "use_mock_hardware: for the launch"),
    "no address": (
        ("real.launch.py",),
        {"use_mock_hardware": "false", "driver": "ur_robot_driver/ur_control.launch.py"},
        "robot_ip: a real robot needs its address",
    ),
    "an own arm to a driver of robots": (
        ("real.launch.py",),
        {"arm": str(arm_file("planar")), "driver": "ur_robot_driver/ur_control.launch.py"},
        "robot_type: ur_robot_driver/ur_control.launch.py has to be told.*give robot_type:=",
    ),
    "no driver's name": (("real.launch.py",), {"driver": "ur_control.launch.py"}, "driver: .*write PACKAGE/FILE"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_arguments_are_refused_with_name_and_remedy_before_anything_is_written(name: str, tmp_path: Path) -> None:
    files, arguments, words = REFUSED[name]
    for file in files:
        with pytest.raises((UserError, GraphError, ArmError, BundleError, PlannerConfigError), match=words):
            run(file, arguments)
    assert list(tmp_path.iterdir()) == []


BROKEN = {
    "misspelt node": ({"/**/gaurd": {"ros__parameters": {}}}, "gaurd: no such node"),
    "no parameters": ({"/**/guard": {"state_period": 0.004}}, "needs the one field ros__parameters"),
    "set by the run": (
        {"/**/command_relay": {"ros__parameters": {"dry_run": False}}},
        "dry_run: set by the run itself",
    ),
    "simulated time": ({"/**/guard": {"ros__parameters": {"use_sim_time": True}}}, "use_sim_time: set by the run"),
    "no topic": (
        {"/**/guard": {"ros__parameters": {"state_topic": "my topic"}}},
        "state_topic: 'my topic': no ROS name",
    ),
    "no controller": (
        {"/**/command_relay": {"ros__parameters": {"controller_name": "my ctl"}}},
        "controller_name: 'my ctl': no ROS name",
    ),
    "empty": ({}, "has to be a mapping"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_parameter_file_that_would_silently_do_nothing_is_refused(name: str, tmp_path: Path) -> None:
    tree, words = BROKEN[name]
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(GraphError, match=words) as caught:
        run("real.launch.py", {"params_file": str(path)})
    assert str(path) in str(caught.value)


def test_a_topic_of_a_parameter_file_may_be_absolute_or_unset(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    values = {"state_topic": "/franka/joint_states", "speed_scaling_topic": ""}
    path.write_text(yaml.safe_dump({"/**/guard": {"ros__parameters": values}}))
    assert run("real.launch.py", {"params_file": str(path)}).of("Node")


def test_retraining_without_a_log_is_refused() -> None:
    with pytest.raises(UserError, match="log: name the log"):
        run("retrain.launch.py", {})
