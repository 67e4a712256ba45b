"""Arguments of the launch files: the usual names of robot bring-up, safe defaults, a description each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mbrl_control.cli.simulation import Simulator
from mbrl_control.safety.controllers import ControllerInterface
from mbrl_control.signals import CommandInterface

DEFAULT_ROBOT = "panda"
"""Not declared as a default: where an own arm is given, the driver must not be told a type that nobody named."""
DRIVERS_OWN = ("robot_ip", "controllers_file")
"""Of no use to this graph: handed to the driver's launch file."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One launch argument."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()

    def keywords(self) -> dict[str, Any]:
        """Of `launch.actions.DeclareLaunchArgument`."""
        values = {"name": self.name, "default_value": self.default, "description": self.description}
        return values | ({"choices": list(self.choices)} if self.choices else {})


_ROBOT = (
    Argument("robot_type", "", f"a shipped arm (default: {DEFAULT_ROBOT}); also told to the robot's driver"),
    Argument("arm", "", "arm description YAML of an own arm (default: the shipped one of robot_type)"),
)
_COMMAND = Argument("command_interface", "velocity", "what plans and safe commands are", tuple(CommandInterface))
_LOG_LEVEL = Argument("log_level", "info", "of every node", ("debug", "info", "warn", "error", "fatal"))
_GRAPH = (
    *_ROBOT,
    Argument("use_sim_time", "false", "has to stay false: deadlines and watchdogs count on a steady clock"),
    Argument("params_file", "", "ROS parameter file (default: a shipped one that fits robot_type)"),
    _COMMAND,
    Argument(
        "controller_interface",
        "",
        "what the arm's controller takes (default: as its name tells, else as params_file says, else velocity)",
        ("", *ControllerInterface),
    ),
    Argument(
        "initial_joint_controller",
        "",
        "name of the controller that is commanded (default: as params_file says, else the usual one of the interface)",
    ),
    Argument("speed_scale", "0.5", "cap on the rated joint speeds, 0.05 to 1"),
    Argument(
        "models", "", "registry whose active bundle is used (default: the shipped one if it fits, else the prior)"
    ),
    Argument("planner_settings", "", "YAML file of planner settings (docs/planning.md)"),
    Argument("seed", "0", "seed of planner and simulator"),
    Argument("out", "", "new folder of the run: log, bundles, parameters (default: below out/, with arm and time)"),
    _LOG_LEVEL,
)

SIM = (
    *_GRAPH,
    Argument("sim", Simulator.MUJOCO.value, "simulator of the arm", tuple(Simulator)),
    Argument("real_time_factor", "1.0", "simulated seconds per real second, 0.1 to 1, for a machine that is too slow"),
    Argument("namespace", "", "of all topics (default: the arm's name)"),
    Argument("dry_run", "false", "everything runs, the relay publishes nothing"),
    Argument("use_mock_hardware", "true", "has to stay true: the simulator stands for the robot"),
    Argument("use_fake_hardware", "", "older name of use_mock_hardware; empty: the same"),
    Argument("robot_ip", "", "has to stay empty: no robot is spoken to"),
    Argument("controllers_file", "", "has to stay empty: the simulator stands for the controllers too"),
)
REAL = (
    *_GRAPH,
    Argument("namespace", "", "of all topics, also told to the driver (default: the root, as drivers do)"),
    Argument("dry_run", "true", "everything runs, the relay publishes nothing; false lets commands through"),
    Argument(
        "driver",
        "",
        "the driver's launch file to include, PACKAGE/FILE (default: it runs already); beside arm give robot_type too",
    ),
    Argument("use_mock_hardware", "true", "told to the driver: no robot is spoken to; false needs robot_ip"),
    Argument("use_fake_hardware", "", "older name of use_mock_hardware, told to the driver too; empty: the same"),
    Argument("robot_ip", "", "address of the robot, told to the driver"),
    Argument("controllers_file", "", "told to the driver: its YAML of controllers (default: the driver's own)"),
)
RETRAIN = (
    *_ROBOT,
    _COMMAND,
    Argument("log", "", "log to learn from (a folder or an MCAP file), also one being written; has to be given"),
    Argument("models", "models", "registry that the new bundle goes to, and whose active one it has to beat"),
    Argument("phase", "", "learn from the newest stretch of this phase only (default: the whole log)"),
    Argument("seed", "0", "seed of the training"),
)
