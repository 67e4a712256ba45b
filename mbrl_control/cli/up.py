"""`mbrl-control up`: start the graph, wait until it is active, keep it until Ctrl-C or until a node dies."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from mbrl_control.cli.demo_view import DemoView
from mbrl_control.cli.locations import arm_file, launch_file
from mbrl_control.cli.session import Session, new_folder, run_verb
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.registry import Registry
from mbrl_control.robot import Arm, load_arm


def up(
    robot: Annotated[str, typer.Option(help="arm: panda, planar or a YAML file")] = "panda",
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
    arm = load_arm(path)
    folder = new_folder(out or Path("out") / f"up-{arm.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    session = Session(folder, path, arm.name, seed, speed_scale, registry.resolve() if registry else None)
    view = DemoView(headless=True)
    if registry is not None:
        check_active_bundle(Registry(session.registry, arm.name), arm)
    else:
        run_verb(["models", "prior", "--robot", str(path), "--registry", str(session.registry)])
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with session.graph(graph or launch_file("graph.yaml"), dry_run) as running:
        running.start(on_ready=view.ready)
        view.say(
            f"graph active in /{arm.name}; the arm is IDLE until an operator arms it. Ctrl-C ends it. Files: {folder}"
        )
        while not ended.wait(0.2):
            running.check()
    view.say("stopped")


def check_active_bundle(registry: Registry, arm: Arm) -> None:
    """BundleError when the planner would find nothing it may use: better here than in a node's log."""
    version = registry.active()
    if version is None:
        raise BundleError(
            f"{registry.folder}: active.json: names no bundle; run `mbrl-control models prior` or `retrain`"
        )
    verify_bundle(registry.path(version), arm)
