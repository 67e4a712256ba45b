"""Reach and tracking error against the delay of the actuators, with the delay compensated in four ways, virtual time.

The plant's commands act 0 to 80 ms late; the planner has the shipped model, whose own delay was found in a log of an
arm with the described one. Four ways:

- `online`: the planner starts with the shipped model's delay and finds the true one while it moves
  (`delay_window_s: 3`);
- `known`: it is told the true one, and keeps it: what could be reached;
- `shipped`: it keeps the shipped model's: nobody noticed that the arm has another delay;
- `none`: no delay is compensated.

`reach` is the demo's error at targets, `track` the RMS of the tool's distance from a moving goal on a figure eight,
after two laps of getting to know the arm, both mm of the true tool. An arm at rest knows no delay, so beside the error
at targets stand how long the tool takes until it stays within 5 mm, and how far it goes past them. All are medians over
targets; of several seeds (start, targets, noise) the median counts, and the least and the largest stand beside it.

    error_ratio_40ms = error of `online` at 40 ms over the least error of `online` and `known` at 0 ms, of the same
    seed, the worse of reach and track
    default_ratio_40ms = the same of `shipped`, which is what runs where `delay_window_s` is not set
    by_lag = medians where the servos' lag, too, is 0.8 or 1.25 of the described one, which the model has not seen: a
             lag looks like a delay to who estimates it
    settle_excess_ms_40ms = how much longer `online` takes there at 40 ms: 40 are the actuators' own

Example: `mbrl-control bench delay --robot panda`. Ends with one line of JSON; minutes per seed.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from mbrl_control.cli.demo import AMPLITUDE_M, SPEED_SCALE, paced
from mbrl_control.cli.locations import arm_file, shipped_models
from mbrl_control.deployment.bundle import load_weights
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.kinematics import forward_kinematics, sample_targets
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.figure_eight import figure_eight
from mbrl_control.planning.planner import Planner, PlanningModel
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import Array, BeliefState, CommandInterface, Goal, GoalKind, Plan
from sim.engines import Simulator
from sim.lockstep import Lockstep, reach
from sim.lockstep_model import planning_model
from sim.randomization import SimParameters

DELAYS_MS = (0, 10, 20, 40, 60, 80)
WAYS = ("online", "known", "shipped", "none")
OTHER_LAGS = (0.8, 1.25)
"""Of the servos over the described one: the ends of the range that the shipped arms' plants are drawn from."""
LAG_DELAYS_MS, LAG_WAYS = (0, 40), ("online", "shipped")
MIN_DISTANCE_M, LEARNING_LAPS = 0.25, 2
MOST_RATIO = 1.2
"""Of errors at 40 ms over those without delay."""
WINDOW_S = 3.0
REACH_S, SETTLED_M = 3.0, 0.005
MEASURES = ("reach_mm", "settle_s", "overshoot_mm", "track_mm", "found_ms")


@dataclass(frozen=True, slots=True)
class Error:
    """One run."""

    delay_ms: int
    way: str
    seed: int
    reach_mm: float
    settle_s: float
    """inf: not within the window."""
    overshoot_mm: float
    track_mm: float
    found_ms: float
    """Delay that the planner compensated at the end, from measurement to effect."""
    lag: float = 1.0
    """Of the servos over the described one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robot", default="panda", help="a shipped arm: panda, planar or ur5e")
    parser.add_argument("--command", type=CommandInterface, default=CommandInterface.VELOCITY)
    parser.add_argument("--targets", type=int, default=8)
    parser.add_argument("--laps", type=int, default=6, help="of the figure eight")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("delay"), help="folder of the CSV and the picture")
    options = parser.parse_args()
    if options.laps <= LEARNING_LAPS:
        parser.error(f"--laps: {options.laps}: the first {LEARNING_LAPS} are not counted; give more")
    began = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    errors = []
    with (options.out / "errors.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Error.__dataclass_fields__)
        for one in measure(options):
            writer.writerow([getattr(one, name) for name in Error.__dataclass_fields__])
            file.flush()
            errors.append(one)
    figures = {"robot": options.robot, "command": options.command, "seeds": options.seeds} | figures_of(errors)
    files = {"csv": str(options.out / "errors.csv"), "picture": str(options.out / "errors.png")}
    print(json.dumps(figures | files | {"wall_s": round(time.monotonic() - began, 1)}), flush=True)
    picture(errors, options.out / "errors.png")


def figures_of(everything: list[Error]) -> dict[str, Any]:
    """JSON-ready: ratios over the seeds, and every way's medians by delay and by lag."""
    errors = [one for one in everything if one.lag == 1.0]
    ratios = {name: _over_least(errors, name) for name in ("reach_mm", "track_mm")}
    default = [np.median(_over_least(errors, name, "shipped")) for name in ("reach_mm", "track_mm")]
    late = {one.seed: one for one in errors if (one.way, one.delay_ms) == ("online", 40)}
    prompt = {one.seed: one for one in errors if (one.way, one.delay_ms) == ("online", 0)}
    excess_ms = [1e3 * (late[seed].settle_s - prompt[seed].settle_s) for seed in late]
    worst = float(max(np.median(found) for found in ratios.values()))
    return {
        "error_ratio_40ms": _number(worst),
        "misses": [] if worst <= MOST_RATIO else [f"error_ratio_40ms {worst:.3f} above {MOST_RATIO}"],
        "default_ratio_40ms": _number(max(default)),
        "ratios_40ms": {name: _spread(found) for name, found in ratios.items()},
        "settle_excess_ms_40ms": _spread(excess_ms),
        "by_delay": {way: {str(ms): _medians(errors, way, ms) for ms in DELAYS_MS} for way in WAYS},
        "by_lag": {str(lag): _by_way(everything, lag) for lag in (1.0, *OTHER_LAGS)},
    }


def _by_way(everything: list[Error], lag: float) -> dict[str, dict[str, dict[str, float | None]]]:
    own = [one for one in everything if one.lag == lag]
    return {way: {str(ms): _medians(own, way, ms) for ms in LAG_DELAYS_MS} for way in LAG_WAYS}


def _over_least(errors: list[Error], name: str, way: str = "online") -> list[float]:
    found = []
    for seed in dict.fromkeys(one.seed for one in errors):
        own = {(one.way, one.delay_ms): getattr(one, name) for one in errors if one.seed == seed}
        found.append(own[way, 40] / min(own["online", 0], own["known", 0]))
    return found


def _medians(errors: list[Error], way: str, delay_ms: int) -> dict[str, float | None]:
    own = [one for one in errors if (one.way, one.delay_ms) == (way, delay_ms)]
    return {name: _number(np.median([getattr(one, name) for one in own])) for name in MEASURES}


def _spread(values: list[float]) -> dict[str, float | None]:
    return {name: _number(of(values)) for name, of in (("median", np.median), ("least", np.min), ("largest", np.max))}


def _number(value: float) -> float | None:
    """JSON has no infinity: an arm that never settles has none."""
    return round(float(value), 3) if np.isfinite(value) else None


def measure(options: argparse.Namespace) -> Iterator[Error]:
    arm = load_arm(arm_file(options.robot), options.command)
    registry = Registry(shipped_models(), arm.model_name)
    version = registry.active()
    assert version is not None, f"{registry.folder}: no shipped model"
    path = registry.path(version)
    shipped_s, ensemble = verify_bundle(path, arm).delay_s, load_weights(path, arm)
    model = planning_model(ensemble, arm, shipped_s, "shipped")
    plants = [(1.0, ms, WAYS) for ms in DELAYS_MS]
    plants += [(lag, ms, LAG_WAYS) for lag in OTHER_LAGS for ms in LAG_DELAYS_MS]
    for lag, delay_ms, compared in plants:
        true_s = shipped_s - arm.command_delay_s + delay_ms * 1e-3
        ways = {
            "online": (shipped_s, WINDOW_S),
            "known": (true_s, 0.0),
            "shipped": (shipped_s, 0.0),
            "none": (0.0, 0.0),
        }
        for way in compared:
            delay_s, window_s = ways[way]
            config = PlannerConfig(delay_window_s=window_s)
            for seed in range(options.seed, options.seed + options.seeds):
                yield run(options, (delay_ms, way, seed, lag), replace(model, delay_s=delay_s), config)
            print(f"{delay_ms} ms, lag {lag}, {way}", file=sys.stderr, flush=True)


def run(
    options: argparse.Namespace, which: tuple[int, str, int, float], model: PlanningModel, config: PlannerConfig
) -> Error:
    """Figure eight, then targets, on one arm; ``which``: delay in ms, way, seed and lag."""
    delay_ms, way, seed, lag = which
    path = arm_file(options.robot)
    described = load_arm(path, options.command)
    lags_s = lag * described.servo_lag_s
    plant = replace(SimParameters.nominal(described), command_delay_s=delay_ms * 1e-3, servo_lag_s=lags_s)
    lockstep = Lockstep(path, seed, Simulator.MUJOCO, options.command, plant)
    planner = Planner(lockstep.arm, config, lockstep.clock, np.random.default_rng(seed))
    planner.use(model)
    track_mm = track(lockstep, planner, options.laps)
    generator = np.random.default_rng(seed)
    _, targets = sample_targets(lockstep.arm, options.targets, MIN_DISTANCE_M, generator)
    begin_ns = lockstep.clock.now_ns()
    reach_mm = float(np.median(reach(lockstep, planner, targets, REACH_S)))
    seconds, tool = (np.array(lockstep.record.truth_ns) - begin_ns) * 1e-9, np.array(lockstep.record.tool)
    arrivals = []
    for index, target in enumerate(targets):
        own = (seconds > index * REACH_S) & (seconds <= (index + 1) * REACH_S)
        arrivals.append(arrival(seconds[own] - index * REACH_S, tool[own], target))
    settle_s, overshoot_mm = np.median(arrivals, axis=0)
    found_ms = round(planner.delay_s * 1e3, 2)
    return Error(delay_ms, way, seed, reach_mm, float(settle_s), float(overshoot_mm), track_mm, found_ms, lag)


def arrival(seconds: Array, tool: Array, target: Array) -> tuple[float, float]:
    """(s until the tool [N, 3] stays within `SETTLED_M` of the target, inf: it does not; mm that it goes past it)."""
    away = np.linalg.norm(tool - target, axis=1)
    outside = np.flatnonzero(away > SETTLED_M)
    settle_s = (
        0.0 if not len(outside) else math.inf if outside[-1] == len(away) - 1 else float(seconds[outside[-1] + 1])
    )
    way = (target - tool[0]) / np.linalg.norm(target - tool[0])
    return settle_s, 1e3 * max(0.0, float(((tool - target) @ way).max()))


def track(lockstep: Lockstep, planner: Planner, laps: int) -> float:
    """RMS mm of the laps after the first two."""
    arm: Arm = lockstep.arm
    period_s, _ = paced(arm)
    times, joints = figure_eight(arm, AMPLITUDE_M, period_s, laps, SPEED_SCALE)
    start_ns = lockstep.clock.now_ns()
    goal = Goal(start_ns, GoalKind.TRAJECTORY, np.zeros(3), arm.home, 1, times, joints)

    def source(deadline_ns: int, belief: BeliefState, history: CommandHistory, following: bool) -> Plan | None:
        plan = planner.plan(0, deadline_ns, belief, history, goal, following).plan
        planner.prepare()
        return plan

    lockstep.follow(source)
    lockstep.run(float(times[-1]))
    seconds = (np.array(lockstep.record.truth_ns) - start_ns) * 1e-9
    counted = seconds >= LEARNING_LAPS * period_s
    path: Array = forward_kinematics(arm, joints)
    wanted = np.stack([np.interp(seconds[counted], times, column) for column in path.T], axis=1)
    return float(1e3 * np.sqrt(np.mean(np.square(np.array(lockstep.record.tool)[counted] - wanted).sum(axis=1))))


def picture(everything: list[Error], path: Path) -> None:
    """The four measures against the delay, medians and ranges over the seeds, with the described lag."""
    errors = [one for one in everything if one.lag == 1.0]
    figure, axes = plt.subplots(1, 4, figsize=(18, 4.2), layout="constrained")
    for axis, name in zip(axes, MEASURES[:4], strict=True):
        for way in WAYS:
            values = [
                [getattr(one, name) for one in errors if (one.way, one.delay_ms) == (way, ms)] for ms in DELAYS_MS
            ]
            line = axis.plot(DELAYS_MS, np.median(values, axis=1), marker="o", label=way)[0]
            axis.fill_between(
                DELAYS_MS, np.min(values, axis=1), np.max(values, axis=1), color=line.get_color(), alpha=0.15
            )
        if name in ("reach_mm", "track_mm"):
            axis.set_yscale("log")
        axis.set_xlabel("delay of the actuators, ms")
        axis.set_ylabel(", ".join(name.rsplit("_", 1)))
        axis.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
