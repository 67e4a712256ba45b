"""The launch files with recording stand-ins for ROS's `launch`: what they declare, start, refuse and pass on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
import yaml

from mbrl_control.cadence import ANCHOR_VARIABLE, FACTOR_VARIABLE
from mbrl_control.cli.locations import arm_file, launch_file
from mbrl_control.cli.main import build_app
from mbrl_control.cli.wiring import OWNED
from mbrl_control.episode_log.rotation import Limits
from mbrl_control.graph import NODES, SIMULATED_NODES, NodeStart, load_graph
from mbrl_control.scheduling import PRIORITY_VARIABLE, PROCESSORS_VARIABLE
from tests.architecture.source import ROOT, node_names
from tests.launch.parameters import declared_by
from tests.launch.stand_ins import GRAPHS, declared, run, values_of

USUAL = {
    "use_sim_time", "robot_ip", "robot_type", "namespace", "params_file", "controllers_file",
    "initial_joint_controller", "use_mock_hardware", "use_fake_hardware", "log_level",
}  # fmt: skip
FILES = (*GRAPHS, "retrain.launch.py")


@pytest.mark.parametrize("file", FILES)
def test_every_argument_has_a_description_and_a_default(file: str) -> None:
    for name, keywords in declared(file).declared.items():
        assert len(keywords["description"]) > 5, name
        assert isinstance(keywords["default_value"], str), name


@pytest.mark.parametrize("file", GRAPHS)
def test_the_usual_arguments_are_there(file: str) -> None:
    assert set(declared(file).declared) >= USUAL


def test_defaults_are_safe() -> None:
    real, sim = declared("real.launch.py").declared, declared("sim.launch.py").declared
    assert real["dry_run"]["default_value"] == "true"
    assert {real[name]["default_value"] for name in ("driver", "robot_ip")} == {""}
    for arguments in (real, sim):
        assert arguments["use_mock_hardware"]["default_value"] == "true"
        assert arguments["use_sim_time"]["default_value"] == "false"
        assert float(arguments["speed_scale"]["default_value"]) <= 0.5


@pytest.mark.parametrize("file", GRAPHS)
def test_every_executable_is_an_entry_point_of_its_package(file: str) -> None:
    nodes = run(file, {}).of("Node")
    assert {action.keywords["package"] for action in nodes} == {"mbrl_nodes"}
    assert {action.keywords["executable"] for action in nodes} <= set(node_names())


def test_the_simulator_is_part_of_the_simulated_graph_only() -> None:
    names = {file: [action.keywords["executable"] for action in run(file, {}).of("Node")] for file in GRAPHS}
    order = [spec.name for spec in load_graph(launch_file("graph.yaml"))]
    assert names["sim.launch.py"] == order
    assert names["real.launch.py"] == [name for name in order if name not in SIMULATED_NODES]


@pytest.mark.parametrize("file", GRAPHS)
def test_every_node_gets_only_parameters_it_declares_of_their_type_and_range(file: str) -> None:
    for robot in ("panda", "planar"):
        for action in run(file, {"robot_type": robot, "out": f"run-{robot}"}).of("Node"):
            parameters = declared_by(action.keywords["executable"])
            for name, value in values_of(action).items():
                assert name in parameters, f"{action.keywords['executable']}: {name}"
                assert parameters[name].complaint(value) is None


@pytest.mark.parametrize("path", sorted((ROOT / "ros2_ws/src/mbrl_nodes/params").glob("*.yaml")), ids=lambda p: p.name)
def test_a_shipped_parameter_file_fits_the_nodes(path: Path) -> None:
    tree = yaml.safe_load(path.read_text())
    for pattern, row in tree.items():
        node = pattern.removeprefix("/**/")
        assert node in NODES, pattern
        parameters = declared_by(node)
        for name, value in row["ros__parameters"].items():
            assert name in parameters, f"{pattern}: {name}: not declared; there are {sorted(parameters)}"
            assert parameters[name].complaint(value) is None, pattern
            assert name not in OWNED
            if path.name == "sim.yaml":
                assert value == parameters[name].default, f"{pattern}: {name}: the file says that it holds the defaults"


@pytest.mark.parametrize("path", sorted((ROOT / "ros2_ws/src/mbrl_nodes/params").glob("*.yaml")), ids=lambda p: p.name)
def test_the_nodes_of_a_parameter_file_agree_on_topic_and_controller(path: Path) -> None:
    tree = {key.removeprefix("/**/"): row["ros__parameters"] for key, row in yaml.safe_load(path.read_text()).items()}
    for name in ("state_topic", "controller_interface", "controller_name"):
        users = [node for node in tree if name in declared_by(node)]
        assert len(users) >= 2
        assert len({tree[node][name] for node in users}) == 1


def test_a_log_keeps_to_the_same_sizes_with_a_node_and_without() -> None:
    declared, limits = declared_by("data_logger"), Limits()
    for name in ("file", "quota", "free"):
        assert declared[f"{name}_mib"].default * 2**20 == getattr(limits, f"{name}_bytes")


def test_an_interface_given_as_argument_reaches_all_who_name_it_with_its_own_controller() -> None:
    def controllers(**arguments: str) -> set[tuple[str, str]]:
        folder = f"run-{len(list(Path().iterdir()))}"
        nodes = run("real.launch.py", arguments | {"out": folder}).of("Node")
        users = [a for a in nodes if a.keywords["executable"] in ("command_relay", "data_logger")]
        return {(values_of(a)["controller_interface"], values_of(a)["controller_name"]) for a in users}

    assert controllers() == {("velocity", "forward_velocity_controller")}
    assert controllers(controller_interface="position") == {("position", "forward_position_controller")}
    scaled = "scaled_joint_trajectory_controller"
    assert controllers(initial_joint_controller=scaled) == {("joint_trajectory", scaled)}
    own = {"initial_joint_controller": "arm_controller", "controller_interface": "position"}
    assert controllers(**own) == {("position", "arm_controller")}
    forward = "forward_position_controller"
    live = controllers(robot_type="ur5e", dry_run="false", initial_joint_controller=forward)
    assert live == {("position", forward)}


def test_the_reader_of_declared_parameters_bites() -> None:
    guard = declared_by("guard")
    assert {"arm", "autostart", "speed_scale", "state_period"} <= set(guard)
    assert "stat_period" not in guard
    assert guard["state_period"].complaint(0.004) is None
    assert "not in" in str(guard["state_period"].complaint(1.0))
    assert "is a int" in str(guard["state_period"].complaint(1))


def test_without_being_told_otherwise_a_real_arm_gets_no_command() -> None:
    def dry(file: str, **arguments: str) -> bool:
        folder = f"run-{len(list(Path().iterdir()))}"
        nodes = {action.keywords["executable"]: action for action in run(file, arguments | {"out": folder}).of("Node")}
        return bool(values_of(nodes["command_relay"])["dry_run"])

    assert dry("real.launch.py")
    assert dry("real.launch.py", use_mock_hardware="true", driver="ur_robot_driver/ur_control.launch.py")
    assert not dry("real.launch.py", dry_run="false")
    assert not dry("sim.launch.py")


def test_what_the_run_sets_no_parameter_file_may_set(tmp_path: Path) -> None:
    """The run's own parameters win: in a parameter file they would be accepted and do nothing."""
    seen = set()
    for action in run("sim.launch.py", {"robot_type": "planar", "out": str(tmp_path / "run")}).of("Node"):
        own = Path(action.keywords["parameters"][-1])
        assert own.is_relative_to(tmp_path)
        seen |= set(yaml.safe_load(own.read_text())["/**"]["ros__parameters"])
    assert {"arm", "simulator", "seed"} <= seen <= OWNED


def test_a_simulated_graph_is_slowed_as_a_whole_with_its_operator() -> None:
    launched = run("sim.launch.py", {"real_time_factor": "0.25"})
    assert {a.keywords["additional_env"][FACTOR_VARIABLE] for a in launched.of("Node")} == {"0.25"}
    assert f"{FACTOR_VARIABLE}=0.25" in launched.of("LogInfo")[0].keywords["msg"]


@pytest.mark.parametrize("file", GRAPHS)
def test_an_exported_factor_slows_no_graph_that_was_not_told_to_be_slow(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FACTOR_VARIABLE, "0.25")
    assert {a.keywords["additional_env"][FACTOR_VARIABLE] for a in run(file, {}).of("Node")} == {"1.0"}


@pytest.mark.parametrize("file", GRAPHS)
def test_all_nodes_share_one_clock_and_keep_their_placement(file: str) -> None:
    nodes = {action.keywords["executable"]: action.keywords for action in run(file, {}).of("Node")}
    assert len({row["additional_env"][ANCHOR_VARIABLE] for row in nodes.values()}) == 1
    assert {row["additional_env"][FACTOR_VARIABLE] for row in nodes.values()} == {"1.0"}
    specs = {spec.name: spec for spec in load_graph(launch_file("graph.yaml"))}
    for name, row in nodes.items():
        assert row["additional_env"][PRIORITY_VARIABLE] == str(specs[name].priority)
        assert row["prefix"].startswith("prlimit --stack=")
    if len(os.sched_getaffinity(0)) > 1:
        planner, guard = (nodes[name]["additional_env"][PROCESSORS_VARIABLE] for name in ("mpc_planner", "guard"))
        assert not {*planner.split(",")} & {*guard.split(",")}


@pytest.mark.parametrize("file", GRAPHS)
def test_a_node_that_ends_ends_the_graph_unless_the_arm_does_not_need_it(file: str) -> None:
    restarted = {spec.name for spec in load_graph(launch_file("graph.yaml")) if spec.restart}
    for action in run(file, {}).of("Node"):
        if action.keywords["executable"] in restarted:
            assert action.keywords["respawn"]
            assert "on_exit" not in action.keywords
            continue
        assert action.keywords["on_exit"].kind == "Shutdown"
        assert action.keywords["executable"] in action.keywords["on_exit"].keywords["reason"]


def test_the_log_level_and_the_namespace_reach_every_node() -> None:
    for action in run("sim.launch.py", {"log_level": "debug"}).of("Node"):
        assert action.keywords["ros_arguments"] == ["--log-level", "debug"]
        assert action.keywords["namespace"] == "panda"
    assert {a.keywords["namespace"] for a in run("real.launch.py", {"out": "other"}).of("Node")} == {""}


def test_the_robots_driver_is_included_with_its_arguments() -> None:
    """Names as ur_robot_driver (ur_control.launch.py) and franka_ros2 (franka.launch.py) declare them."""
    launched = run(
        "real.launch.py",
        {
            "driver": "ur_robot_driver/ur_control.launch.py",
            "robot_type": "panda",
            "robot_ip": "192.0.2.10",
            "use_mock_hardware": "false",
            "controller_interface": "position",
        },
    )
    (included,) = launched.of("IncludeLaunchDescription")
    arguments = dict(included.keywords["launch_arguments"])
    assert arguments["robot_ip"] == "192.0.2.10"
    assert arguments["ur_type"] == arguments["robot_type"] == "panda"
    assert arguments["use_mock_hardware"] == arguments["use_fake_hardware"] == "false"
    assert arguments["initial_joint_controller"] == "forward_position_controller"
    assert "controllers_file" not in arguments  # its own default stays
    path = included.positional[0].positional[0].positional[0]
    assert path[0].positional == ("ur_robot_driver",)
    assert path[1:] == ["launch", "ur_control.launch.py"]
    assert run("real.launch.py", {"out": "without"}).of("IncludeLaunchDescription") == []


def test_the_driver_is_told_the_type_that_was_given_beside_an_own_arm() -> None:
    own = {"arm": str(arm_file("planar")), "driver": "ur_robot_driver/ur_control.launch.py", "robot_type": "ur10e"}
    (included,) = run("real.launch.py", own).of("IncludeLaunchDescription")
    arguments = dict(included.keywords["launch_arguments"])
    assert arguments["ur_type"] == arguments["robot_type"] == "ur10e"


def test_the_operators_command_of_the_message_names_clock_namespace_and_arm() -> None:
    launched = run("sim.launch.py", {})
    (message,) = (action.keywords["msg"] for action in launched.of("LogInfo"))
    anchor = launched.of("Node")[0].keywords["additional_env"][ANCHOR_VARIABLE]
    for words in (f"{ANCHOR_VARIABLE}={anchor}", "__ns:=/panda", f"arm:={arm_file('panda')}", "mbrl_nodes demo_task"):
        assert words in message
    assert "DRY RUN" in run("real.launch.py", {"out": "dry"}).of("LogInfo")[0].keywords["msg"]


def test_retrain_runs_the_verb_with_options_it_has() -> None:
    arguments = {"log": "run/log", "models": "m", "phase": "excitation", "robot_type": "planar"}
    (process,) = run("retrain.launch.py", arguments).of("ExecuteProcess")
    command = process.keywords["cmd"]
    assert command[:4] == [sys.executable, "-m", "mbrl_control.cli.main", "retrain"]
    given = dict(zip(command[4::2], command[5::2], strict=True))
    wanted = {"--log": "run/log", "--registry": "m", "--robot": "planar", "--phase": "excitation", "--seed": "0"}
    assert given == wanted | {"--command": "velocity"}
    verb = typer.main.get_command(build_app()).commands["retrain"]  # type: ignore[attr-defined]
    assert set(given) <= {option for parameter in verb.params for option in parameter.opts}


def test_the_folder_named_launch_is_not_taken_for_ros() -> None:
    """`import launch` succeeds in a checkout whether ROS is there or not: as an empty namespace."""
    code = "import launch; print(launch.__file__ is None, hasattr(launch, 'LaunchDescription'))"
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=bare, capture_output=True, text=True, check=True)
    empty, real = done.stdout.split()
    assert empty != real


def test_a_start_says_what_it_is_given(tmp_path: Path) -> None:
    (spec,) = [spec for spec in load_graph(launch_file("graph.yaml")) if spec.name == "collector"]
    words = NodeStart(spec, "", {"seed": 3}, Path("/a.yaml"), "warn").arguments(tmp_path)
    assert words[:5] == ["--ros-args", "-r", "__ns:=/", "--params-file", "/a.yaml"]
    assert words[-2:] == ["--log-level", "warn"]
    own = yaml.safe_load(Path(words[6]).read_text())
    assert own == {"/**": {"ros__parameters": {"autostart": "configure", "seed": 3}}}
