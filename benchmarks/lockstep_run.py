"""The reach errors of the demo (nominal, fresh, payload, relearned), in virtual time.

Example: `mbrl-control bench lockstep_run --targets 8 --excite 60`. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from benchmarks.lockstep_fits import fitted_model
from mbrl_control.cli.locations import arm_file
from mbrl_control.kinematics import sample_targets
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.excitation import ExcitationConfig
from mbrl_control.planning.planner import Planner, PlanningModel
from mbrl_control.replay.transitions import Grid, transitions_from_streams
from mbrl_control.robot import load_arm
from mbrl_control.signals import Transitions
from sim.engines import Simulator
from sim.lockstep import Lockstep, excite, reach
from sim.lockstep_model import nominal_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", type=Path, default=arm_file("panda"))
    parser.add_argument("--sim", type=Simulator, default=Simulator.MUJOCO, help="mujoco or pybullet")
    parser.add_argument("--targets", type=int, default=8, help="per phase, 3 s each")
    parser.add_argument("--excite", type=float, default=60.0, help="seconds of excitation, per regime")
    parser.add_argument("--payload", type=float, default=1.5, help="kg")
    parser.add_argument("--min-distance", type=float, default=0.25, help="m between consecutive targets")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(json.dumps(_phases(options)))


def _phases(options: argparse.Namespace) -> dict[str, float]:
    arm = load_arm(options.arm)
    began = time.perf_counter()
    nominal = nominal_model(arm, arm.command_delay_s)
    fresh, fit = fitted_model(_collect(options, 0.0), arm, arm.command_delay_s, options.seed)
    relearned, _ = fitted_model(
        _collect(options, options.payload), arm, arm.command_delay_s, options.seed, warm_start=fit.ensemble
    )
    figures: dict[str, float] = {}
    for name, model, payload in (
        ("nominal", nominal, 0.0),
        ("fresh", fresh, 0.0),
        ("payload_nominal", nominal, options.payload),
        ("payload", fresh, options.payload),
        ("relearned", relearned, options.payload),
    ):
        figures |= _reach(options, name, model, payload)
    return figures | {"wall_s": time.perf_counter() - began}


def _collect(options: argparse.Namespace, payload: float) -> Transitions:
    lockstep = Lockstep(options.arm, options.seed, options.sim)
    if payload:
        lockstep.attach_payload(payload)
    excite(lockstep, options.excite, ExcitationConfig(), options.seed)
    return transitions_from_streams([lockstep.streams()], Grid(lockstep.arm.command_delay_s))


def _reach(options: argparse.Namespace, name: str, model: PlanningModel, payload: float) -> dict[str, float]:
    lockstep = Lockstep(options.arm, options.seed + 1, options.sim)
    if payload:
        lockstep.attach_payload(payload)
    planner = Planner(lockstep.arm, PlannerConfig(), lockstep.clock, np.random.default_rng(options.seed))
    planner.use(model)
    generator = np.random.default_rng(options.seed)
    _, targets = sample_targets(lockstep.arm, options.targets, options.min_distance, generator)
    errors = reach(lockstep, planner, targets)
    values = {"median": np.median(errors), "p95": np.percentile(errors, 95), "max": errors.max()}
    return {f"reach_mm_{name}_{key}": round(float(value), 3) for key, value in values.items()}


if __name__ == "__main__":
    main()
