"""`mbrl-control demo`: the main job, start to end, in simulation.

An arm is moved by a model that knows nothing but servo lag (`nominal`), learns from its own motion (`fresh`),
gets a payload (`payload_nominal`, `payload`), learns again from the log being written (`relearned`).
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from mbrl_control.cli.demo_view import DemoView
from mbrl_control.cli.interrupt import interruptible
from mbrl_control.cli.locations import arm_file, launch_file
from mbrl_control.cli.provenance import source_commit
from mbrl_control.cli.reference import run_references
from mbrl_control.cli.run_options import FactorOption
from mbrl_control.cli.session import Session, new_folder, run_verb
from mbrl_control.cli.simulation import Simulator, load_filmed_arm
from mbrl_control.cli.task_client import TaskClient
from mbrl_control.cli.wiring import Wiring
from mbrl_control.graph import NodeSpec, load_graph
from mbrl_control.kinematics import sample_targets
from mbrl_control.planning.figure_eight import figure_eight
from mbrl_control.report.report_files import RUN_FILE, add_run_facts, run_facts, write_report
from mbrl_control.robot import Arm, ArmError
from mbrl_control.signals import CommandInterface

SPEED_SCALE = 0.5
"""The cap of a declared payload, in every phase, so that the phases compare."""
WINDOW_S = 3.0
EXCITATION_S = 86.0
PAYLOAD_KG = 2.0
REFERENCE_S = 60.0


AMPLITUDE_M = 0.12
LAPS = 14
"""Two phases of them with the load are what a retraining needs (64 s of motion) and some more."""
PERIODS_S = (2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
TRACK_SPEED = 0.6
"""Of the cap on speed, what the path itself may take."""


@dataclass(frozen=True, slots=True)
class PhaseTask:
    """Command of the task node but for the phase's name, and what its progress counts up to."""

    command: dict[str, Any]
    total: float


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a run is made of."""

    robot: str
    simulator: str
    command: CommandInterface
    seed: int
    folder: Path
    targets: int
    real_time_factor: float


def demo(
    robot: Annotated[str, typer.Option(help="arm: panda, planar, ur5e or a YAML file")] = "panda",
    sim: Annotated[Simulator, typer.Option(help="simulator of the arm")] = Simulator.MUJOCO,
    command: Annotated[
        CommandInterface, typer.Option(help="velocity: reach targets; effort (torques): track a figure eight")
    ] = CommandInterface.VELOCITY,
    seed: Annotated[int, typer.Option(help="seed of everything random", min=0, max=2**31 - 1)] = 0,
    out: Annotated[Path | None, typer.Option(help="new folder of the run (default: out/demo-ROBOT-SEED-TIME)")] = None,
    real_time_factor: FactorOption = 1.0,
    headless: Annotated[bool, typer.Option(help="plain lines instead of live progress bars")] = False,
    report: Annotated[Path | None, typer.Option(help="only recompute the figures of a finished run's folder")] = None,
) -> None:
    """Run the whole job in simulation; the last line is one JSON object with every figure.

    Example: mbrl-control demo --seed 1 --out out/first
    """
    if report is not None:
        print(json.dumps(make_report(report)))
        return
    arm, specs = load_filmed_arm(arm_file(robot), sim, command), load_graph(launch_file("graph.yaml"))
    folder = new_folder(out or Path("out") / f"demo-{arm.model_name}-{seed}-{time.strftime('%Y%m%d-%H%M%S')}")
    view, begin = DemoView(headless), time.monotonic()
    try:
        with interruptible():
            run_demo(DemoOptions(robot, sim.value, command, seed, folder, 15, real_time_factor), arm, specs, view)
            view.say("computing the report from the log and the truth file")
            make_report(folder)
    except KeyboardInterrupt:
        view.say(f"interrupted; what was logged until now is in {folder}, see `mbrl-control log info`")
        raise
    figures = add_run_facts(folder, {"demo_s": round(time.monotonic() - begin, 1), "setup_s": setup_seconds()})
    view.table(figures)
    print(json.dumps(figures))


def run_demo(options: DemoOptions, arm: Arm, specs: list[NodeSpec], view: DemoView) -> None:
    """All phases on one graph, then the reference runs; every artefact goes into the folder."""
    session = Session(
        *(options.folder, arm_file(options.robot), arm.name, options.seed, SPEED_SCALE, options.simulator),
        wiring=Wiring(command=options.command),
        real_time_factor=options.real_time_factor,
    )
    task_of_phase = draw_task(arm, options, view)
    view.say("exporting the prior-only bundle (no learning): phase nominal")
    prior = json.loads(run_verb(["models", "prior", *session.model_options]))["model_id"]
    with session.graph(specs) as graph:
        graph.start(on_ready=view.ready)
        session.await_log()
        scheduling = {name: node.scheduling for name, node in graph.nodes.items()}
        awake = graph.kept_awake
        with TaskClient(graph, session.arm) as task:
            learn_and_relearn(session, task, task_of_phase, prior, view)
            task.run(do="hold")
        measure_reference(session, graph, view)
    facts = {"robot": arm.name, "simulator": options.simulator, "arm": str(session.arm), "seed": options.seed}
    facts |= {"git_sha": source_commit(), "real_time_factor": options.real_time_factor, "processors_kept_awake": awake}
    session.write(RUN_FILE, facts | {"scheduling": scheduling})


def learn_and_relearn(session: Session, task: TaskClient, job: PhaseTask, prior: str, view: DemoView) -> None:
    """The five phases in order."""

    def perform(phase: str) -> None:
        with view.progress(phase, job.total) as on_event:
            task.run(on_event, phase=phase, **job.command)

    def activate(model_id: str) -> None:
        run_verb(["models", "rollback", model_id.rpartition("/")[2], *session.model_options])
        task.run(do="await_model", model_id=model_id)

    def learn(phase: str | None = None) -> str:
        task.run(do="hold")
        model_id = retrain(session, view, phase)
        task.run(do="await_model", model_id=model_id)
        return model_id

    perform("nominal")
    with view.progress("excitation", EXCITATION_S) as on_event:
        task.run(on_event, do="excite", seconds=EXCITATION_S)
    # From the excitation alone: the phase before it went to the very targets that are judged.
    fresh = learn("excitation")
    perform("fresh")
    task.run(do="hold")
    task.run(do="payload", mass=PAYLOAD_KG)
    activate(prior)
    perform("payload_nominal")
    activate(fresh)
    perform("payload")
    learn()
    perform("relearned")


def retrain(session: Session, view: DemoView, phase: str | None) -> str:
    """Learn from the log being written (all of it, or one phase), in a child at nice 19; its model id."""
    view.say("retraining from the log being written (nice 19, one thread) while the arm holds")
    arguments = ["retrain", "--log", str(session.log), *session.model_options]
    arguments += [] if phase is None else ["--phase", phase]
    # Torques for a load are too large for the empty arm, whose log this is, too; here the load stays on.
    arguments += ["--other-payloads", "report"] if session.wiring.command is CommandInterface.EFFORT else []
    result: dict[str, Any] = json.loads(run_verb([*arguments, "--seed", str(session.seed)]))
    session.write(f"retrain-{result['model_id'].rpartition('/')[2]}.json", result)
    view.say(f"bundle {result['model_id']} passed its gate")
    return str(result["model_id"])


def measure_reference(session: Session, graph: Any, view: DemoView) -> None:
    """The same CPU work per cycle on recorded inputs, without ROS, in the planner's and the guard's place."""
    with view.progress("reference", REFERENCE_S) as on_event:
        run_references(session, graph, REFERENCE_S, on_event)


def draw_task(arm: Arm, options: DemoOptions, view: DemoView) -> PhaseTask:
    """What every phase does, the same in each: reach the drawn targets, or follow a figure eight."""
    if options.command is CommandInterface.VELOCITY:
        targets = draw_targets(arm, options, view)
        return PhaseTask({"do": "reach", "targets": targets, "window": WINDOW_S}, len(targets))
    period_s, duration_s = paced(arm)
    view.say(f"a figure eight of {AMPLITUDE_M} m in {period_s} s, {LAPS} laps in every phase")
    return PhaseTask({"do": "track", "amplitude": AMPLITUDE_M, "period": period_s, "laps": LAPS}, round(duration_s))


def paced(arm: Arm) -> tuple[float, float]:
    """Seconds per lap and of all laps of the fastest figure eight that leaves the arm speed to catch up."""
    for period_s in PERIODS_S:
        try:
            times, _ = figure_eight(arm, AMPLITUDE_M, period_s, LAPS, TRACK_SPEED * SPEED_SCALE)
        except ArmError:
            if period_s == PERIODS_S[-1]:
                raise
            continue
        return period_s, float(times[-1])
    raise AssertionError("PERIODS_S is not empty")


def draw_targets(arm: Arm, options: DemoOptions, view: DemoView) -> list[list[float]]:
    """The same targets for every phase, drawn and shown before anything moves."""
    _, positions = sample_targets(arm, options.targets, target_distance(arm), np.random.default_rng(options.seed))
    rows: list[list[float]] = positions.tolist()
    (options.folder / "targets.json").write_text(json.dumps(rows) + "\n")
    view.targets(rows)
    return rows


def target_distance(arm: Arm) -> float:
    """Least distance of consecutive targets, m: 0.25, of a planar two-link arm 0.3 of its reach."""
    if arm.joints > 2:
        return 0.25
    links = [frame.origin_translation for frame in arm.chain[1:]] + [arm.tool_translation]
    return 0.3 * float(sum(np.linalg.norm(link) for link in links))


def make_report(folder: Path) -> dict[str, Any]:
    """Every figure from the log and the truth file alone; writes report.json, report.md and the plots."""
    arm = run_facts(folder).get("arm")
    return write_report(folder, Path(arm) if arm and Path(arm).is_file() else None)


def setup_seconds() -> int | None:
    """What `make setup` took without downloads; None in an environment made by other means."""
    noted = Path(sys.prefix) / ".mbrl-setup-seconds"
    return int(noted.read_text()) if noted.is_file() else None
