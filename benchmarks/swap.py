"""Hot swaps while the arm moves: late plans, missed ticks and commands beyond the limits, beside the same run without.

The whole graph, real processes: the arm follows drawn targets while `active.json` goes back and forth between two
different models, the shipped one and the prior that has learned nothing. Each time the model node checks and warms the
bundle and announces it, and the planner loads it in its own process and takes it over between two cycles. Windows with
and without swaps alternate, each followed by the same CPU work per cycle on recorded inputs without ROS.

    swaps         = changes of the model that plans were made with, counted in the plans of the log
    not_swapped   = activations that no plan followed: superseded before they were loaded
    excess_late, excess_missed = count in the windows with swaps above the exact one-sided 95 % Poisson bound of the
                    reference
    limit_violations = simulator steps and guard ticks beyond position, speed, acceleration or jerk (torque and its
                    rate), from the simulator's truth and the applied commands
    *_still       = the same of the windows without swaps

Example: `mbrl-control bench swap --seconds 60 --swaps 100 --out out/swap`. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rate import summary
from benchmarks.rate_window import Contest, Window, machine, run_window
from mbrl_control.cli.interrupt import interruptible
from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.session import Session, new_folder, run_verb
from mbrl_control.cli.shipped import prepare
from mbrl_control.deployment.registry import Registry
from mbrl_control.report.limits import limit_violations
from mbrl_control.report.run_data import read_run
from mbrl_control.report.timing import goal_windows, swap_times
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface
from sim.engines import Simulator
from sim.truth_file import read_truth

RATE_HZ = 50


@dataclass(frozen=True, slots=True)
class Swapped:
    """One window: what `bench rate` measures, and what became of the activations."""

    window: Window
    activations: int
    swaps: int
    limits: dict[str, int]


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
    before = machine()
    found: dict[int, list[Swapped]] = {options.swaps: [], 0: []}
    with interruptible():
        for number in range(options.rounds):
            for swaps, done in found.items():
                done.append(measure(options, folder / f"{number}-{swaps}swaps", number, swaps))
                last = done[-1]
                print(
                    f"{last.swaps} swaps: {last.window.planner[0]} late, {last.window.guard[0]} missed", file=sys.stderr
                )
    facts = {"robot": options.robot, "command": options.command, "seconds": options.seconds, **before}
    facts |= {"real_time_factor": options.real_time_factor}
    print(json.dumps(facts | figures(options.swaps * options.rounds, found[options.swaps], found[0])))


def measure(options: argparse.Namespace, folder: Path, number: int, swaps: int) -> Swapped:
    """One window of the graph with so many activations, evenly spread."""
    contest = Contest(
        *(options.robot, Simulator.MUJOCO, options.command, RATE_HZ, options.seconds),
        *(options.real_time_factor, options.seed, 0),
    )
    activated: list[int] = []
    period_s = options.seconds / (swaps + 1) / options.real_time_factor
    window = run_window(
        contest, folder, number, two_models, lambda session: _swapping(session, swaps, period_s, activated)
    )
    arm = load_arm(arm_file(options.robot), options.command)
    run = read_run(folder / "log", arm)
    moved = swap_times(run.plans)
    done = int(goal_windows(moved, run.goals).sum())
    return Swapped(window, len(activated), done, limit_violations(read_truth(folder / "truth.bin"), run.ticks, arm))


def two_models(session: Session) -> None:
    """The shipped bundle as the active one, and the prior alone beside it."""
    prepare(session)
    registry = _registry(session)
    shipped = registry.active()
    run_verb(["models", "prior", *session.model_options])
    assert shipped is not None, "prepare activates one"
    registry.activate(shipped)


@contextmanager
def _swapping(session: Session, swaps: int, period_s: float, activated: list[int]) -> Iterator[None]:
    """Activate the versions of the registry by turns, in a thread, while the caller goes on."""
    ending = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(activate_by_turns, _registry(session), swaps, period_s, ending, activated)
        try:
            yield
        finally:
            ending.set()
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


def _registry(session: Session) -> Registry:
    return Registry(session.registry, load_arm(session.arm, session.wiring.command).model_name)


def figures(asked: int, swapped: list[Swapped], still: list[Swapped]) -> dict[str, Any]:
    """JSON-ready, with the misses: fewer swaps than ``asked`` for, among them."""
    rows = {name: summary(RATE_HZ, [one.window for one in group]) for name, group in (("", swapped), ("_still", still))}
    found: dict[str, Any] = {
        "swaps": sum(one.swaps for one in swapped),
        "not_swapped": sum(one.activations - one.swaps for one in swapped),
    }
    for suffix, group in (("", swapped), ("_still", still)):
        row = rows[suffix]
        for name in ("late_raw", "missed_raw", "late_reference", "missed_reference", "excess_late", "excess_missed"):
            found[name + suffix] = row[name]
        found[f"limit_violations{suffix}"] = {kind: sum(one.limits[kind] for one in group) for kind in group[0].limits}
        found[f"guard_stops{suffix}"] = row["guard_stops"]
        found[f"cycle_ms{suffix}"] = row["cycle_ms"]
    misses = list(rows[""]["misses"])
    if found["swaps"] < asked:
        misses.append(f"swaps {found['swaps']} below {asked}")
    if beyond := sum(found["limit_violations"].values()):
        misses.append(f"limit_violations {beyond} above 0")
    valid, reasons = rows[""]["valid"], rows[""]["invalid_reasons"]
    found |= {"planner_cycles": rows[""]["planner_cycles"], "scheduling": rows[""]["scheduling"]}
    return found | {"valid": valid, "invalid_reasons": reasons, "misses": misses}


if __name__ == "__main__":
    main()
