"""`mbrl-control up`: start the graph, wait until it is active, keep it until Ctrl-C or until a node dies."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from mbrl_control.cli.demo_view import DemoView
from mbrl_control.cli.errors import UserError
from mbrl_control.cli.interrupt import interruptible
from mbrl_control.cli.locations import arm_file, launch_file
from mbrl_control.cli.session import Session, new_folder, run_verb
from mbrl_control.cli.simulation import Simulator, load_simulated_arm
from mbrl_control.cli.task_client import operator_command
from mbrl_control.cli.wiring import Wiring, checked_params_file, shipped_params_file
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.registry import Registry
from mbrl_control.graph import NodeSpec, load_graph
from mbrl_control.robot import Arm, load_arm
from mbrl_control.safety.controllers import ControllerInterface
from mbrl_control.signals import CommandInterface


def up(
    robot: Annotated[str, typer.Option(help="arm: panda, planar, ur5e or a YAML file")] = "panda",
    sim: Annotated[Simulator, typer.Option(help="simulator of the arm")] = Simulator.MUJOCO,
    command: Annotated[CommandInterface, typer.Option(help="what plans are made of")] = CommandInterface.VELOCITY,
    out: Annotated[Path | None, typer.Option(help="new folder for log, truth file and bundles")] = None,
    registry: Annotated[
        Path | None, typer.Option(help="registry whose active bundle is used (default: a new one, prior only)")
    ] = None,
    graph: Annotated[Path | None, typer.Option(help="graph description (default: launch/graph.yaml)")] = None,
    speed_scale: Annotated[float, typer.Option(help="cap on the rated speeds", min=0.05, max=1.0)] = 0.5,
    seed: Annotated[int, typer.Option(help="seed of simulator and planner", min=0, max=2**31 - 1)] = 0,
    dry_run: Annotated[bool, typer.Option(help="everything runs, the relay publishes nothing")] = False,
    real: Annotated[
        bool, typer.Option("--real", help="no simulator: the robot's driver runs already; dry-run without --go-live")
    ] = False,
    go_live: Annotated[bool, typer.Option("--go-live", help="with --real: the relay publishes commands")] = False,
    controller_interface: Annotated[
        ControllerInterface | None, typer.Option(help="what the arm's controller takes (default: velocity)")
    ] = None,
    controller_name: Annotated[str, typer.Option(help="its name (default: forward_<interface>_controller, ...)")] = "",
    namespace: Annotated[
        str | None, typer.Option(help="of all topics (default: the arm's name; with --real the root)")
    ] = None,
    params_file: Annotated[
        Path | None, typer.Option(help="ROS parameter file (default: a shipped one that fits)")
    ] = None,
) -> None:
    """Start the graph as separate processes; Ctrl-C stops everything cleanly.

    Example: mbrl-control up --robot panda --out out/session
    """
    if go_live and (dry_run or not real):
        raise UserError("--go-live: only with --real and without --dry-run; a simulated arm is live unless --dry-run")
    path = arm_file(robot)
    arm = load_arm(path, command) if real else load_simulated_arm(path, sim, command)
    specs = load_graph(graph or launch_file("graph.yaml"))
    if registry is not None:
        check_active_bundle(Registry(registry.resolve(), arm.model_name), arm)
    parameters = params_file or shipped_params_file(arm.name, real)
    wiring = Wiring(
        real=real,
        dry_run=dry_run or (real and not go_live),
        namespace="" if real and namespace is None else namespace,
        params_file=None if parameters is None else checked_params_file(parameters),
        command=command,
        controller_interface=controller_interface,
        controller_name=controller_name,
    )
    folder = new_folder(out or Path("out") / f"up-{arm.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    foreign = registry.resolve() if registry else None
    session = Session(folder, path, arm.name, seed, speed_scale, sim.value, foreign, wiring)
    view = DemoView(headless=True)
    try:
        with interruptible():
            keep_up(session, specs, view)
    except KeyboardInterrupt:
        view.say(f"stopped; the log is in {folder}" if real else f"stopped; log and truth file are in {folder}")


def keep_up(session: Session, specs: list[NodeSpec], view: DemoView) -> None:
    """Until an interrupt, or until a node dies."""
    prepare(session)
    with session.graph(specs) as running:
        running.start(on_ready=view.ready)
        view.say(
            f"graph active in /{running.namespace}; the arm is IDLE until an operator arms it. Ctrl-C ends it."
            + (" Dry run: no command is published." if session.wiring.dry_run else "")
        )
        view.say("an operator for another terminal (one JSON command a line, see README, section Operating):")
        view.say("  " + shlex.join(operator_command(running, session.arm)))
        while True:
            time.sleep(0.2)
            running.check()


def prepare(session: Session) -> None:
    """What a run without a registry of its own needs: the prior-only bundle."""
    if session.foreign_registry is None:
        run_verb(["models", "prior", *session.model_options])


def check_active_bundle(registry: Registry, arm: Arm) -> None:
    """BundleError when the planner would find nothing it may use: better here than in a node's log."""
    version = registry.active()
    if version is None:
        raise BundleError(
            f"{registry.folder}: active.json: names no bundle; run `mbrl-control models prior` or `retrain`"
        )
    verify_bundle(registry.path(version), arm)
