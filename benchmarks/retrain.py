"""Retraining beside the running control: from the end of two minutes of motion to the first plan by the new model.

The whole graph, real processes, in real time, with the prior active: the arm excites itself for two minutes, then
follows drawn targets, while `mbrl-control learner --once` learns from the log that goes on being written and activates
the new bundle. Afterwards the same CPU work per cycle on recorded inputs without ROS, as in `bench rate`; and, with
nothing else running, the same learner on the same bytes of the log.

    seconds        = end of the excitation to the first published plan that names the new model, by the log's stamps
    phases         = what they went into: noticing (start of the service, its look at the log), starting (of the
                     retraining's process), reading, fitting, judging, exporting, trying (the trial), loading (the model
                     node, then the planner in its own process, to its first plan)
    seconds_newest_row = from the newest state that was learned from, later than the end of the excitation
    seconds_alone  = of the learner's process on the idle machine; seconds_beside = of the same beside the graph
    excess_late, excess_missed = planner cycles from the begin to a second after the first plan, and all guard ticks,
                     above the exact one-sided 95 % Poisson bound of the reference
    limit_violations = as of `bench swap`

Example: `mbrl-control bench retrain --out out/retrain`. Ends with one line of JSON; about seven minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.rate import summary
from benchmarks.rate_window import Contest, Window, machine, run_window
from mbrl_control.cli.interrupt import interruptible
from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.processes import GraphFailed
from mbrl_control.cli.session import Session, new_folder, run_verb
from mbrl_control.cli.spawn import spawn
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.episode_log.folder import log_file, log_files
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.episode_log.schema import PHASE
from mbrl_control.report.limits import limit_violations
from mbrl_control.report.run_data import Plans, RunData, read_run
from mbrl_control.report.timing import goal_windows, late_cycles
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface
from sim.engines import Simulator
from sim.truth_file import read_truth

RATE_HZ = 50
LIMIT_S = 60.0
DATA_PHASE = "excitation"
SWAP_NS = 1_000_000_000
"""What the taking over itself may cost shows within a second."""


@dataclass(frozen=True, slots=True)
class Learned:
    """One run of the learner: its process and what it said."""

    wall_s: float
    begun_s: float
    passed_s: float
    """Wall time, s, of these events."""
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Taken:
    """The log's side of it, ns of the graph's clock."""

    data_end_ns: int
    newest_row_ns: int
    first_plan_ns: int | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=float, default=120.0, help="seconds of excitation to learn from")
    parser.add_argument("--seconds", type=float, default=120.0, help="of motion beside the retraining")
    parser.add_argument("--robot", default="panda", help="a shipped arm: panda, planar or ur5e")
    parser.add_argument("--command", type=CommandInterface, default=CommandInterface.VELOCITY)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/retrain"), help="new folder: logs and bundles")
    options = parser.parse_args()
    folder = new_folder(options.out)
    facts = {"robot": options.robot, "command": options.command, "data_s": options.data, **machine()}
    with interruptible():
        window, learned, taken, limits = measure(options, folder / "beside")
        alone = learn_alone(options, folder, learned)
    print(json.dumps(facts | figures(window, learned, taken, limits, alone)))


def measure(options: argparse.Namespace, folder: Path) -> tuple[Window, Learned, Taken, dict[str, int]]:
    """The graph, excited, then moving beside the learner."""
    contest = Contest(
        *(options.robot, Simulator.MUJOCO, options.command, RATE_HZ, options.seconds), *(1.0, options.seed, 0)
    )
    said: list[Learned] = []
    window = run_window(
        *(contest, folder, 0, prior_twice),
        lambda session: _learning(session, said),
        lambda task: task.run(do="excite", seconds=options.data),
    )
    arm = load_arm(arm_file(options.robot), options.command)
    run = read_run(folder / "log", arm)
    version = int(said[0].result["model_id"].rpartition("/")[2])
    manifest = verify_bundle(Registry(folder / "registry", arm.model_name).path(version), arm)
    assert manifest.training is not None, "a retraining has one"
    plan_ns = first_plan_ns(run.plans, manifest.model_id)
    taken = Taken(data_end_ns(folder / "log"), manifest.training.newest_ns, plan_ns)
    cut_log(folder / "log", manifest.training.log_bytes, folder.parent / "alone" / "log")
    limits = limit_violations(read_truth(folder / "truth.bin"), run.ticks, arm)
    return replace(window, planner=late_beside(run, taken)), said[0], taken, limits


def prior_twice(session: Session) -> None:
    """Nothing learned yet; and a copy for the same retraining on the idle machine."""
    run_verb(["models", "prior", *session.model_options])
    shutil.copytree(session.registry, session.folder.parent / "alone" / "registry")


@contextmanager
def _learning(session: Session, said: list[Learned]) -> Iterator[None]:
    """The learner as a child while the caller goes on; waits for its end."""
    began = time.monotonic()
    child = spawn(learner_command(session.folder, session.model_options), os.environ, None)
    try:
        yield
        output, _ = child.communicate()
    except BaseException:
        _end(child)
        raise
    said.append(learned_of(output, time.monotonic() - began))


def learn_alone(options: argparse.Namespace, folder: Path, beside: Learned) -> Learned:
    """The same bytes, the same prior, nothing else running."""
    place = folder / "alone"
    model = ["--robot", str(arm_file(options.robot)), "--registry", str(place / "registry")]
    began = time.monotonic()
    child = spawn(learner_command(place, [*model, "--command", options.command.value]), os.environ, None)
    try:
        output, _ = child.communicate()
    except BaseException:
        _end(child)
        raise
    return learned_of(output, time.monotonic() - began)


def _end(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGINT)
    child.wait()


def learner_command(folder: Path, model_options: Sequence[str]) -> list[str]:
    """Once, as soon as there is what its gate needs."""
    verb = [sys.executable, "-m", "mbrl_control.cli.main", "learner"]
    return [*verb, "--logs", str(folder / "log"), *model_options, "--once", "--new-minutes", "1.2"]


def learned_of(output: str, wall_s: float) -> Learned:
    """What the learner's events say; GraphFailed where it made no model, for the reason on standard error."""
    events = {event["event"]: event for event in map(json.loads, output.splitlines())}
    if "passed" not in events:
        raise GraphFailed(f"the learner made no model: {json.dumps(list(events.values())[-2:])}")
    passed = events["passed"]
    return Learned(wall_s, events["begun"]["time"], passed["time"], passed["result"])


def data_end_ns(log: Path) -> int:
    """When the phase that followed the excitation was begun."""
    marks = [(published, message.data) for _, published, message in LogReader(log).messages((PHASE,))]
    begun = max(published for published, name in marks if name == DATA_PHASE)
    return min(published for published, name in marks if published > begun and name != DATA_PHASE)


def first_plan_ns(plans: Plans, model_id: str) -> int | None:
    """Stamp of the first plan that names the model; None: there is none."""
    return next((int(ns) for ns, name in zip(plans.stamp_ns, plans.model_id, strict=True) if name == model_id), None)


def late_beside(run: RunData, taken: Taken) -> tuple[int, int]:
    """(late, all) planner cycles in motion, from the end of the data to a second after the first plan."""
    inside = goal_windows(run.cycles.stamp_ns, run.goals) & (run.cycles.stamp_ns >= taken.data_end_ns)
    if taken.first_plan_ns is not None:
        inside &= run.cycles.stamp_ns <= taken.first_plan_ns + SWAP_NS
    return late_cycles(run.cycles, inside)


def cut_log(log: Path, sizes: Sequence[int], target: Path) -> None:
    """The bytes of a log that were learned from, as a log of its own."""
    target.mkdir(parents=True)
    for number, (path, size) in enumerate(zip(log_files(log), sizes, strict=False)):
        log_file(target, number).write_bytes(path.read_bytes()[:size])


def phases(learned: Learned, taken: Taken) -> dict[str, float]:
    """s by phase; with a first plan they add up to all of it, as far as wall and graph's clock agree."""
    stages: dict[str, float] = learned.result["stage_seconds"]
    found = {"noticing": learned.begun_s - taken.data_end_ns * 1e-9}
    found |= {"starting": learned.passed_s - learned.begun_s - sum(stages.values()), **stages}
    if taken.first_plan_ns is not None:
        found["loading"] = taken.first_plan_ns * 1e-9 - learned.passed_s
    return {name: round(value, 2) for name, value in found.items()}


def figures(window: Window, learned: Learned, taken: Taken, limits: dict[str, int], alone: Learned) -> dict[str, Any]:
    """JSON-ready, with the misses."""
    row = summary(RATE_HZ, [window])
    plan_ns = taken.first_plan_ns
    seconds = None if plan_ns is None else round((plan_ns - taken.data_end_ns) * 1e-9, 2)
    found: dict[str, Any] = {
        "seconds": seconds,
        "limit_seconds": LIMIT_S,
        "phases": phases(learned, taken),
        "seconds_newest_row": None if plan_ns is None else round((plan_ns - taken.newest_row_ns) * 1e-9, 2),
        "seconds_beside": round(learned.wall_s, 2),
        "seconds_alone": round(alone.wall_s, 2),
        "phases_alone": alone.result["stage_seconds"],
        "model_id": learned.result["model_id"],
        "rows": learned.result["rows"],
        "epochs": [learned.result["epochs"], alone.result["epochs"]],
    }
    names = ("late_raw", "missed_raw", "late_reference", "missed_reference", "excess_late", "excess_missed")
    found |= {name: row[name] for name in (*names, "planner_cycles", "guard_cycles", "guard_stops", "cycle_ms")}
    found |= {"limit_violations": limits, "stolen_percent": row["stolen_percent_windows"][0]}
    misses = list(row["misses"])
    if seconds is None:
        misses.append("seconds: no plan was made with the new model")
    elif seconds > LIMIT_S:
        misses.append(f"seconds {seconds:.2f} above {LIMIT_S:.0f}")
    if beyond := sum(limits.values()):
        misses.append(f"limit_violations {beyond} above 0")
    found["scheduling"] = row["scheduling"]
    return found | {"valid": row["valid"], "invalid_reasons": row["invalid_reasons"], "misses": misses}


if __name__ == "__main__":
    main()
