"""Retraining beside the running control: from the end of two minutes of motion to the first plan by the new model.

The whole graph, real processes, in real time, on two processors, with the shipped bundle active: the arm excites itself
for two minutes, then follows drawn targets, while the service `mbrl-control learner`, begun before, watches the log
that goes on being written, learns once there is so much new motion, and activates the new bundle (without --shadow:
measured is the time to control). Afterwards the same CPU work per cycle on recorded inputs without ROS, with the bundle
that the counted cycles were planned with; and, with nothing else running, `learner --once` on the same bytes of the
log.

    seconds        = end of the excitation to the first published plan that names the new model, by the log's stamps
    phases         = what they went into: noticing (what the motion still lacked, the service's next look, every 10 s),
                     starting (of the retraining's process), reading, fitting, judging, exporting, trying (the trial),
                     loading (the model node, then the planner in its own process, to its first plan)
    seconds_newest_row = from the newest state that was learned from, later than the end of the excitation
    seconds_alone  = of the retraining's process on the idle machine; seconds_beside = of the same beside the graph
    excess_late, excess_missed = planner cycles and guard ticks in motion, from the end of the excitation to a second
                     after the first plan, above the exact one-sided 95 % Poisson bound of the reference
    planned_with   = these cycles' plans by model, and sizes of the models; another size makes the run invalid
    missed_whole_log = guard ticks of the whole log, with the start of the graph
    limit_violations = as of `bench swap`

Example: `mbrl-control bench retrain --out out/retrain`. Ends with one line of JSON; about eleven minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.deployed import prepare_learned, size_of
from benchmarks.learner_child import Learned, LearnerChild, learn_once
from benchmarks.rate import summary
from benchmarks.rate_window import Contest, Window, machine, reaches, run_window
from mbrl_control.cli.interrupt import interruptible
from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.session import Session, new_folder
from mbrl_control.cli.task_client import TaskClient
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.episode_log.folder import log_file, log_files
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.episode_log.schema import PHASE
from mbrl_control.report.limits import limit_violations
from mbrl_control.report.run_data import Plans, RunData, read_run
from mbrl_control.report.timing import Bools, Stamps, goal_windows, late_cycles, missed_ticks
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface
from sim.engines import Simulator
from sim.truth_file import read_truth

RATE_HZ = 50
LIMIT_S = 60.0
PROCESSORS = 2
DATA_PHASE = "excitation"
SWAP_NS = 1_000_000_000
"""What the taking over itself may cost shows within a second."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The log's side of it, ns of the graph's clock."""

    data_end_ns: int
    newest_row_ns: int
    first_plan_ns: int | None


@dataclass(frozen=True, slots=True)
class Beside:
    """What was found of the graph."""

    window: Window
    learned: Learned
    taken: Taken
    limits: dict[str, int]
    missed_whole_log: int
    planned_with: dict[str, int]
    """Plans in the counted time by model id."""
    sizes: dict[str, str]
    """Of the bundle before and the one learned, by model id."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=float, default=120.0, help="seconds of excitation to learn from")
    parser.add_argument("--seconds", type=float, default=120.0, help="of motion beside the retraining")
    parser.add_argument("--reference", type=float, default=300.0, help="seconds of the references afterwards")
    parser.add_argument("--robot", default="panda", help="a shipped arm: panda, planar or ur5e")
    parser.add_argument("--command", type=CommandInterface, default=CommandInterface.VELOCITY)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/retrain"), help="new folder: logs and bundles")
    options = parser.parse_args()
    folder = new_folder(options.out)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])  # and every child
    before = machine()
    facts = {"robot": options.robot, "command": options.command, "data_s": options.data, **before}
    facts |= {"learner_flags": flags(options), "shadow": False}
    with interruptible():
        beside = measure(options, folder / "beside")
        alone = learn_alone(options, folder)
    print(json.dumps(facts | figures(beside, alone, before["processors"])))


def flags(options: argparse.Namespace) -> list[str]:
    """Of the service, besides folders and arm: the policy. All else is its default."""
    return ["--new-minutes", f"{options.data / 60.0:g}"]


def measure(options: argparse.Namespace, folder: Path) -> Beside:
    """The graph, excited, then moving beside the learner."""
    contest = Contest(
        *(options.robot, Simulator.MUJOCO, options.command, RATE_HZ, options.seconds), *(1.0, options.seed, 0)
    )
    arm, said = load_arm(arm_file(options.robot), options.command), list[Learned]()
    sizes: dict[str, str] = {}

    def work(session: Session, task: TaskClient) -> None:
        with LearnerChild(session.log, [*session.model_options, *flags(options)]) as learner:
            task.run(do="excite", seconds=options.data)
            task.run(**reaches(arm, contest, 0))
            said.append(learner.learned())

    window = run_window(
        contest, folder, 0, lambda session: sizes.update(shipped_twice(session)), work, options.reference
    )
    run = read_run(folder / "log", arm)
    version = int(said[0].result["model_id"].rpartition("/")[2])
    manifest = verify_bundle(Registry(folder / "registry", arm.model_name).path(version), arm)
    assert manifest.training is not None, "a retraining has one"
    sizes[manifest.model_id] = size_of(manifest)
    plan_ns = first_plan_ns(run.plans, manifest.model_id)
    taken = Taken(data_end_ns(folder / "log"), manifest.training.newest_ns, plan_ns)
    cut_log(folder / "log", manifest.training.log_bytes, folder.parent / "alone" / "log")
    limits = limit_violations(read_truth(folder / "truth.bin"), run.ticks, arm)
    window = replace(window, planner=late_beside(run, taken), guard=missed_beside(run, taken))
    planned_with = by_model(run.plans, counted(run.plans.stamp_ns, run, taken))
    return Beside(window, said[0], taken, limits, missed_ticks(run.ticks)[0], planned_with, sizes)


def shipped_twice(session: Session) -> dict[str, str]:
    """The deployed bundle; and a copy for the same retraining on the idle machine. Its size by its id."""
    manifest = prepare_learned(session)
    shutil.copytree(session.registry, session.folder.parent / "alone" / "registry")
    return {manifest.model_id: size_of(manifest)}


def learn_alone(options: argparse.Namespace, folder: Path) -> Learned:
    """The same bytes, the same parent, nothing else running."""
    place = folder / "alone"
    model = ["--robot", str(arm_file(options.robot)), "--registry", str(place / "registry")]
    return learn_once(place / "log", [*model, "--command", options.command.value, *flags(options)])


def data_end_ns(log: Path) -> int:
    """When the phase that followed the excitation was begun."""
    marks = [(published, message.data) for _, published, message in LogReader(log).messages((PHASE,))]
    begun = max(published for published, name in marks if name == DATA_PHASE)
    return min(published for published, name in marks if published > begun and name != DATA_PHASE)


def first_plan_ns(plans: Plans, model_id: str) -> int | None:
    """Stamp of the first plan that names the model; None: there is none."""
    return next((int(ns) for ns, name in zip(plans.stamp_ns, plans.model_id, strict=True) if name == model_id), None)


def counted(stamp: Stamps, run: RunData, taken: Taken) -> Bools:
    """[N] which are in motion, from the end of the data to a second after the first plan."""
    inside = goal_windows(stamp, run.goals) & (stamp >= taken.data_end_ns)
    return inside if taken.first_plan_ns is None else inside & (stamp <= taken.first_plan_ns + SWAP_NS)


def late_beside(run: RunData, taken: Taken) -> tuple[int, int]:
    """(late, all) planner cycles that are counted."""
    return late_cycles(run.cycles, counted(run.cycles.stamp_ns, run, taken))


def missed_beside(run: RunData, taken: Taken) -> tuple[int, int]:
    """(missed, all) guard ticks in the same time."""
    return missed_ticks(run.ticks, counted(run.ticks.stamp_ns, run, taken))


def by_model(plans: Plans, inside: Bools) -> dict[str, int]:
    """Plans by model id."""
    return dict(Counter(name for name, each in zip(plans.model_id, inside.tolist(), strict=True) if each))


def cut_log(log: Path, sizes: Sequence[int], target: Path) -> None:
    """The bytes of a log that were learned from, as a log of its own."""
    target.mkdir(parents=True)
    for number, (path, size) in enumerate(zip(log_files(log), sizes, strict=False)):
        log_file(target, number).write_bytes(path.read_bytes()[:size])


def phases(learned: Learned, taken: Taken) -> dict[str, float]:
    """s by phase; with a first plan they add up to all of it, as far as wall and graph's clock agree."""
    stages: dict[str, float] = learned.result["stage_seconds"]
    found = {"noticing": learned.begun_s - taken.data_end_ns * 1e-9}
    found |= {"starting": learned.wall_s - sum(stages.values()), **stages}
    if taken.first_plan_ns is not None:
        found["loading"] = taken.first_plan_ns * 1e-9 - learned.passed_s
    return {name: round(value, 2) for name, value in found.items()}


def figures(beside: Beside, alone: Learned, processors: int) -> dict[str, Any]:
    """JSON-ready, with the misses."""
    row, learned, taken = summary(RATE_HZ, [beside.window]), beside.learned, beside.taken
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
        "cause": learned.cause,
        "model_id": learned.result["model_id"],
        "rows": learned.result["rows"],
        "epochs": [learned.result["epochs"], alone.result["epochs"]],
        "planned_with": beside.planned_with,
        "sizes": beside.sizes,
        "reference_model": beside.window.references["planner"]["model_id"],
    }
    names = ("late_raw", "missed_raw", "late_reference", "missed_reference", "excess_late", "excess_missed")
    found |= {name: row[name] for name in (*names, "planner_cycles", "guard_cycles", "guard_stops", "cycle_ms")}
    found |= {"missed_whole_log": beside.missed_whole_log, "limit_violations": beside.limits}
    found |= {"stolen_percent": row["stolen_percent_windows"][0], "scheduling": row["scheduling"]}
    misses = list(row["misses"])
    if seconds is None:
        misses.append("seconds: no plan was made with the new model")
    elif seconds > LIMIT_S:
        misses.append(f"seconds {seconds:.2f} above {LIMIT_S:.0f}")
    if beyond := sum(beside.limits.values()):
        misses.append(f"limit_violations {beyond} above 0")
    reasons = [*row["invalid_reasons"], *doubts(beside, processors)]
    return found | {"valid": not reasons, "invalid_reasons": reasons, "misses": misses}


def doubts(beside: Beside, processors: int) -> list[str]:
    """Why it is another run than the one that is asked for."""
    reasons = []
    if processors != PROCESSORS:
        reasons.append(f"processors {processors}: {PROCESSORS} are asked for")
    if len(set(beside.sizes.values())) > 1:
        reasons.append(f"sizes: cycles with {' and with '.join(sorted(beside.sizes))} are not the same work")
    if strangers := sorted(beside.planned_with.keys() - beside.sizes.keys()):
        reasons.append(f"planned_with: {', '.join(strangers)}: neither the model before nor the new one")
    if (early_s := beside.taken.data_end_ns * 1e-9 - beside.learned.begun_s) > 0.0:
        reasons.append(f"the retraining began {early_s:.1f} s before the data were complete ({beside.learned.cause})")
    return reasons


if __name__ == "__main__":
    main()
