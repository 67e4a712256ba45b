"""`mbrl-control up`: start the graph, wait until it is active, keep it until Ctrl-C or until a node dies."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from mbrl_control.cli.demo_view import DemoView
from mbrl_control.cli.interrupt import interruptible
from mbrl_control.cli.locations import arm_file, launch_file
from mbrl_control.cli.processes import NodeSpec, load_graph
from mbrl_control.cli.session import Session, new_folder, run_verb
from mbrl_control.cli.simulation import Simulator, load_simulated_arm
from mbrl_control.cli.task_client import operator_command
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.registry import Registry
from mbrl_control.robot import Arm


def up(
    robot: Annotated[str, typer.Option(help="arm: panda, planar, ur5e or a YAML file")] = "panda",
    sim: Annotated[Simulator, typer.Option(help="simulator of the arm")] = Simulator.MUJOCO,
    out: Annotated[Path | None, typer.Option(help="new folder for log, truth file and bundles")] = None,
    registry: Annotated[
        Path | None, typer.Option(help="registry whose active bundle is used (default: a new one, prior only)")
    ] = None,
    graph: Annotated[Path | None, typer.Option(help="graph description (default: launch/graph.yaml)")] = None,
    speed_scale: Annotated[float, typer.Option(help="cap on the rated speeds", min=0.05, max=1.0)] = 0.5,
    seed: Annotated[int, typer.Option(help="seed of simulator and planner", min=0, max=2**31 - 1)] = 0,
    dry_run: Annotated[bool, typer.Option(help="everything runs, the relay publishes nothing")] = False,
) -> None:
    """Start the graph as separate processes; Ctrl-C stops everything cleanly.

    Example: mbrl-control up --robot panda --out out/session
    """
    path = arm_file(robot)
    arm, specs = load_simulated_arm(path, sim), load_graph(graph or launch_file("graph.yaml"))
    if registry is not None:
        check_active_bundle(Registry(registry.resolve(), arm.name), arm)
    folder = new_folder(out or Path("out") / f"up-{arm.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    session = Session(folder, path, arm.name, seed, speed_scale, sim.value, registry.resolve() if registry else None)
    view = DemoView(headless=True)
    try:
        with interruptible():
            keep_up(session, specs, dry_run, view)
    except KeyboardInterrupt:
        view.say(f"stopped; log and truth file are in {folder}")


def keep_up(session: Session, specs: list[NodeSpec], dry_run: bool, view: DemoView) -> None:
    """Until an interrupt, or until a node dies."""
    if session.foreign_registry is None:
        run_verb(["models", "prior", "--robot", str(session.arm), "--registry", str(session.registry)])
    with session.graph(specs, dry_run) as running:
        running.start(on_ready=view.ready)
        view.say(f"graph active in /{session.robot}; the arm is IDLE until an operator arms it. Ctrl-C ends it.")
        view.say("an operator for another terminal (one JSON command a line, see README, section Operating):")
        view.say("  " + shlex.join(operator_command(running, session.arm)))
        while True:
            time.sleep(0.2)
            running.check()


def check_active_bundle(registry: Registry, arm: Arm) -> None:
    """BundleError when the planner would find nothing it may use: better here than in a node's log."""
    version = registry.active()
    if version is None:
        raise BundleError(
            f"{registry.folder}: active.json: names no bundle; run `mbrl-control models prior` or `retrain`"
        )
    verify_bundle(registry.path(version), arm)
