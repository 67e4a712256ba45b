"""Actuators 0, 60 and 80 ms late: a planner that finds the delay while it moves tracks nearly as if there were none.

One that keeps the model's own delay does not. MuJoCo's arm, the shipped model, virtual time; `bench delay` has more.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.delay import WINDOW_S, track
from mbrl_control.cli.locations import arm_file, shipped_models
from mbrl_control.deployment.bundle import load_weights
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import Planner, PlanningModel
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import CommandInterface
from sim.engines import Simulator
from sim.lockstep import Lockstep
from sim.lockstep_model import planning_model
from sim.randomization import SimParameters
from tests.patience import SLOW_S

pytestmark = pytest.mark.timeout(SLOW_S)
LAPS = 3
"""Two of them to get to know the arm."""
PATH = arm_file("planar")


@pytest.fixture(scope="module")
def arm() -> Arm:
    return load_arm(PATH)


@pytest.fixture(scope="module")
def model(arm: Arm) -> PlanningModel:
    registry = Registry(shipped_models(), arm.model_name)
    version = registry.active()
    assert version is not None
    path = registry.path(version)
    return planning_model(load_weights(path, arm), arm, verify_bundle(path, arm).delay_s, "shipped")


def tracked(model: PlanningModel, delay_ms: int, window_s: float) -> tuple[float, float]:
    """(mm RMS from the figure eight, ms of delay compensated at the end)."""
    plant = replace(SimParameters.nominal(load_arm(PATH)), command_delay_s=delay_ms * 1e-3)
    lockstep = Lockstep(PATH, 0, Simulator.MUJOCO, CommandInterface.VELOCITY, plant)
    planner = Planner(lockstep.arm, PlannerConfig(delay_window_s=window_s), lockstep.clock, np.random.default_rng(0))
    planner.use(model)
    return track(lockstep, planner, LAPS), planner.delay_s * 1e3


@pytest.fixture(scope="module")
def prompt(model: PlanningModel) -> tuple[float, float]:
    return tracked(model, 0, WINDOW_S)


@pytest.mark.parametrize("delay_ms", [60, 80])
def test_a_late_actuator_is_tracked_with_nearly_as_if_it_were_not(
    model: PlanningModel, prompt: tuple[float, float], delay_ms: int
) -> None:
    online, kept = tracked(model, delay_ms, WINDOW_S), tracked(model, delay_ms, 0.0)
    assert online[1] - prompt[1] == pytest.approx(delay_ms, abs=4.0)
    assert online[0] < 2.0 * prompt[0]
    assert online[0] < 0.5 * kept[0]


def test_where_the_delay_is_the_models_own_looking_for_it_costs_nothing(arm: Arm, model: PlanningModel) -> None:
    own_ms = round(arm.command_delay_s * 1e3)
    (looking_mm, _), (keeping_mm, _) = tracked(model, own_ms, WINDOW_S), tracked(model, own_ms, 0.0)
    assert looking_mm < 1.1 * keeping_mm + 0.02
