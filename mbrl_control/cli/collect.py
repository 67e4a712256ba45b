"""`mbrl-control collect`: start the graph, let the arm excite itself within its limits, stop; a log to learn from."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from mbrl_control.cli import run_options as options
from mbrl_control.cli.demo_view import DemoView
from mbrl_control.cli.errors import UserError
from mbrl_control.cli.interrupt import interruptible
from mbrl_control.cli.locations import launch_file
from mbrl_control.cli.provenance import COLLECTED, own_or_shipped, repeatable
from mbrl_control.cli.session import Session
from mbrl_control.cli.shipped import prepare
from mbrl_control.cli.simulation import Simulator
from mbrl_control.cli.task_client import TaskClient
from mbrl_control.graph import NodeSpec, load_graph
from mbrl_control.signals import CommandInterface


def collect(
    robot: options.RobotOption = "panda",
    sim: options.SimOption = Simulator.MUJOCO,
    command: options.CommandOption = CommandInterface.VELOCITY,
    seconds: Annotated[float, typer.Option(help="of motion", min=5.0, max=3600.0)] = 90.0,
    out: options.OutOption = None,
    registry: options.RegistryOption = None,
    speed_scale: options.SpeedOption = 0.5,
    seed: options.SeedOption = 0,
    real_time_factor: options.FactorOption = 1.0,
    real: options.RealOption = False,
    go_live: options.GoLiveOption = False,
    controller_interface: options.ControllerOption = None,
    controller_name: options.ControllerNameOption = "",
    namespace: options.NamespaceOption = None,
    params_file: options.ParamsOption = None,
    headless: Annotated[bool, typer.Option(help="plain lines instead of a live progress bar")] = False,
) -> None:
    """Move the arm through its work box at random, within the guard's limits, and log it. The last line is JSON.

    Arms and starts the arm: `--real` needs `--go-live`, and you beside the emergency stop.
    Example: mbrl-control collect --robot ur5e --seconds 90 --out out/log
    """
    if real and not go_live:
        raise UserError("--real: a dry run moves nothing, so there is nothing to learn from; add --go-live, or drop it")
    specs = load_graph(launch_file("graph.yaml"))
    run = options.RunOptions(
        *(robot, sim, command, out, registry, speed_scale, seed, False, real, go_live),
        *(controller_interface, controller_name, namespace, params_file),
        real_time_factor=real_time_factor,
    )
    session, _ = options.open_session(run, "collect")
    session.write(COLLECTED, {"command": _repeated(run, seconds)})
    view = DemoView(headless)
    try:
        with interruptible():
            stops = excite(session, specs, seconds, view)
    except KeyboardInterrupt:
        view.say(f"interrupted; what was logged until now is in {session.log}, and can be learned from")
        raise
    view.say(_next_step(run, session))
    print(json.dumps({"log": str(session.log), "seconds": seconds, "stops": stops}))


def _repeated(run: options.RunOptions, seconds: float) -> str:
    """The command that makes such a log again."""
    simulator = None if run.real else run.sim.value
    said = {"robot": own_or_shipped(run.robot), "sim": simulator, "command": run.command.value}
    rest = {"seconds": f"{seconds:g}", "speed-scale": run.speed_scale, "seed": run.seed}
    slowed = {} if run.real_time_factor == 1.0 else {"real-time-factor": run.real_time_factor}
    return repeatable("collect", {**said, **rest, **slowed})


def _next_step(run: options.RunOptions, session: Session) -> str:
    given = f"--robot {run.robot} --command {run.command.value} --log {session.log} --phase excitation"
    return f"next: mbrl-control retrain {given} --registry FOLDER"


def excite(session: Session, specs: list[NodeSpec], seconds: float, view: DemoView) -> int:
    """Phase `excitation` of the log; how often the guard stopped the arm."""
    view.say(prepare(session))
    stops = 0
    with session.graph(specs) as graph:
        graph.start(on_ready=view.ready)
        session.await_log()
        with TaskClient(graph, session.arm) as task:
            with view.progress("excitation", seconds) as show:

                def on_event(event: dict[str, object]) -> None:
                    nonlocal stops
                    stops += event["event"] == "stop"
                    show(event)

                task.run(on_event, do="excite", seconds=seconds)
            task.run(do="hold")
    return stops
