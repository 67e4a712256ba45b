"""The transfer bench on the planar arm: one direction whole, and a wrong model that has to look worse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.transfer_ratios import ERRORS, Condition, ratio
from benchmarks.transfer_runs import Experiment, Plant, measure, reach_errors, record
from mbrl_control.learning.fit_ensemble import FitSettings
from mbrl_control.robot import load_arm
from sim.engines import Simulator
from sim.lockstep_model import nominal_model
from sim.randomization import randomized_plant
from tests.patience import SLOW_S, UNCUT_S

PLANAR = Path(__file__).parents[2] / "sim/robots/planar.yaml"


def experiment(targets: int = 2) -> Experiment:
    fit = FitSettings(trained_members=2, elites=1, width=16, epochs=2, max_seconds=UNCUT_S)
    return Experiment(PLANAR, (4,), randomization_seed=9, targets=targets, window_s=2.0, excite_s=72.0, fit=fit)


@pytest.mark.timeout(SLOW_S)
def test_a_direction_gives_a_plain_and_a_randomized_row() -> None:
    plain, randomized = measure(experiment(), Simulator.PYBULLET)
    assert (plain.condition, randomized.condition) == (Condition.PLAIN, Condition.RANDOMIZED)
    assert {(row.own, row.seed) for row in (plain, randomized)} == {("pybullet", 4)}
    # The opposite direction has the other two.
    assert set(plain.mm) == set(ERRORS) - {"nominal", "scratch"}
    assert set(randomized.mm) == set(ERRORS)
    for row in (plain, randomized):
        for name, errors in row.mm.items():
            assert errors.shape == (2,), name
            assert np.isfinite(errors).all(), name
            assert (errors > 0.0).all(), name
    # One seed: its control is itself, with the same draws. Lockstep and planner must not add a difference of their own.
    assert np.array_equal(plain.mm["own"], plain.mm["control"])
    assert np.array_equal(plain.mm["own"], randomized.mm["own"])
    # The other engine, and the other plant, were really there.
    assert not np.array_equal(plain.mm["own"], plain.mm["before"])
    assert not np.array_equal(plain.mm["before"], randomized.mm["before"])
    assert not np.array_equal(plain.mm["before"], plain.mm["after"])


def test_a_randomized_plant_is_what_is_recorded() -> None:
    arm, short = load_arm(PLANAR), replace(experiment(), excite_s=1.0)
    described = record(short, Plant(Simulator.MUJOCO), 0)
    drawn = record(short, Plant(Simulator.MUJOCO, randomized_plant(PLANAR, 9)), 0)
    other = record(short, Plant(Simulator.PYBULLET), 0)
    assert described.position.shape == drawn.position.shape == (len(described.belief_ns), arm.joints)
    # The engines agree far better with each other than with a plant of other numbers.
    engines = np.abs(described.velocity[-1] - other.velocity[-1]).max()
    assert engines < 0.2 * np.abs(described.velocity[-1] - drawn.velocity[-1]).max()


@pytest.mark.parametrize("simulator", list(Simulator), ids=lambda simulator: simulator.value)
def test_a_model_with_a_wrong_lag_has_a_larger_ratio(simulator: Simulator) -> None:
    arm, plant, four = load_arm(PLANAR), Plant(simulator), experiment(targets=4)
    wrong = replace(arm, servo_lag_s=6.0 * arm.servo_lag_s)
    own = reach_errors(four, plant, nominal_model(arm, arm.command_delay_s), 0)
    before = reach_errors(four, plant, nominal_model(wrong, arm.command_delay_s), 0)
    assert ratio(before, own) > 1.5
