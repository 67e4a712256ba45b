"""What `benchmarks.transfer` measures in one direction: learn in one simulator, run in the other, retrain there once.

Everything is seeded and in virtual time; learning is `mbrl_control.retrain`'s, from the recorded streams to the gate.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.transfer_ratios import Condition, Row
from mbrl_control.kinematics import sample_targets
from mbrl_control.learning.fit_ensemble import FitSettings
from mbrl_control.learning.judge import RetrainRefused, gate
from mbrl_control.learning.learn import Learned, Parent, learn
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.excitation import ExcitationConfig
from mbrl_control.planning.planner import Planner, PlanningModel
from mbrl_control.replay.streams import Streams
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import Array
from sim.engines import Simulator
from sim.lockstep import Lockstep, excite, reach
from sim.lockstep_model import nominal_model, planning_model
from sim.randomization import SimParameters, randomized_plant

MIN_DISTANCE_M = 0.25
"""Between consecutive targets, as in the demo."""
OTHER = {Simulator.MUJOCO: Simulator.PYBULLET, Simulator.PYBULLET: Simulator.MUJOCO}


@dataclass(frozen=True, slots=True)
class Experiment:
    """The same for both directions."""

    arm_path: Path
    seeds: tuple[int, ...]
    randomization_seed: int
    """Seed of the first randomized plant; the run's n-th seed meets the plant of this plus n."""
    targets: int
    window_s: float
    excite_s: float
    fit: FitSettings = field(default_factory=lambda: FitSettings(max_seconds=math.inf))
    """Never cut off by the clock: a loaded machine must not change a figure."""


@dataclass(frozen=True, slots=True)
class Plant:
    """One simulated arm; ``parameters`` None: as described."""

    simulator: Simulator
    parameters: SimParameters | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """What a retraining gives, ready to plan with."""

    planning: PlanningModel
    parent: Parent
    passed_gate: bool


def measure(experiment: Experiment, own: Simulator) -> list[Row]:
    """All rows of the direction ``own`` -> the other simulator, by seed and condition."""
    arm, said = load_arm(experiment.arm_path), _Progress(own)
    home, away = Plant(own), Plant(OTHER[own])
    models, records = [], []
    for seed in experiment.seeds:
        said(f"seed {seed}: learning in {own.value}")
        records.append(record(experiment, home, seed))
        models.append(train(experiment, arm, records[-1], seed))
    rows = []
    for index, seed in enumerate(experiment.seeds):
        model, another = models[index], models[index - 1]
        said(f"seed {seed}: one retraining and reaching in {own.value}")
        nominal = nominal_model(arm, arm.command_delay_s)
        again = train(experiment, arm, records[index], seed, model.parent)
        at_home = {
            "again": reach_errors(experiment, home, again.planning, seed),
            "nominal_home": reach_errors(experiment, home, nominal, seed),
            "own": reach_errors(experiment, home, model.planning, seed),
            "control": reach_errors(experiment, home, another.planning, seed),
        }
        drawn = randomized_plant(experiment.arm_path, experiment.randomization_seed + index)
        plants = {Condition.PLAIN: away, Condition.RANDOMIZED: Plant(away.simulator, drawn)}
        for condition, plant in plants.items():
            said(
                f"seed {seed}: {condition.value} {plant.simulator.value}: one retraining, reaching before and after it"
            )
            there, facts = _errors_there(experiment, arm, plant, model, seed)
            rows.append(Row(own.value, condition, seed, at_home | there, facts))
    return rows


def _errors_there(
    experiment: Experiment, arm: Arm, plant: Plant, model: Model, seed: int
) -> tuple[dict[str, Array], dict[str, float]]:
    """Errors [N] mm in ``plant``, and what the retraining said."""
    logged = record(experiment, plant, seed)
    retrained = train(experiment, arm, logged, seed, model.parent)
    candidates = {"before": model.planning, "after": retrained.planning}
    if plant.parameters is not None:
        # Of the described arm the opposite direction has both (`transfer_ratios.complete`).
        candidates["nominal"] = nominal_model(arm, arm.command_delay_s)
        candidates["scratch"] = train(experiment, arm, logged, seed).planning
    errors = {name: reach_errors(experiment, plant, candidate, seed) for name, candidate in candidates.items()}
    facts = {
        "own_delay_ms": model.parent.delay_s * 1e3,
        "other_delay_ms": retrained.parent.delay_s * 1e3,
        "gate_passed": float(retrained.passed_gate),
    }
    return errors, facts


def record(experiment: Experiment, plant: Plant, seed: int) -> Streams:
    """What an excitation of ``plant`` logs; never the targets that are judged."""
    lockstep = Lockstep(experiment.arm_path, seed, plant.simulator, parameters=plant.parameters)
    excite(lockstep, experiment.excite_s, ExcitationConfig(), seed)
    return lockstep.streams()


def train(experiment: Experiment, arm: Arm, streams: Streams, seed: int, parent: Parent | None = None) -> Model:
    """One (re)training as the arm's own computer does it; a refused candidate is measured all the same."""
    learned = learn([streams], arm, seed, parent, experiment.fit)
    ensemble, delay_s = learned.fitted.ensemble, learned.delay_s
    planning = planning_model(ensemble, arm, delay_s, "fitted")
    return Model(planning, Parent("parent", ensemble, delay_s), _passes(learned))


def _passes(learned: Learned) -> bool:
    try:
        gate(learned.judged, np.random.default_rng(0))
    except RetrainRefused:
        return False
    return True


def reach_errors(experiment: Experiment, plant: Plant, model: PlanningModel, seed: int) -> Array:
    """Errors [N] mm at the seed's targets: the same targets, sensor noise and planner draws for every model."""
    lockstep = Lockstep(experiment.arm_path, seed + 1, plant.simulator, parameters=plant.parameters)
    planner = Planner(lockstep.arm, PlannerConfig(), lockstep.clock, np.random.default_rng(seed))
    planner.use(model)
    generator = np.random.default_rng(seed)
    _, targets = sample_targets(lockstep.arm, experiment.targets, MIN_DISTANCE_M, generator)
    return reach(lockstep, planner, targets, experiment.window_s)


class _Progress:
    """Lines on standard error; standard output is the JSON alone."""

    def __init__(self, own: Simulator) -> None:
        self._own, self._began = own, time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"transfer from {self._own.value}, {time.monotonic() - self._began:4.0f} s: {text}", file=sys.stderr)
