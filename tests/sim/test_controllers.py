"""The drives' loops of the simulated arm, alone and with the relay's setpoints in front of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.cli.locations import arm_file
from mbrl_control.robot import load_arm
from mbrl_control.safety.config import limits_of
from mbrl_control.safety.setpoints import AHEAD_S, Measured, Setpoint, advance, point_ahead
from mbrl_control.signals import Array
from sim.controllers import Cubic, PositionLoop, TrajectoryFollower
from sim.mujoco_arm import MujocoArm

ARM = load_arm(arm_file("panda"))
LIMITS = limits_of(ARM)
MS = 1_000_000
numbers = st.floats(-2.0, 2.0)


@given(numbers, numbers, numbers, st.floats(0.02, 1.0))
def test_a_cubic_meets_its_four_conditions_and_rests_afterwards(a: float, v: float, b: float, length: float) -> None:
    cubic = Cubic(np.array([a]), np.array([v]), np.array([b]), 10.0, length)
    for time, position, speed in ((10.0, a, v), (10.0 + length, b, 0.0), (20.0, b, 0.0)):
        found = cubic.at(time)
        np.testing.assert_allclose(found[0], position, atol=1e-9)
        np.testing.assert_allclose(found[1], speed, atol=1e-8)
    # Velocity is the derivative of position: central difference inside.
    middle, h = 10.0 + 0.4 * length, 1e-5 * length
    slope = (cubic.at(middle + h)[0] - cubic.at(middle - h)[0]) / (2 * h)
    np.testing.assert_allclose(cubic.at(middle)[1], slope, rtol=1e-5, atol=1e-5)


def test_without_a_setpoint_nothing_moves_and_forgetting_brings_that_back() -> None:
    position, loop, follower = ARM.home, PositionLoop(ARM), TrajectoryFollower(ARM)
    for controller in (loop, follower):
        assert not controller.velocity(position, 0.0).any()
    loop.take(position + 0.1, 0.0)
    follower.take(position + 0.1, 0.1, position, 0.0)
    for controller in (loop, follower):
        assert controller.velocity(position, 0.05).any()
        controller.forget()
        assert not controller.velocity(position, 0.05).any()


def test_a_far_setpoint_is_followed_at_the_rated_speed() -> None:
    loop = PositionLoop(ARM)
    loop.take(ARM.upper, 0.0)
    np.testing.assert_allclose(np.abs(loop.velocity(ARM.lower, 0.0)), ARM.velocity)


def test_a_point_in_the_past_is_refused() -> None:
    with pytest.raises(ValueError, match="time_from_start is 0"):
        TrajectoryFollower(ARM).take(ARM.home, 0.0, ARM.home, 0.0)


def follow(speed: Callable[[float], Array], seconds: float, kind: str) -> tuple[Array, Array]:
    """Safe velocities -> relay's setpoints -> controller -> MuJoCo arm; true (position, velocity) after each 4 ms.

    Measured positions are the sensor's, with its noise and delay. After ``seconds`` nothing more is sent.
    """
    sim = MujocoArm(arm_file("panda"), 0, 0)
    controller = PositionLoop(ARM) if kind == "position" else TrajectoryFollower(ARM)
    setpoint, measured, rows = Setpoint(), Measured(), []
    for millisecond in range(round(seconds * 1e3) + 1000):
        now, time = millisecond * MS, millisecond * 1e-3
        if millisecond % 4 == 0 and (sample := sim.sensor()) is not None:
            measured = Measured(sample.position, now)
        if millisecond % 5 == 0 and time < seconds:
            setpoint, position = advance(setpoint, speed(time), measured, LIMITS, now)
            if position is not None and isinstance(controller, PositionLoop):
                controller.take(position, time)
            elif position is not None:
                point = point_ahead(position, speed(time), measured, LIMITS)
                controller.take(point, AHEAD_S, sim.truth().position, time)
        if millisecond % 4 == 0:
            truth = sim.truth()
            rows.append((truth.position, truth.velocity))
            sim.command(controller.velocity(truth.position, time))
            sim.step()
            sim.step()
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows])


def swing(time: float) -> Array:
    """A smooth start and stop: half a cosine up to 20 % of the rated speed and back, 1 s."""
    return 0.2 * ARM.velocity * 0.5 * (1.0 - np.cos(2.0 * np.pi * min(time, 1.0)))


@pytest.mark.parametrize("kind", ["position", "joint_trajectory"])
def test_the_arm_goes_the_way_that_the_velocities_add_up_to(kind: str) -> None:
    positions, velocities = follow(swing, 1.6, kind)
    way = 0.2 * ARM.velocity * 0.5
    moved = positions[-1] - positions[0]
    # What is left is the servo's droop under friction over the gain of the loop.
    np.testing.assert_allclose(moved, way, atol=0.01)
    assert (np.abs(velocities) <= 0.3 * ARM.velocity).all()
    assert np.abs(velocities[-1]).max() < 0.02 * np.abs(velocities).max()


@pytest.mark.parametrize("kind", ["position", "joint_trajectory"])
def test_the_arm_comes_to_rest_by_itself_when_commands_end_in_full_motion(kind: str) -> None:
    """What a velocity controller would not do: no ramp, no brakes here, the relay has died."""
    positions, velocities = follow(lambda _: 0.2 * ARM.velocity, 0.5, kind)
    end = round(0.5 / 0.004)
    assert np.abs(velocities[end]).min() > 0.1 * ARM.velocity.min()
    assert np.abs(velocities[-1]).max() < 0.02 * np.abs(velocities[end]).max()
    # Delays and lag of the servo, and the way of the last point.
    assert (np.abs(positions[-1] - positions[end]) <= 0.2 * ARM.velocity * (0.1 + AHEAD_S)).all()
