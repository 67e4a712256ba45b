"""`mbrl-control up`: start the graph, wait until it is active, keep it until Ctrl-C or until a node dies."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from mbrl_control.cli import run_options as options
from mbrl_control.cli.demo_view import DemoView
from mbrl_control.cli.interrupt import interruptible
from mbrl_control.cli.locations import launch_file
from mbrl_control.cli.session import Session
from mbrl_control.cli.shipped import prepare
from mbrl_control.cli.simulation import Simulator
from mbrl_control.cli.task_client import WITHOUT_ROS2_RUN, operator_command
from mbrl_control.graph import NodeSpec, load_graph
from mbrl_control.signals import CommandInterface


def up(
    robot: options.RobotOption = "panda",
    sim: options.SimOption = Simulator.MUJOCO,
    command: options.CommandOption = CommandInterface.VELOCITY,
    out: options.OutOption = None,
    registry: options.RegistryOption = None,
    graph: Annotated[Path | None, typer.Option(help="graph description (default: launch/graph.yaml)")] = None,
    speed_scale: options.SpeedOption = 0.5,
    seed: options.SeedOption = 0,
    real_time_factor: options.FactorOption = 1.0,
    dry_run: Annotated[bool, typer.Option(help="everything runs, the relay publishes nothing")] = False,
    real: options.RealOption = False,
    go_live: options.GoLiveOption = False,
    controller_interface: options.ControllerOption = None,
    controller_name: options.ControllerNameOption = "",
    namespace: options.NamespaceOption = None,
    params_file: options.ParamsOption = None,
    planner_settings: options.PlannerSettingsOption = None,
) -> None:
    """Start the graph as separate processes; Ctrl-C stops everything cleanly.

    Example: mbrl-control up --robot panda --out out/session
    """
    specs = load_graph(graph or launch_file("graph.yaml"))
    run = options.RunOptions(
        *(robot, sim, command, out, registry, speed_scale, seed, dry_run, real, go_live),
        *(controller_interface, controller_name, namespace, params_file),
        real_time_factor=real_time_factor,
        planner_settings=planner_settings,
    )
    session, warning = options.open_session(run, "up")
    view = DemoView(headless=True)
    if warning:
        view.say(warning)
    try:
        with interruptible():
            keep_up(session, specs, view)
    except KeyboardInterrupt:
        log = f"the log is in {session.folder}"
        view.say(f"stopped; {log}" if real else f"stopped; log and truth file are in {session.folder}")


def keep_up(session: Session, specs: list[NodeSpec], view: DemoView) -> None:
    """Until an interrupt, or until a node dies."""
    view.say(prepare(session))
    with session.graph(specs) as running:
        running.start(on_ready=view.ready)
        view.say(
            f"graph active in /{running.namespace}; the arm is IDLE until an operator arms it. Ctrl-C ends it."
            + (" Dry run: no command is published." if session.wiring.dry_run else "")
        )
        if session.wiring.real:
            # A robot that is off ends no node: only these say so.
            view.say(f"no driver, no controller: ERROR on /diagnostics after 10 s, and in {session.nodes}")
            view.say("whether the controller that listens is active, only `ros2 control list_controllers` tells")
        view.say("an operator for another terminal (one JSON command a line, see README, section Operating):")
        operator = operator_command(running.starts, running.environment, session.arm, WITHOUT_ROS2_RUN)
        view.say("  " + shlex.join(operator))
        while True:
            time.sleep(0.2)
            running.check()
