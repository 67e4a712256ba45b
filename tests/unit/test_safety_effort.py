"""The guard of torques against MuJoCo with its delays: it brakes, holds, and lets no request past a limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_control.rigid_body import RigidBody
from mbrl_control.safety.braking import share, within_torque
from mbrl_control.safety.config import GuardConfig, limits_of
from mbrl_control.safety.effort_law import EffortLaw
from mbrl_control.safety.limiter import Motion
from mbrl_control.safety.state_machine import Event
from mbrl_control.signals import CommandInterface, OperatorState, SensorSample, Stage
from tests.unit.effort_rig import EffortRig, effort_arm

CONFIG = GuardConfig()
ARMS = ("panda", "planar", "ur5e")
_ARMS = {name: effort_arm(name) for name in ARMS}
LAWS = {name: EffortLaw(RigidBody(arm), limits_of(arm), CONFIG) for name, arm in _ARMS.items()}


def carrying(rig: EffortRig) -> np.ndarray:
    """[J] N m that keeps the arm where it is."""
    return RigidBody(rig.arm).gravity(rig.position)


@pytest.mark.parametrize("name", ARMS)
def test_full_torque_either_way_passes_no_limit(name: str) -> None:
    """Random signs, held long enough for most joints to meet a limit: 1e-3 rad and 2 % of the rated speed at most."""
    generator = np.random.default_rng(7)
    for _ in range(3):
        arm = effort_arm(name)
        rig = EffortRig(name, generator.uniform(arm.box_lower, arm.box_upper))
        rig.start(carrying(rig))
        for _ in range(2):
            rig.run(1.0, rig.arm.effort * generator.choice([-1.0, 1.0], rig.arm.joints))
        beyond, speed = rig.most_beyond()
        assert beyond < 1e-3
        assert 0.5 < speed < 1.02
        assert rig.core.state == OperatorState.RUNNING
        assert Stage.VELOCITY in rig.stages
        rig.check_commands()


@pytest.mark.parametrize("name", ARMS)
def test_pushed_on_into_a_limit_the_arm_comes_to_rest_short_of_it(name: str) -> None:
    """With the limits of one joint drawn close: full torque of that joint alone, the others carried."""
    rig = EffortRig(name)
    joint = 0
    rig.start(carrying(rig))
    torque = carrying(rig)
    torque[joint] = rig.arm.effort[joint]
    rig.run(4.0, torque)
    assert np.abs(rig.velocity[joint]) < 0.05
    assert Stage.POSITION in rig.stages
    assert (rig.position < rig.arm.upper - 0.5 * CONFIG.position_margin).all()
    assert ((rig.arm.upper - rig.position) < 0.1).any() or ((rig.position - rig.arm.lower) < 0.1).any()


@pytest.mark.parametrize("name", ARMS)
def test_without_plans_a_moving_arm_brakes_to_rest_and_is_held(name: str) -> None:
    rig = EffortRig(name)
    rig.start(carrying(rig))
    rig.run(0.35, carrying(rig) + 0.2 * rig.arm.effort)
    assert np.abs(rig.velocity).max() > 0.3
    rig.run(1.5)
    assert rig.core.state == OperatorState.PROTECTIVE_STOP
    held = rig.position
    rig.run(0.5)
    assert np.abs(rig.velocity).max() < 5e-3
    np.testing.assert_allclose(rig.position, held, atol=2e-3)
    assert all(rig.enabled[-100:])
    rig.check_commands()


@pytest.mark.parametrize("name", ARMS)
def test_an_armed_arm_stays_where_it_is(name: str) -> None:
    """The planar arm's drives carry nothing: the torque limit's ramp from zero costs it a few milliradians."""
    rig = EffortRig(name)
    before = rig.position
    rig.arm_it()
    rig.run(1.5)
    assert rig.core.state == OperatorState.ARMED
    assert np.abs(np.array(rig.positions) - before).max() < (5e-3 if name == "planar" else 1e-3)
    assert np.abs(rig.velocity).max() < 1e-2


def test_a_load_that_nobody_declared_sags_and_is_taken_back() -> None:
    """2 kg at the Panda's tool: 26 mrad at most, under 1 mrad four seconds later."""
    rig = EffortRig("panda", payload_kg=2.0)
    before = rig.position
    rig.arm_it()
    rig.run(4.0)
    sag = np.abs(np.array(rig.positions) - before).max(axis=1)
    assert rig.core.state == OperatorState.ARMED
    assert 0.005 < sag.max() < 0.04
    assert sag[-1] < 2e-3


def test_a_lost_state_takes_the_drives_off_as_soon_as_it_latches() -> None:
    """Velocities would be braked blind first; a torque without a state is never right."""
    rig = EffortRig("panda")
    rig.start()
    rig.run(0.4, 0.3 * rig.arm.effort)
    rig.blind = True
    rig.run(0.15, 0.3 * rig.arm.effort)
    assert rig.core.state == OperatorState.PROTECTIVE_STOP
    assert rig.enabled[-1] is False
    off = rig.enabled.index(False, rig.enabled.index(True))
    blind_ticks = round(0.15 / CONFIG.tick_s)
    latch_ticks = int(CONFIG.state_latch_periods * CONFIG.state_period_s / CONFIG.tick_s) + 2
    assert len(rig.enabled) - blind_ticks <= off <= len(rig.enabled) - blind_ticks + latch_ticks
    assert not np.any(rig.applied[-1])


def test_plans_of_the_other_interface_are_malformed_and_three_of_them_latch() -> None:
    rig = EffortRig("panda")
    rig.start()
    for count in range(1, 4):
        foreign = replace(rig.plan(np.zeros(7)), interface=CommandInterface.VELOCITY)
        verdict = rig.core.receive_plan(foreign, rig.now)
        assert verdict.malformed
        assert "holds velocity knots, the arm takes effort" in verdict.reason
        rig.run(0.02, np.zeros(7))
        stopped = rig.core.state == OperatorState.PROTECTIVE_STOP
        assert stopped == (count == 3)


def test_a_plan_within_the_limits_passes_bit_for_bit() -> None:
    rig = EffortRig("panda")
    rig.start()
    rig.run(0.6, np.zeros(7))
    rig.stages.clear()
    torque = np.array([1.0, -1.0, 0.5, 1.0, 0.2, -0.2, 0.1])
    command = rig.run(0.06, torque)
    assert command is not None
    np.testing.assert_array_equal(command.applied, torque)
    assert command.limiting_stage == Stage.NONE


def test_a_hold_asked_for_in_motion_stops_and_a_start_goes_on() -> None:
    rig = EffortRig("panda")
    rig.start()
    rig.run(0.4, 0.2 * rig.arm.effort)
    rig.core.raise_severity(Event.REQUEST_HOLD, "test", rig.now)
    rig.run(1.0, np.zeros(7))
    assert rig.core.state == OperatorState.OPERATOR_HOLD
    assert np.abs(rig.velocity).max() < 5e-3
    assert rig.ask(Event.START).success
    rig.check_commands()


UNIT = st.floats(-1.0, 1.0)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(ARMS),
    st.integers(0, 2**32 - 1),
    st.floats(0.0, 3.0),
    st.floats(0.0, 0.1),
    st.floats(0.0, 1.0),
)
def test_any_state_and_request_give_a_finite_command_within_torque_and_rate(
    name: str, seed: int, size: float, age_s: float, scale: float
) -> None:
    arm, law, generator = _ARMS[name], LAWS[name], np.random.default_rng(seed)
    position = generator.uniform(arm.lower - 0.2, arm.upper + 0.2)
    velocity = generator.uniform(-1.0, 1.0, arm.joints) * size * arm.velocity
    command = generator.uniform(-arm.effort, arm.effort)
    rate = generator.uniform(-arm.torque_rate, arm.torque_rate)
    request = size * generator.uniform(-arm.effort, arm.effort)
    sample = SensorSample(0, position, velocity, np.zeros(arm.joints))
    limited = law.limit(request, Motion(command, rate, request), sample, age_s, scale)
    assert np.isfinite(limited.command).all()
    assert (np.abs(limited.command) <= arm.effort * (1.0 + 1e-9)).all()
    assert (np.abs(limited.command - command) <= arm.torque_rate * CONFIG.tick_s * (1.0 + 1e-9)).all()
    assert 0.0 <= limited.factor <= 1.0
    assert (limited.stage == Stage.NONE) == np.array_equal(limited.command, request)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.sampled_from(ARMS), st.integers(0, 2**32 - 1))
def test_the_braking_torque_slows_every_joint_alike_and_speeds_none_up(name: str, seed: int) -> None:
    arm, law, generator = _ARMS[name], LAWS[name], np.random.default_rng(seed)
    position = generator.uniform(arm.lower, arm.upper)
    velocity = generator.uniform(-arm.velocity, arm.velocity)
    torque = law.brake(SensorSample(0, position, velocity, np.zeros(arm.joints)))
    assert (np.abs(torque) <= arm.effort * (1.0 + 1e-9)).all()
    ratio = RigidBody(arm).acceleration(position[None], velocity[None], torque[None])[0] / velocity
    if (np.abs(RigidBody(arm).terms(position[None], velocity[None])[1][0]) < arm.effort).all():
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6, atol=1e-6)
        assert -CONFIG.effort_rate * (1.0 + 1e-6) <= ratio[0] <= 1e-6


@given(st.lists(UNIT, min_size=3, max_size=3), st.lists(UNIT, min_size=3, max_size=3), st.floats(0.1, 50.0))
def test_a_share_is_the_largest_that_fits(bias: list[float], push: list[float], size: float) -> None:
    effort, way = np.array([1.0, 2.0, 0.5]), size * np.array(push)
    carried = 0.4 * np.array(bias)
    torque = within_torque(carried, way, effort)
    assert (np.abs(torque) <= effort + 1e-12).all()
    part = float(share(way, np.maximum(effort - np.sign(way) * carried, 0.0))[0])
    np.testing.assert_allclose(torque, carried + part * way, atol=1e-9)
    assert part == 1.0 or np.isclose(np.abs(torque), effort).any()
