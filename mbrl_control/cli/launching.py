"""What the launch files do, as plain functions: arguments in, nodes to start out. ROS's `launch` is not imported here.

Main flow: `simulated` or `real` reads the arguments into a `Session`, `begin` makes its folder and says with which
keywords `launch_ros.actions.Node` starts each node. `mbrl-control up` starts the same `NodeStart`s without `launch`.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbrl_control.cli.errors import UserError
from mbrl_control.cli.guesses import guesses_told
from mbrl_control.cli.launch_arguments import DEFAULT_ROBOT, DRIVERS_OWN
from mbrl_control.cli.locations import launch_file
from mbrl_control.cli.processes import RESTARTS
from mbrl_control.cli.run_options import RunOptions, checked_session
from mbrl_control.cli.session import Session, new_folder
from mbrl_control.cli.shipped import prepare
from mbrl_control.cli.simulation import Simulator
from mbrl_control.cli.spawn import STACK_BYTES
from mbrl_control.cli.task_client import operator_command
from mbrl_control.cli.transports import transports
from mbrl_control.graph import NodeStart, load_graph, shared_environment
from mbrl_control.robot import load_arm
from mbrl_control.safety.controllers import ControllerInterface
from mbrl_control.signals import CommandInterface

Values = Mapping[str, str]
"""Launch arguments by name, as given or defaulted."""


@dataclass(frozen=True, slots=True)
class Driver:
    """Another package's launch file, to be included."""

    package: str
    file: str
    arguments: dict[str, str]


@dataclass(frozen=True, slots=True)
class Launch:
    """What a launch file hands to `launch`."""

    nodes: list[dict[str, Any]]
    """Keyword arguments of `launch_ros.actions.Node`, in the order of starting."""
    message: str


def simulated(values: Values) -> Session:
    """Session of sim.launch.py."""
    _refuse_sim_time(values)
    for name in ("robot_ip", "controllers_file"):
        if values[name]:
            raise UserError(f"{name}: the arm is simulated and has none; drop it, or use real.launch.py")
    if not _mock_hardware(values):
        raise UserError("use_mock_hardware: the arm is simulated in every case; use real.launch.py for a real one")
    return _session(values, real=False)


def real(values: Values) -> tuple[Session, Driver | None]:
    """Session of real.launch.py, and the driver's launch file where one was named."""
    _refuse_sim_time(values)
    session = _session(values, real=True)
    return session, _driver(values, session.wiring.interface)


def begin(session: Session) -> Launch:
    """Make the run's folder, bundle and parameter files; say how each node is started."""
    specs = load_graph(launch_file("graph.yaml"))
    new_folder(session.folder)
    model = prepare(session)
    session.write_settings()
    session.nodes.mkdir()
    starts = session.starts(specs)
    shared = shared_environment(session.real_time_factor) | transports(os.environ, at_home=False)
    nodes = [node_keywords(start, session.nodes, shared) for start in starts]
    operator = operator_command(starts, os.environ | shared, session.arm, ("ros2", "run", "mbrl_nodes", "demo_task"))
    return Launch(nodes, _message(session, model, shlex.join(operator)))


def node_keywords(start: NodeStart, folder: Path, shared: Mapping[str, str]) -> dict[str, Any]:
    """How `launch_ros` starts one node: the same arguments, placement and stack size as under `mbrl-control up`."""
    placement = start.spec.placement(os.sched_getaffinity(0))
    return {
        "package": "mbrl_nodes",
        "executable": start.name,
        "namespace": start.namespace,
        "parameters": [str(path) for path in start.parameter_files(folder)],
        "ros_arguments": ["--log-level", start.log_level],
        "additional_env": {**shared, **placement.environment()},
        "prefix": f"prlimit --stack={STACK_BYTES}:",
        "output": "screen",
        **({"respawn": True, "respawn_max_retries": RESTARTS} if start.spec.restart else {}),
    }


def retrain_arguments(values: Values) -> list[str]:
    """Arguments of `mbrl-control retrain`."""
    if not values["log"]:
        raise UserError("log: name the log to learn from: log:=out/.../log")
    chosen = {"--log": values["log"], "--registry": values["models"], "--seed": values["seed"]}
    arguments = ["retrain", "--robot", _robot(values), "--command", values["command_interface"]]
    arguments += [word for pair in chosen.items() for word in pair]
    return arguments + (["--phase", values["phase"]] if values["phase"] else [])


def _robot(values: Values) -> str:
    return values["arm"] or values["robot_type"] or DEFAULT_ROBOT


def _session(values: Values, real: bool) -> Session:
    dry_run = _flag(values, "dry_run")
    run = RunOptions(
        robot=_robot(values),
        sim=Simulator(values.get("sim", Simulator.MUJOCO)),
        command=CommandInterface(values["command_interface"]),
        out=_path(values, "out"),
        registry=_path(values, "models"),
        speed_scale=_within(values, "speed_scale", 0.05),
        seed=_seed(values),
        dry_run=dry_run,
        real=real,
        go_live=real and not dry_run,
        controller_interface=_interface(values["controller_interface"]),
        controller_name=values["initial_joint_controller"],
        namespace=values["namespace"] or None,
        params_file=_path(values, "params_file"),
        planner_settings=_path(values, "planner_settings"),
        log_level=values["log_level"],
        real_time_factor=1.0 if real else _within(values, "real_time_factor", 0.1),
    )
    return checked_session(run, "real" if real else "sim")


def _driver(values: Values, interface: ControllerInterface | None) -> Driver | None:
    """The robot's own launch file with the arguments that are its business; none named: none may be given."""
    mock = _mock_hardware(values)
    if not values["driver"]:
        given = [name for name in DRIVERS_OWN if values[name]] + ([] if mock else ["use_mock_hardware"])
        if given:
            raise UserError(
                f"{', '.join(given)}: for the launch file of the robot's driver, and none is named; give "
                "driver:=PACKAGE/FILE (ur_robot_driver/ur_control.launch.py), or start the driver yourself and drop it"
            )
        return None
    match = re.fullmatch(r"([a-z][a-z0-9_]*)/([\w.-]+)", values["driver"])
    if match is None:
        raise UserError(f"driver: {values['driver']!r}: write PACKAGE/FILE, as in ur_robot_driver/ur_control.launch.py")
    if not mock and not values["robot_ip"]:
        raise UserError("robot_ip: a real robot needs its address; give it, or use_mock_hardware:=true")
    if values["arm"] and not values["robot_type"]:
        raise UserError(
            f"robot_type: {values['driver']} has to be told which robot it drives, and arm:= only names a "
            "description of it; give robot_type:= as the driver names it (ur10e, fr3)"
        )
    robot_type = values["robot_type"] or DEFAULT_ROBOT
    usual = (interface or ControllerInterface.VELOCITY).default_name
    arguments = {
        "robot_ip": values["robot_ip"] or "0.0.0.0",
        "robot_type": robot_type,
        "ur_type": robot_type,
        "namespace": values["namespace"],
        "controllers_file": values["controllers_file"],
        "initial_joint_controller": values["initial_joint_controller"] or usual,
        "use_mock_hardware": str(mock).lower(),
        "use_fake_hardware": str(mock).lower(),
    }
    optional = ("controllers_file", "namespace")
    return Driver(match[1], match[2], {k: v for k, v in arguments.items() if v or k not in optional})


def _message(session: Session, model: str, operator: str) -> str:
    dry = "DRY RUN, no command is published; " if session.wiring.dry_run else ""
    guesses = guesses_told(session.arm, load_arm(session.arm)) if session.wiring.real else ""
    told = "".join(f"{text}; " for text in (guesses, model) if text)
    return (
        f"{dry}{told}the arm stays IDLE until an operator arms it; run folder {session.folder}; an operator for "
        f"another terminal (one JSON command a line): {operator}"
    )


def _refuse_sim_time(values: Values) -> None:
    if _flag(values, "use_sim_time"):
        raise UserError(
            "use_sim_time: not possible: deadlines, watchdogs and ages count on a steady clock, which simulated time "
            "is not (it stops, jumps and changes speed); leave it false; the simulator follows the graph's clock"
        )


def _mock_hardware(values: Values) -> bool:
    mock = _flag(values, "use_mock_hardware")
    if values["use_fake_hardware"] and _flag(values, "use_fake_hardware") != mock:
        raise UserError("use_fake_hardware: the older name of use_mock_hardware, and they differ; give one")
    return mock


def _flag(values: Values, name: str) -> bool:
    flags = {"true": True, "1": True, "false": False, "0": False}
    if values[name].lower() not in flags:
        raise UserError(f"{name}: {values[name]!r}: write true or false")
    return flags[values[name].lower()]


def _number(values: Values, name: str) -> float:
    try:
        number = float(values[name])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{name}: {values[name]!r}: give a number")
    return number


def _within(values: Values, name: str, least: float) -> float:
    number = _number(values, name)
    if not least <= number <= 1.0:
        raise UserError(f"{name}: {number}: give a number from {least:g} to 1")
    return number


def _seed(values: Values) -> int:
    seed = _number(values, "seed")
    if not (seed.is_integer() and 0 <= seed < 2**31):
        raise UserError(f"seed: {values['seed']}: give a whole number from 0 to {2**31 - 1}")
    return int(seed)


def _interface(text: str) -> ControllerInterface | None:
    if text and text not in list(ControllerInterface):
        raise UserError(f"controller_interface: {text!r}: use one of {', '.join(ControllerInterface)}")
    return ControllerInterface(text) if text else None


def _path(values: Values, name: str) -> Path | None:
    return Path(values[name]) if values[name] else None
