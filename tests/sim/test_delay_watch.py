"""A delay that nobody asked to look for is found all the same, told with its remedy, and not compensated.

Two arms and both kinds of commands on a figure eight, in MuJoCo, with the shipped models and in virtual time.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.delay import track
from mbrl_control.cli.locations import arm_file, shipped_models
from mbrl_control.deployment.bundle import load_weights
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import Planner
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface
from sim.engines import Simulator
from sim.lockstep import Lockstep
from sim.lockstep_model import planning_model
from sim.randomization import SimParameters
from tests.patience import SLOW_S

pytestmark = pytest.mark.timeout(SLOW_S)
LAPS = 3
EXTRA_MS = 60


def tracked(
    name: str, interface: CommandInterface, extra_ms: int, window_s: float = 0.0, load_kg: float = 0.0
) -> tuple[Planner, float]:
    """A planner after a figure eight on an arm that is so much later than the model's log; ms that its model says."""
    path = arm_file(name)
    arm = load_arm(path, interface)
    registry = Registry(shipped_models(), arm.model_name)
    version = registry.active()
    assert version is not None
    bundle = registry.path(version)
    own_s = verify_bundle(bundle, arm).delay_s
    plant = replace(SimParameters.nominal(arm), command_delay_s=arm.command_delay_s + extra_ms * 1e-3)
    lockstep = Lockstep(path, 0, Simulator.MUJOCO, interface, plant)
    planner = Planner(lockstep.arm, PlannerConfig(delay_window_s=window_s), lockstep.clock, np.random.default_rng(0))
    planner.use(planning_model(load_weights(bundle, arm), arm, own_s, "shipped"))
    if load_kg:
        lockstep.attach_payload(load_kg)
    track(lockstep, planner, LAPS)
    return planner, own_s * 1e3


VELOCITY, EFFORT = CommandInterface.VELOCITY, CommandInterface.EFFORT
CASES = [
    ("planar", VELOCITY, EXTRA_MS, 4.0),
    ("panda", VELOCITY, EXTRA_MS, 4.0),
    ("planar", EFFORT, EXTRA_MS, 25.0),
    ("panda", EFFORT, 20, 5.0),
]
"""How much later, and how well that is found while the plans go wrong, ms: torques that are compensated 60 ms short
swing the planar arm about, and have the Panda stopped before it has told anything."""


@pytest.mark.parametrize(("name", "interface"), [case[:2] for case in CASES])
def test_where_the_delay_is_the_models_own_nothing_is_doubted(name: str, interface: CommandInterface) -> None:
    planner, own_ms = tracked(name, interface, 0)
    assert planner.delay.doubt() == ""
    assert float(planner.delay.facts()["delay_found_ms"]) == pytest.approx(own_ms, abs=7.0)


@pytest.mark.parametrize(("name", "interface", "extra_ms", "within_ms"), CASES)
def test_a_later_arm_is_told_with_the_remedy_and_nothing_else_changes(
    name: str, interface: CommandInterface, extra_ms: int, within_ms: float
) -> None:
    planner, own_ms = tracked(name, interface, extra_ms)
    said, facts = planner.delay.doubt(), planner.delay.facts()
    assert float(facts["delay_found_ms"]) == pytest.approx(own_ms + extra_ms, abs=within_ms)
    assert float(facts["delay_compensated_ms"]) == pytest.approx(own_ms, abs=0.05)
    assert planner.delay_s * 1e3 == pytest.approx(own_ms)
    assert f" ms late, {own_ms:.0f} ms are compensated" in said
    assert "set `delay_window_s: 3`" in said
    assert "retrain" in said


def test_a_load_that_nobody_declared_is_no_delay() -> None:
    """Another delay explains some of what it does; that is not enough."""
    planner, own_ms = tracked("planar", EFFORT, 0, load_kg=1.0)
    assert abs(float(planner.delay.facts()["delay_found_ms"]) - own_ms) > 10.0
    assert planner.delay.doubt() == ""


def test_what_is_compensated_is_no_doubt() -> None:
    planner, own_ms = tracked("planar", VELOCITY, EXTRA_MS, 3.0)
    assert planner.delay.doubt() == ""
    assert planner.delay_s * 1e3 == pytest.approx(own_ms + EXTRA_MS, abs=5.0)
    assert float(planner.delay.facts()["delay_compensated_ms"]) == pytest.approx(planner.delay_s * 1e3, abs=0.05)
