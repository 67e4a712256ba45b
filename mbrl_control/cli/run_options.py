"""Options of a run, from the command line or a launch file, and the one way from them to its session."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from mbrl_control.cli.errors import UserError
from mbrl_control.cli.guesses import guesses_told, refuse_guesses
from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.session import Session, new_folder
from mbrl_control.cli.simulation import Simulator, load_simulated_arm
from mbrl_control.cli.wiring import NAME_RULE, Wiring, checked_params_file, is_ros_name, shipped_params_file
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.registry import Registry
from mbrl_control.planning.config import read_config
from mbrl_control.robot import Arm, load_arm
from mbrl_control.safety.controllers import ControllerInterface
from mbrl_control.signals import CommandInterface

RobotOption = Annotated[str, typer.Option(help="arm: panda, planar, ur5e or a YAML file")]
SimOption = Annotated[Simulator, typer.Option(help="simulator of the arm")]
CommandOption = Annotated[CommandInterface, typer.Option(help="what plans are made of")]
OutOption = Annotated[Path | None, typer.Option(help="new folder for log, truth file and bundles")]
RegistryOption = Annotated[
    Path | None,
    typer.Option(help="registry whose active bundle is used (default: the shipped bundle if it fits, else the prior)"),
]
SpeedOption = Annotated[float, typer.Option(help="cap on the rated speeds", min=0.05, max=1.0)]
SeedOption = Annotated[int, typer.Option(help="seed of simulator and planner", min=0, max=2**31 - 1)]
FactorOption = Annotated[
    float,
    typer.Option(help="simulated seconds per real second, for a machine that misses deadlines", min=0.1, max=1.0),
]
RealOption = Annotated[
    bool, typer.Option("--real", help="no simulator: the robot's driver runs already; dry-run without --go-live")
]
GoLiveOption = Annotated[bool, typer.Option("--go-live", help="with --real: the relay publishes commands")]
ControllerOption = Annotated[
    ControllerInterface | None, typer.Option(help="what the arm's controller takes (default: velocity)")
]
ControllerNameOption = Annotated[
    str, typer.Option(help="its name (default: forward_<interface>_controller, ...)", show_default=False)
]
NamespaceOption = Annotated[
    str | None, typer.Option(help="of all topics (default: the arm's name; with --real the root)")
]
ParamsOption = Annotated[Path | None, typer.Option(help="ROS parameter file (default: a shipped one that fits)")]
PlannerSettingsOption = Annotated[Path | None, typer.Option(help="YAML file of planner settings (docs/planning.md)")]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """As given, whoever starts the nodes."""

    robot: str
    sim: Simulator
    command: CommandInterface
    out: Path | None
    registry: Path | None
    speed_scale: float
    seed: int
    dry_run: bool
    real: bool
    go_live: bool
    controller_interface: ControllerInterface | None
    controller_name: str
    namespace: str | None
    params_file: Path | None
    log_level: str = "info"
    real_time_factor: float = 1.0
    planner_settings: Path | None = None


def open_session(run: RunOptions, verb: str) -> tuple[Session, str]:
    """The checked session with its folder made, and a warning (empty: none) to be shown."""
    session = checked_session(run, verb)
    new_folder(session.folder)
    return session, guesses_told(session.arm, load_arm(session.arm, run.command)) if run.real else ""


def checked_session(run: RunOptions, verb: str) -> Session:
    """Check everything, write nothing; without ``run.out`` the run's folder is named after ``verb``, arm and time."""
    if run.go_live and (run.dry_run or not run.real):
        raise UserError("--go-live: only with --real and without --dry-run; a simulated arm is live unless --dry-run")
    if run.real and run.sim is not Simulator.MUJOCO:
        raise UserError(f"--sim {run.sim}: a real arm has no simulator; drop it, or drop --real to simulate")
    path = arm_file(run.robot)
    arm = load_arm(path, run.command) if run.real else load_simulated_arm(path, run.sim, run.command)
    if run.go_live:
        refuse_guesses(path, arm)
    foreign = None if run.registry is None else run.registry.resolve()
    if foreign is not None:
        check_active_bundle(Registry(foreign, arm.model_name), arm)
    parameters = run.params_file or shipped_params_file(arm.name, run.real)
    wiring = Wiring(
        real=run.real,
        dry_run=run.dry_run or (run.real and not run.go_live),
        namespace=_namespace(run.namespace, arm.name, run.real),
        params_file=None if parameters is None else checked_params_file(parameters),
        log_level=run.log_level,
        command=run.command,
        controller_interface=run.controller_interface,
        controller_name=run.controller_name,
    )
    folder = (run.out or Path("out") / f"{verb}-{arm.name}-{time.strftime('%Y%m%d-%H%M%S')}").resolve()
    own = (folder, path, arm.name, run.seed, run.speed_scale, run.sim.value, foreign, wiring)
    return Session(*own, run.real_time_factor, checked_settings(run.planner_settings))


def checked_settings(path: Path | None) -> dict[str, Any]:
    """What the file sets of the planner's settings; PlannerConfigError, or UserError for what an option says."""
    given = {} if path is None else read_config(path).model_dump(mode="json", exclude_unset=True)
    if "speed_scale" in given:
        raise UserError(f"{path}: field 'speed_scale': the guard's cap too; give --speed-scale, launch: speed_scale:=")
    return given


def _namespace(text: str | None, arm: str, real: bool) -> str:
    """Not given: the root for a real arm, as drivers have it, the arm's name for a simulated one."""
    if text is None:
        return "" if real else arm
    namespace = text.strip("/")
    if namespace and not is_ros_name(namespace):
        raise UserError(f"namespace: {text!r}: {NAME_RULE}")
    return namespace


def check_active_bundle(registry: Registry, arm: Arm) -> None:
    """BundleError when the planner would find nothing it may use: better here than in a node's log."""
    registry.check_models()
    version = registry.active()
    if version is None:
        raise BundleError(
            f"{registry.folder}: active.json: names no bundle; run `mbrl-control models prior` or `retrain`"
        )
    verify_bundle(registry.path(version), arm)
