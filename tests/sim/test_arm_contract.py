"""What every simulated arm must do; a further engine is one more entry in ``ENGINES``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mbrl_control.kinematics import forward_kinematics
from sim.arm_sim import ArmSim
from sim.faults import FaultyArm
from sim.generate import ROBOTS
from sim.mujoco_arm import MujocoArm
from sim.pybullet_arm import PybulletArm

ENGINES: dict[str, Callable[[str, int], ArmSim]] = {
    "mujoco": lambda arm, seed: MujocoArm(ROBOTS / f"{arm}.yaml", seed),
    "pybullet": lambda arm, seed: PybulletArm(ROBOTS / f"{arm}.yaml", seed),
    "mujoco behind faults": lambda arm, seed: FaultyArm(MujocoArm(ROBOTS / f"{arm}.yaml", seed)),
}
Make = Callable[[int], ArmSim]


@pytest.fixture(params=[(engine, arm) for engine in ENGINES for arm in ("panda", "planar", "ur5e")], ids=" ".join)
def make(request: pytest.FixtureRequest) -> Make:
    engine, arm = request.param
    return lambda seed: ENGINES[engine](arm, seed)


def run(sim: ArmSim, steps: int) -> None:
    for _ in range(steps):
        sim.step()


def velocities(sim: ArmSim, steps: int) -> np.ndarray:
    rows = []
    for _ in range(steps):
        sim.step()
        rows.append(sim.truth().velocity)
    return np.array(rows)


def test_one_seed_gives_one_run_and_the_truth_does_not_depend_on_the_seed(make: Make) -> None:
    def trace(seed: int) -> tuple[np.ndarray, np.ndarray]:
        sim = make(seed)
        sim.attach_payload(0.5, np.array([0.0, 0.0, 0.02]))
        sim.command(0.2 * sim.arm.velocity)
        measured, true = [], []
        for _ in range(100):
            sim.step()
            sample = sim.sensor()
            assert sample is not None
            measured.append(np.concatenate([sample.position, sample.velocity, sample.effort]))
            true.append(np.concatenate([sim.truth().position, sim.truth().velocity, sim.truth().effort]))
        return np.array(measured), np.array(true)

    first, again, other = trace(3), trace(3), trace(4)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert np.array_equal(first[1], other[1])
    assert not np.array_equal(first[0], other[0])


def test_at_rest_without_payload_it_stays_where_it_is(make: Make) -> None:
    sim = make(0)
    start = sim.truth().position
    run(sim, 500)
    np.testing.assert_allclose(sim.truth().position, start, atol=1e-6)


def test_a_payload_makes_the_servo_droop_and_taking_it_off_ends_that(make: Make) -> None:
    sim = make(0)
    sim.attach_payload(1.0, np.zeros(3))
    height = sim.truth().tool[2]
    run(sim, 250)
    droop = height - sim.truth().tool[2]
    assert droop > 0.005
    assert sim.truth().payload_mass == 1.0
    sim.attach_payload(0.0, np.zeros(3))
    run(sim, 250)
    assert np.abs(sim.truth().velocity).max() < 1e-3


def test_a_payload_attached_under_brakes_acts_as_one_attached_free(make: Make) -> None:
    free, braked = make(0), make(0)
    free.attach_payload(1.0, np.zeros(3))
    braked.brake(True)
    braked.attach_payload(1.0, np.zeros(3))
    braked.brake(False)
    run(free, 200)
    run(braked, 200)
    np.testing.assert_allclose(braked.truth().position, free.truth().position, atol=1e-9)
    np.testing.assert_allclose(braked.truth().effort, free.truth().effort, atol=1e-6)


def test_a_velocity_step_is_a_delay_and_then_about_first_order(make: Make) -> None:
    sim = make(0)
    sim.command(0.1 * sim.arm.velocity)
    response = velocities(sim, 300)
    dead = round(sim.arm.command_delay_s * 1e9 / sim.period_ns)
    assert np.abs(response[:dead]).max() < 1e-6
    final = response[-1]
    assert (final > 0.6 * 0.1 * sim.arm.velocity).all()
    assert (final < 1.02 * 0.1 * sim.arm.velocity).all()
    rise = np.argmax(response > 0.632 * final, axis=0) * sim.period_ns * 1e-9 - sim.arm.command_delay_s
    # The servo's own lag, plus what inertia over gain adds.
    assert (rise > 0.9 * sim.arm.servo_lag_s).all()
    assert (rise < 3.0 * sim.arm.servo_lag_s).all()
    assert response.max(axis=0) == pytest.approx(final, rel=0.05)


def test_end_stops_hold_the_arm(make: Make) -> None:
    """At the speed cap into the stop of one joint: there it stays, and it comes back when told to."""
    sim = make(0)
    pose = sim.arm.home.copy()
    pose[-1] = sim.arm.upper[-1] - 0.1
    sim.reset(pose)
    push = np.zeros(sim.arm.joints)
    push[-1] = 0.5 * sim.arm.velocity[-1]
    sim.command(push)
    positions = []
    for _ in range(300):
        sim.step()
        positions.append(sim.truth().position[-1])
    assert max(positions) > sim.arm.upper[-1] - 1e-3
    assert max(positions) < sim.arm.upper[-1] + 0.05
    sim.command(-push)
    run(sim, 100)
    assert sim.truth().position[-1] < sim.arm.upper[-1] - 0.05


def test_measurements_arrive_whole_steps_late_with_their_own_stamp(make: Make) -> None:
    sim = make(0)
    late = round(sim.arm.sensor_delay_s * 1e9 / sim.period_ns)
    truths = [sim.truth()]
    sim.command(0.2 * sim.arm.velocity)
    for step in range(1, 60):
        sim.step()
        truths.append(sim.truth())
        sample = sim.sensor()
        if step < late:
            assert sample is None
            continue
        assert sample is not None
        then = truths[step - late]
        assert sample.stamp_ns == then.stamp_ns
        noise = sim.arm.noise
        np.testing.assert_allclose(sample.position, then.position, atol=6 * noise.position_std + noise.position_quantum)
        np.testing.assert_allclose(sample.velocity, then.velocity, atol=6 * noise.velocity_std + noise.velocity_quantum)
        np.testing.assert_allclose(sample.effort, then.effort, atol=6 * noise.effort_std)


def test_brakes_stop_the_arm_and_hold_it_with_payload_and_without_motor_torque(make: Make) -> None:
    sim = make(0)
    sim.attach_payload(1.0, np.zeros(3))
    sim.command(0.4 * sim.arm.velocity)
    run(sim, 150)
    sim.brake(True)
    run(sim, 150)
    held = sim.truth().position
    run(sim, 500)
    truth = sim.truth()
    assert truth.brakes
    np.testing.assert_allclose(truth.position, held, atol=2e-4)
    np.testing.assert_array_equal(truth.effort, 0.0)
    sim.command(0.2 * sim.arm.velocity)
    run(sim, 100)
    np.testing.assert_allclose(sim.truth().position, held, atol=3e-4)


def test_released_brakes_give_the_servo_back_from_a_zero_command(make: Make) -> None:
    sim = make(0)
    sim.command(0.4 * sim.arm.velocity)
    run(sim, 100)
    sim.brake(True)
    run(sim, 150)
    sim.brake(False)
    assert np.abs(velocities(sim, 100)).max() < 1e-3
    sim.command(0.1 * sim.arm.velocity)
    assert (velocities(sim, 300)[-1] > 0.5 * 0.1 * sim.arm.velocity).all()


def test_truth_agrees_with_the_kinematics_and_time_is_the_step_count(make: Make) -> None:
    sim = make(0)
    sim.set_time(1_800_000_000_000_000_000)
    sim.command(0.3 * sim.arm.velocity)
    run(sim, 123)
    truth = sim.truth()
    np.testing.assert_allclose(truth.tool, forward_kinematics(sim.arm, truth.position), atol=1e-12)
    assert truth.step == sim.step_count == 123
    assert truth.stamp_ns == sim.time_ns == 1_800_000_000_000_000_000 + 123 * sim.period_ns


def test_reset_puts_the_arm_at_rest_at_the_pose_and_time_goes_on(make: Make) -> None:
    sim = make(0)
    sim.command(0.3 * sim.arm.velocity)
    run(sim, 100)
    sim.reset(sim.arm.box_lower)
    assert sim.step_count == 100
    np.testing.assert_array_equal(sim.truth().position, sim.arm.box_lower)
    run(sim, 50)
    np.testing.assert_allclose(sim.truth().position, sim.arm.box_lower, atol=1e-6)


@pytest.mark.parametrize("mass", [-1.0, float("nan"), float("inf")])
def test_an_impossible_payload_is_refused(make: Make, mass: float) -> None:
    with pytest.raises(ValueError, match="payload"):
        make(0).attach_payload(mass, np.zeros(3))


def test_a_command_that_is_not_finite_or_has_the_wrong_length_is_refused(make: Make) -> None:
    sim = make(0)
    for bad in (np.full(sim.arm.joints, np.nan), np.zeros(sim.arm.joints + 1)):
        with pytest.raises(ValueError, match="command"):
            sim.command(bad)
