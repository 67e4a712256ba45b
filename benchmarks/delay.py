"""Reach and tracking error against the delay of the actuators, with the delay compensated in four ways, virtual time.

The plant's commands act 0 to 80 ms late; the planner has the shipped model, whose own delay was found in a log of an
arm with the described one. Four ways:

- `online`: the planner starts with the shipped model's delay and finds the true one while it moves
  (`delay_window_s: 3`);
- `known`: it is told the true one, and keeps it: what could be reached;
- `shipped`: it keeps the shipped model's: nobody noticed that the arm has another delay;
- `none`: no delay is compensated.

`reach` is the demo's error at targets (median), `track` the RMS of the tool's distance from a moving goal on a figure
eight after two laps of getting to know the arm, both mm of the true tool.

    error_ratio_40ms = error of `online` at 40 ms over the least error of `online` and `known` at 0 ms, the worse of
    reach and track

Example: `mbrl-control bench delay --robot panda`. Ends with one line of JSON; minutes.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.lockstep import Lockstep, reach
from benchmarks.lockstep_model import planning_model
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
from sim.randomization import SimParameters

DELAYS_MS = (0, 10, 20, 40, 60, 80)
WAYS = ("online", "known", "shipped", "none")
MIN_DISTANCE_M, LEARNING_LAPS = 0.25, 2
WINDOW_S = 3.0


@dataclass(frozen=True, slots=True)
class Error:
    """One run."""

    delay_ms: int
    way: str
    reach_mm: float
    track_mm: float
    found_ms: float
    """Delay that the planner compensated at the end, from measurement to effect."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robot", default="panda", help="a shipped arm: panda, planar or ur5e")
    parser.add_argument("--command", type=CommandInterface, default=CommandInterface.VELOCITY)
    parser.add_argument("--targets", type=int, default=8)
    parser.add_argument("--laps", type=int, default=6, help="of the figure eight")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("delay"), help="folder of the CSV and the picture")
    options = parser.parse_args()
    if options.laps <= LEARNING_LAPS:
        parser.error(f"--laps: {options.laps}: the first {LEARNING_LAPS} are not counted; give more")
    began = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    errors = list(measure(options))
    save(errors, options.out)
    table = {way: {one.delay_ms: one for one in errors if one.way == way} for way in WAYS}
    ratios = {
        name: getattr(table["online"][40], name) / min(getattr(table[way][0], name) for way in ("online", "known"))
        for name in ("reach_mm", "track_mm")
    }
    figures = {
        "robot": options.robot,
        "command": options.command,
        "error_ratio_40ms": round(max(ratios.values()), 3),
        "ratios_40ms": {name: round(value, 3) for name, value in ratios.items()},
        "mm": {
            way: {
                str(ms): {"reach": round(one.reach_mm, 3), "track": round(one.track_mm, 3), "found_ms": one.found_ms}
                for ms, one in rows.items()
            }
            for way, rows in table.items()
        },
        "csv": str(options.out / "errors.csv"),
        "picture": str(options.out / "errors.png"),
        "wall_s": round(time.monotonic() - began, 1),
    }
    print(json.dumps(figures))


def measure(options: argparse.Namespace) -> Iterator[Error]:
    arm = load_arm(arm_file(options.robot), options.command)
    registry = Registry(shipped_models(), arm.model_name)
    version = registry.active()
    assert version is not None, f"{registry.folder}: no shipped model"
    path = registry.path(version)
    shipped_s, ensemble = verify_bundle(path, arm).delay_s, load_weights(path, arm)
    model = planning_model(ensemble, arm, shipped_s, "shipped")
    for delay_ms in DELAYS_MS:
        true_s = shipped_s - arm.command_delay_s + delay_ms * 1e-3
        ways = {
            "online": (shipped_s, WINDOW_S),
            "known": (true_s, 0.0),
            "shipped": (shipped_s, 0.0),
            "none": (0.0, 0.0),
        }
        for way, (delay_s, window_s) in ways.items():
            config = PlannerConfig(delay_window_s=window_s)
            yield run(options, delay_ms, way, replace(model, delay_s=delay_s), config)
            print(f"{delay_ms} ms, {way}", file=sys.stderr, flush=True)


def run(options: argparse.Namespace, delay_ms: int, way: str, model: PlanningModel, config: PlannerConfig) -> Error:
    """Figure eight, then targets, on one arm."""
    path = arm_file(options.robot)
    described = load_arm(path, options.command)
    plant = replace(SimParameters.nominal(described), command_delay_s=delay_ms * 1e-3)
    lockstep = Lockstep(path, options.seed, Simulator.MUJOCO, options.command, plant)
    planner = Planner(lockstep.arm, config, lockstep.clock, np.random.default_rng(options.seed))
    planner.use(model)
    track_mm = track(lockstep, planner, options.laps)
    generator = np.random.default_rng(options.seed)
    _, targets = sample_targets(lockstep.arm, options.targets, MIN_DISTANCE_M, generator)
    reach_mm = float(np.median(reach(lockstep, planner, targets)))
    return Error(delay_ms, way, reach_mm, track_mm, round(planner.delay_s * 1e3, 2))


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


def save(errors: list[Error], folder: Path) -> None:
    with (folder / "errors.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Error.__dataclass_fields__)
        writer.writerows([getattr(one, name) for name in Error.__dataclass_fields__] for one in errors)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for axis, name in zip(axes, ("reach_mm", "track_mm"), strict=True):
        for way in WAYS:
            rows = [one for one in errors if one.way == way]
            axis.plot([one.delay_ms for one in rows], [getattr(one, name) for one in rows], marker="o", label=way)
        axis.set_yscale("log")
        axis.set_xlabel("delay of the actuators, ms")
        axis.set_ylabel(name.replace("_", ", "))
        axis.legend()
    figure.savefig(folder / "errors.png", dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
