"""Hot swaps while the arm moves: late plans, missed ticks and commands beyond the limits, beside the same run without.

The whole graph, real processes: the arm follows drawn targets, a new one before it has reached the last, so that it
does not rest, while `active.json` goes back and forth between two bundles of the deployed size: the shipped one, and
one learned as it was from other motion (`second_model.py`), which shares no weight with it. Each time the model node
checks and warms the bundle and announces it, and the planner loads it in its own process and takes it over between two
cycles. Windows with and without swaps alternate, each followed by the same CPU work per cycle, with the shipped bundle,
on recorded inputs without ROS; after a window with swaps five times as long.

    swaps         = changes of the model that plans were made with, while targets were followed, by the plans of the log
    swaps_in_motion = those at which some joint was faster than 0.05 rad/s by the newest belief
    not_swapped   = activations that no plan followed: superseded before they were loaded
    late_at_swaps = planner cycles from behind the last plan of one model to the first of the next that were late or
                    skipped; missed_at_swaps = guard ticks missed then
    excess_late, excess_missed, excess_late_at_swaps = count in the windows with swaps, while targets were followed,
                    above the exact one-sided 95 % Poisson bound of the reference
    limit_violations = simulator steps and guard ticks beyond position, speed, acceleration or jerk (torque and its
                    rate), from the simulator's truth and the applied commands
    guard_limited = commands that a stage of the guard changed before they were applied, by stage: what the applied ones
                    owe to it
    interventions_at_swaps = runs of commands that one limit of the guard changed (jerk, speed, ...), which
                    began within 0.2 s from the first plan of another model on: the step that a swap asks for shows
                    here, not in what was applied. A miss where even the exact 95 % lower bound of their mean lies above
                    the upper one of the windows without swaps, scaled to as many ticks (interventions_bound)
    interventions_per_s = of those ticks, of the others with targets, and of the windows without swaps
    *_still       = the same of the windows without swaps
    missed_whole_log = guard ticks of the whole log, with the start of the graph

Example: `mbrl-control bench swap --seconds 60 --swaps 100 --out out/swap`. Ends with one line of JSON; ten minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.deployed import add_bundle, prepare_learned, registry_of, size_of
from benchmarks.guard_limits import Limited, behind_swaps, by_stage, compared, counts, intervention_misses, read_limited
from benchmarks.rate import summary
from benchmarks.rate_window import Contest, Window, machine, reaches, run_window
from benchmarks.second_model import SecondModel, learn_second
from mbrl_control.cadence import plan_budget_ns
from mbrl_control.cli.interrupt import interruptible
from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.session import Session, new_folder
from mbrl_control.cli.task_client import Event, TaskClient
from mbrl_control.deployment.registry import Registry
from mbrl_control.report.limits import limit_violations
from mbrl_control.report.run_data import GoalEvent, RunData, read_run
from mbrl_control.report.timing import (
    Bools,
    Stamps,
    at_swaps,
    excess_over_reference,
    late_cycles,
    missed_ticks,
    swap_spans,
    swap_times,
)
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface
from sim.engines import Simulator
from sim.truth_file import read_truth

RATE_HZ = 50
BUDGET_NS = plan_budget_ns(round(1e9 / RATE_HZ))
EACH_S = 0.8
"""After that the next target is given; to reach one takes longer."""
REFERENCE_TIMES = 5.0
"""With no late cycle in so long a reference, its bound for the window is 0.6 of one: a single late plan is excess."""
MOVING = 0.05
"""rad/s of the fastest joint."""
LEAST_IN_MOTION = 0.95
"""Of the swaps asked for."""


@dataclass(frozen=True, slots=True)
class Swapped:
    """One window: what `bench rate` measures, counted while targets were followed, and what became of the swaps."""

    window: Window
    activations: int
    swaps: int
    in_motion: int
    """Swaps."""
    late_at_swaps: tuple[int, int]
    """(late, all) planner cycles."""
    missed_at_swaps: int
    missed_whole_log: int
    limits: dict[str, int]
    limited: Counter[str]
    """Commands that the guard changed, by the name of the stage."""
    interventions_at_swaps: tuple[int, int]
    interventions_elsewhere: tuple[int, int]
    """(interventions of the guard's limits, ticks) behind swaps, and elsewhere while targets were followed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the graph in motion, in each window")
    parser.add_argument("--swaps", type=int, default=100, help="activations in each window with swaps")
    parser.add_argument("--rounds", type=int, default=1, help="windows with, and as many without swaps")
    parser.add_argument("--robot", default="panda", help="a shipped arm: panda, planar or ur5e")
    parser.add_argument("--command", type=CommandInterface, default=CommandInterface.VELOCITY)
    parser.add_argument("--real-time-factor", type=float, default=1.0, help="below 1: to try the bench, no figure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/swap"), help="new folder: every log")
    options = parser.parse_args()
    folder = new_folder(options.out)
    before, models = machine(), dict[str, str]()
    found: dict[int, list[Swapped]] = {options.swaps: [], 0: []}
    with interruptible():
        second = learn_second(options.robot, options.command, options.seed, folder / "second")
        for number in range(options.rounds):
            for swaps, done in found.items():
                done.append(measure(options, folder / f"{number}-{swaps}swaps", number, swaps, second, models))
                last = done[-1]
                print(
                    f"{last.swaps} swaps: {last.window.planner[0]} late, {last.window.guard[0]} missed", file=sys.stderr
                )
    facts = {"robot": options.robot, "command": options.command, "seconds": options.seconds, **before}
    facts |= {"real_time_factor": options.real_time_factor, "models": models, "second_model": gate_of(second)}
    print(json.dumps(facts | figures(options.swaps * options.rounds, found[options.swaps], found[0])))


def measure(
    options: argparse.Namespace, folder: Path, number: int, swaps: int, second: SecondModel, models: dict[str, str]
) -> Swapped:
    """One window of the graph with so many activations, evenly spread; ``models`` get their sizes."""
    contest = Contest(
        *(options.robot, Simulator.MUJOCO, options.command, RATE_HZ, options.seconds),
        *(options.real_time_factor, options.seed, 0),
    )
    arm, activated = load_arm(arm_file(options.robot), options.command), list[int]()
    period_s = (options.seconds - EACH_S) / (swaps + 1) / options.real_time_factor

    def work(session: Session, task: TaskClient) -> None:
        with _swapping(session, swaps, period_s, activated) as on_event:
            task.run(on_event, **reaches(arm, contest, number, EACH_S))

    def prepared(session: Session) -> None:
        models.update(two_models(session, second))

    reference_s = options.seconds * (REFERENCE_TIMES if swaps else 1.0)
    window = run_window(contest, folder, number, prepared, work, reference_s)
    run = read_run(folder / "log", arm)
    limits = limit_violations(read_truth(folder / "truth.bin"), run.ticks, arm)
    return counted(window, run, len(activated), limits, read_limited(folder / "log"))


def counted(window: Window, run: RunData, activations: int, limits: dict[str, int], limited: Limited) -> Swapped:
    """While targets were followed, by the log."""
    span, spans = followed(run.goals), swap_spans(run.plans)
    cycles, ticks = within(run.cycles.stamp_ns, span), within(run.ticks.stamp_ns, span)
    # A cycle begins with its tick, so that of the first plan of a model, too, lies between both plans.
    swapping = cycles & at_swaps(run.cycles.deadline_ns - BUDGET_NS, spans)
    moments = swap_times(run.plans)
    moments = moments[within(moments, span)]
    commands = within(limited.stamp_ns, span)
    behind = commands & behind_swaps(limited.stamp_ns, moments)
    window = replace(window, planner=late_cycles(run.cycles, cycles), guard=missed_ticks(run.ticks, ticks))
    return Swapped(
        window,
        activations,
        len(moments),
        int(moving(run, moments).sum()),
        late_cycles(run.cycles, swapping),
        missed_ticks(run.ticks, ticks & at_swaps(run.ticks.stamp_ns, spans))[0],
        missed_ticks(run.ticks)[0],
        limits,
        by_stage(limited, commands),
        counts(limited, behind),
        counts(limited, commands & ~behind),
    )


def followed(goals: tuple[GoalEvent, ...]) -> tuple[int, int]:
    """From the first target to the end of the last one, ns."""
    stamps = [goal.stamp_ns for goal in goals]
    return min(stamps), max(stamps) + round(EACH_S * 1e9)


def within(stamp: Stamps, span: tuple[int, int]) -> Bools:
    """[N]"""
    return np.asarray((stamp >= span[0]) & (stamp <= span[1]))


def moving(run: RunData, moments: Stamps) -> Bools:
    """[W] whether some joint moved, by the newest belief at each moment."""
    newest = np.maximum(np.searchsorted(run.belief_ns, moments, side="right") - 1, 0)
    return np.asarray(np.abs(run.belief_velocity[newest]).max(axis=1) > MOVING)


def two_models(session: Session, second: SecondModel) -> dict[str, str]:
    """The shipped bundle as the active one, the second beside it: sizes by model id."""
    shipped, other = prepare_learned(session), second.bundle.manifest
    add_bundle(session, second.bundle)
    return {shipped.model_id: size_of(shipped), other.model_id: size_of(other)}


def gate_of(second: SecondModel) -> dict[str, float]:
    """Its loss on held-out motion beside that of the prior alone, rad after 0.3 s: how well it predicts what it plans
    with."""
    return {"loss": second.verdict.candidate, "loss_of_prior": second.verdict.reference}


@contextmanager
def _swapping(session: Session, swaps: int, period_s: float, activated: list[int]) -> Iterator[Callable[[Event], None]]:
    """Activate the versions of the registry by turns, in a thread, from the first event that is handed over on: before
    the first target has had its time the arm is being armed, and rests."""
    begun, ending = threading.Event(), threading.Event()

    def activate() -> None:
        begun.wait()
        activate_by_turns(registry_of(session), swaps, period_s, ending, activated)

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(activate)
        try:
            yield lambda event: begun.set()
        finally:
            ending.set()
            begun.set()
        running.result()


def activate_by_turns(
    registry: Registry, swaps: int, period_s: float, ending: threading.Event, activated: list[int]
) -> None:
    """``swaps`` activations, each of the version after the active one, ``period_s`` after the last was due, until
    ``ending``."""
    versions = registry.versions()
    begun = time.monotonic()
    while len(activated) < swaps and not ending.wait(begun + period_s * (len(activated) + 1) - time.monotonic()):
        current = registry.active()
        following = versions[(versions.index(current) + 1) % len(versions)] if current in versions else versions[0]
        registry.activate(following)
        activated.append(following)


def figures(asked: int, swapped: list[Swapped], still: list[Swapped]) -> dict[str, Any]:
    """JSON-ready, with the misses: fewer swaps than ``asked`` for, or fewer of them in motion, among them."""
    rows = {name: summary(RATE_HZ, [one.window for one in group]) for name, group in (("", swapped), ("_still", still))}
    found: dict[str, Any] = {
        "swaps": sum(one.swaps for one in swapped),
        "swaps_in_motion": sum(one.in_motion for one in swapped),
        "not_swapped": sum(one.activations - one.swaps for one in swapped),
        **_at_swaps(swapped),
        **compared(
            [one.interventions_at_swaps for one in swapped],
            [one.interventions_elsewhere for one in swapped],
            [one.interventions_elsewhere for one in still],
        ),
    }
    for suffix, group in (("", swapped), ("_still", still)):
        row = rows[suffix]
        for name in ("late_raw", "missed_raw", "late_reference", "missed_reference", "excess_late", "excess_missed"):
            found[name + suffix] = row[name]
        found[f"limit_violations{suffix}"] = {kind: sum(one.limits[kind] for one in group) for kind in group[0].limits}
        found[f"guard_limited{suffix}"] = dict(sum((one.limited for one in group), Counter[str]()))
        found[f"missed_whole_log{suffix}"] = sum(one.missed_whole_log for one in group)
        for name in ("guard_stops", "cycle_ms", "planner_cycles", "guard_cycles"):
            found[name + suffix] = row[name]
    misses = list(rows[""]["misses"])
    if found["excess_late_at_swaps"] > 0.0:
        misses.append(f"excess_late_at_swaps {found['excess_late_at_swaps']:.2f} above 0")
    for name, least in (("swaps", asked), ("swaps_in_motion", round(LEAST_IN_MOTION * asked))):
        if found[name] < least:
            misses.append(f"{name} {found[name]} below {least}")
    if beyond := sum(found["limit_violations"].values()):
        misses.append(f"limit_violations {beyond} above 0")
    misses += intervention_misses(found)
    valid, reasons = rows[""]["valid"], rows[""]["invalid_reasons"]
    return found | {"scheduling": rows[""]["scheduling"], "valid": valid, "invalid_reasons": reasons, "misses": misses}


def _at_swaps(swapped: list[Swapped]) -> dict[str, Any]:
    """Raw, and above what the reference would have in as many cycles."""
    late, cycles = (sum(column) for column in zip(*(one.late_at_swaps for one in swapped), strict=True))
    references = [one.window.references["planner"] for one in swapped]
    excess = excess_over_reference(
        late, cycles, *(sum(each[name] for each in references) for name in ("late", "cycles"))
    )
    return {
        "late_at_swaps": late,
        "cycles_at_swaps": cycles,
        "excess_late_at_swaps": round(excess.excess, 2),
        "missed_at_swaps": sum(one.missed_at_swaps for one in swapped),
    }


if __name__ == "__main__":
    main()
