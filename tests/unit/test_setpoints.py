"""Position setpoints from velocities: where they begin, how far they can go, and what ends them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.safety.controllers import ControllerInterface, mismatch
from mbrl_control.safety.relay_watchdog import RelayState, receive, watch, wind_down
from mbrl_control.safety.setpoints import (
    AHEAD_S,
    FRESH_NS,
    LEASH_S,
    SILENCE_NS,
    STEP_NS,
    Measured,
    Setpoint,
    advance,
    point_ahead,
)
from mbrl_control.signals import CommandInterface, SafeCommand, Stage
from tests.unit.safety_support import limits

T0 = 10**12
TICK_NS = 5_000_000
LIMITS = limits()
LEASH = LEASH_S * LIMITS.velocity
speeds = st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3).map(lambda row: np.array(row) * LIMITS.velocity)
places = st.lists(st.floats(-1.2, 1.2), min_size=3, max_size=3).map(np.array)


def at(position: np.ndarray, now_ns: int = T0) -> Measured:
    return Measured(position, now_ns)


@given(places, speeds)
def test_it_begins_where_the_arm_is_whatever_is_commanded(position: np.ndarray, velocity: np.ndarray) -> None:
    _, sent = advance(Setpoint(), velocity, at(position), LIMITS, T0)
    np.testing.assert_array_equal(sent, position)


@given(st.lists(st.tuples(speeds, places), min_size=1, max_size=40))
def test_it_is_never_further_than_the_leash_from_the_arm_nor_beyond_limit_and_arm(rows: list) -> None:
    """Whatever the arm does: it may be thrown about at will."""
    setpoint, now = Setpoint(), T0
    for velocity, position in rows:
        setpoint, sent = advance(setpoint, velocity, at(position, now), LIMITS, now)
        assert (np.abs(sent - position) <= LEASH + 1e-12).all()
        assert (sent <= np.maximum(LIMITS.upper, position)).all()
        assert (sent >= np.minimum(LIMITS.lower, position)).all()
        now += TICK_NS


@given(st.lists(st.tuples(speeds, st.integers(1, STEP_NS)), min_size=1, max_size=30))
def test_it_is_the_exact_integral_for_an_arm_that_follows(rows: list) -> None:
    setpoint, now, exact = Setpoint(), T0, np.zeros(3)
    setpoint, _ = advance(setpoint, np.zeros(3), at(exact), LIMITS, now)
    for velocity, elapsed_ns in rows:
        now += elapsed_ns
        exact = np.clip(exact + velocity * elapsed_ns * 1e-9, LIMITS.lower, LIMITS.upper)
        setpoint, sent = advance(setpoint, velocity, at(exact, now), LIMITS, now)
        np.testing.assert_allclose(sent, exact, atol=1e-12)


def test_a_blocked_arm_stops_the_setpoint_at_the_leash() -> None:
    setpoint, now, blocked = Setpoint(), T0, np.array([0.1, -0.2, 0.3])
    for _ in range(400):
        setpoint, sent = advance(setpoint, LIMITS.velocity, at(blocked, now), LIMITS, now)
        now += TICK_NS
    np.testing.assert_allclose(sent, np.minimum(blocked + LEASH, LIMITS.upper))


def test_after_a_silence_it_begins_anew_at_the_arm() -> None:
    setpoint, _ = advance(Setpoint(), np.zeros(3), at(np.zeros(3)), LIMITS, T0)
    moved = np.array([0.02, 0.0, -0.02])
    later = T0 + SILENCE_NS + 1
    _, sent = advance(setpoint, LIMITS.velocity, at(moved, later), LIMITS, later)
    np.testing.assert_array_equal(sent, moved)
    # A pause that is no silence is not made up for.
    _, sent = advance(setpoint, LIMITS.velocity, at(np.zeros(3), later - 1), LIMITS, later - 1)
    np.testing.assert_allclose(sent, LIMITS.velocity * STEP_NS * 1e-9)


def test_without_a_fresh_measurement_nothing_begins_and_what_has_begun_stays() -> None:
    for measured in (Measured(), at(np.zeros(3), T0 - FRESH_NS - 1)):
        assert advance(Setpoint(), np.zeros(3), measured, LIMITS, T0) == (Setpoint(), None)
    setpoint, _ = advance(Setpoint(), np.zeros(3), at(np.zeros(3)), LIMITS, T0)
    now = T0
    for _ in range(100):
        now += TICK_NS
        setpoint, sent = advance(setpoint, LIMITS.velocity, at(np.zeros(3)), LIMITS, now)
    travelled = LIMITS.velocity * FRESH_NS * 1e-9
    np.testing.assert_allclose(sent, np.minimum(travelled, LEASH), atol=1e-9)


@pytest.mark.parametrize("ends", ["guard falls silent", "relay is told to end"])
def test_the_ramp_brings_setpoints_to_rest_without_a_jump(ends: str) -> None:
    """Relay and integral together, with an arm 60 ms behind: it is not called back, and speed falls as allowed."""
    speed, lag = np.array([1.0, -0.5, 0.0]), 0.06
    command = SafeCommand(T0, 1, 1, speed, speed, 0, Stage.NONE, "", True)
    state, velocity = receive(RelayState(), command, LIMITS, T0)
    setpoint, sent = Setpoint(speed * lag, T0 - TICK_NS), speed * lag
    now, stamps, sent_ones = T0, [T0 - TICK_NS], [sent]
    if ends != "guard falls silent":
        state = wind_down(state, now)
    for _ in range(300):
        if velocity is not None:
            setpoint, sent = advance(setpoint, velocity, at(sent - velocity * lag, now), LIMITS, now)
            stamps.append(now)
            sent_ones.append(sent)
        now += 2_000_000
        state, velocity = watch(state, LIMITS, now)
    assert not state.publishing
    assert state.latched
    steps = np.diff(sent_ones, axis=0)
    assert (steps * np.sign(speed) >= -1e-12).all()
    assert (np.abs(steps) <= np.abs(speed) * STEP_NS * 1e-9 + 1e-12).all()
    ramp = steps[2:] / 2e-3
    assert len(ramp) > 20
    assert (np.abs(np.diff(ramp, axis=0)) / 2e-3 <= LIMITS.acceleration + 1e-6).all()
    np.testing.assert_allclose(ramp[-1], 0.0, atol=1e-9)


def test_winding_down_an_idle_relay_changes_nothing() -> None:
    assert wind_down(RelayState(), T0) == RelayState()


@given(speeds)
def test_the_point_ahead_begins_without_acceleration_and_ends_at_rest(velocity: np.ndarray) -> None:
    """Closed form of the cubic from (0, v) to (end, 0) in T: acceleration at its begin is (6 end - 4 v T) / T^2."""
    end = point_ahead(np.zeros(3), velocity, at(np.zeros(3)), LIMITS)
    np.testing.assert_allclose((6.0 * end - 4.0 * velocity * AHEAD_S) / AHEAD_S**2, 0.0, atol=1e-9)


def test_the_point_ahead_stays_inside_the_limits() -> None:
    end = point_ahead(LIMITS.upper - 0.01, LIMITS.velocity, at(LIMITS.upper - 0.02), LIMITS)
    np.testing.assert_array_equal(end, LIMITS.upper)


def test_names_and_topics_are_those_of_ros2_control() -> None:
    topics = {interface: interface.topic() for interface in ControllerInterface}
    assert topics == {
        "position": "forward_position_controller/commands",
        "velocity": "forward_velocity_controller/commands",
        "effort": "forward_effort_controller/commands",
        "joint_trajectory": "joint_trajectory_controller/joint_trajectory",
    }
    scaled = ControllerInterface.JOINT_TRAJECTORY.topic("scaled_joint_trajectory_controller")
    assert scaled == "scaled_joint_trajectory_controller/joint_trajectory"


def test_a_controller_that_cannot_follow_is_named_with_those_that_can() -> None:
    assert mismatch(CommandInterface.VELOCITY, ControllerInterface.POSITION) == ""
    assert mismatch(CommandInterface.EFFORT, ControllerInterface.EFFORT) == ""
    assert "use one of position, velocity, joint_trajectory" in mismatch(
        CommandInterface.VELOCITY, ControllerInterface.EFFORT
    )
    assert "use one of effort" in mismatch(CommandInterface.EFFORT, ControllerInterface.POSITION)
