"""The guard as a whole: who may move it, what it lets through, and how it ends motion."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_control.safety.config import GuardConfig, GuardError
from mbrl_control.safety.state_machine import Event
from mbrl_control.signals import OperatorState, SensorSample, Stage
from tests.unit.safety_support import CONFIG, PERIOD_NS, Rig, constant, limits, plan, running


def test_when_idle_expect_a_command_every_tick_with_drives_off() -> None:
    rig = Rig()
    commands = [rig.tick() for _ in range(5)]
    assert [command.sequence for command in commands] == [1, 2, 3, 4, 5]
    assert not any(command.drives_enabled for command in commands)


def test_when_a_plan_is_within_limits_expect_it_unaltered() -> None:
    rig = running()
    rig.cycle(40)
    ramp = np.linspace(0.0, 1.0, 16)[:, None] * np.array([0.5, -0.3, 0.4])
    rig.send(knots=ramp)
    for index in range(10):
        command = rig.tick()
        np.testing.assert_allclose(command.applied, ramp[-1] * index * 0.005 / 0.3, atol=1e-12)
        assert command.limiting_stage == Stage.NONE


def test_when_a_plan_jumps_expect_its_direction_kept() -> None:
    rig = running()
    rig.cycle(40)
    request = np.array([1.0, 0.5, -0.8])
    rig.send(knots=constant(list(request)))
    command = rig.tick()
    factor = command.applied / request
    assert 0.0 < factor[0] < 1.0
    np.testing.assert_allclose(factor, factor[0])
    assert command.limiting_stage in (Stage.ACCELERATION, Stage.JERK)


def test_when_started_expect_a_ramp_of_the_speed_cap() -> None:
    rig = running()
    begin = rig.now
    while rig.now - begin < 0.4e9:
        since = (rig.now - begin) * 1e-9
        command = rig.cycle(knots=constant([1.0, 0.0, 0.0]))
        assert command.applied[0] <= 2.0 * (since + 0.02) / 0.5 + 1e-9
    rig.cycle(20, knots=constant([0.5, 0.0, 0.0]))
    assert rig.applied[-1][0] == pytest.approx(0.5)


def test_when_a_payload_is_declared_expect_half_speed_until_a_bundle_knows_it() -> None:
    rig = running()
    assert rig.core.declare_payload(2.0, "operator", rig.core.status().challenge).success
    rig.cycle(30, knots=constant([0.0, 0.0, 1.9]))
    assert rig.applied[-1][2] == pytest.approx(1.25)
    assert rig.core.speed_scale == 0.5
    rig.core.bundle_announced("test/2", 2.0)
    rig.cycle(1)
    assert rig.core.speed_scale == 0.5, "announced, but plans still come from the other bundle"
    rig.cycle(1, model_id="test/2")
    assert rig.core.speed_scale == 1.0


@pytest.mark.parametrize("mass", [np.nan, np.inf, -1.0])
def test_when_the_declared_mass_is_no_mass_expect_refusal(mass: float) -> None:
    rig = Rig()
    assert not rig.core.declare_payload(mass, "operator", rig.core.status().challenge).success
    assert rig.core.speed_scale == 1.0


def test_when_challenge_or_operator_is_wrong_expect_refusal_and_no_reuse() -> None:
    rig = Rig()
    rig.tick()
    challenge = rig.core.status().challenge
    assert not rig.core.request(Event.ARM, "operator", challenge + 1, rig.now).success
    assert not rig.core.request(Event.ARM, "stranger", challenge, rig.now).success
    assert rig.core.request(Event.ARM, "operator", challenge, rig.now).success
    rig.core.raise_severity(Event.REQUEST_STOP, "test", rig.now)
    assert "challenge" in rig.core.request(Event.RESET, "operator", challenge, rig.now).message
    assert not rig.core.request(Event.HEALTHY, "operator", rig.core.status().challenge, rig.now).success


def test_when_too_few_plans_expect_start_refused() -> None:
    rig = Rig()
    rig.tick()
    assert rig.ask(Event.ARM).success
    rig.cycle(9)
    assert "9 of 10" in rig.ask(Event.START).message
    rig.cycle(1)
    assert rig.ask(Event.START).success


def test_when_the_plan_expects_another_pose_expect_start_refused() -> None:
    rig = Rig()
    rig.tick()
    assert rig.ask(Event.ARM).success
    rig.cycle(12, position=np.full((16, 3), 0.2))
    assert "pose" in rig.ask(Event.START).message
    assert rig.core.state == OperatorState.ARMED


def test_when_a_sample_is_not_finite_expect_protective_stop_in_one_tick_and_a_finite_command() -> None:
    rig = running()
    rig.cycle(30, knots=constant([0.4, 0.0, 0.0]))
    rig.measured = SensorSample(rig.now, np.array([np.nan, 0, 0]), np.zeros(3), np.zeros(3))
    command = rig.tick(sense=False)
    assert rig.core.state == OperatorState.PROTECTIVE_STOP
    assert np.isfinite(command.applied).all()
    assert command.applied[0] < 0.4


def test_when_measured_beyond_the_position_limit_expect_protective_stop() -> None:
    rig = running()
    rig.position = np.array([0.0, 1.01, 0.0])
    rig.tick()
    assert rig.core.state == OperatorState.PROTECTIVE_STOP
    for _ in range(200):
        rig.tick()
    assert not rig.ask(Event.RESET).success


def test_when_stopped_and_clear_expect_reset_to_armed_and_no_motion() -> None:
    rig = running()
    rig.core.raise_severity(Event.REQUEST_STOP, "test", rig.now)
    rig.tick()
    assert "0.5 s" in rig.ask(Event.RESET).message
    for _ in range(120):
        rig.tick()
    epoch = rig.core.status().epoch
    assert rig.ask(Event.RESET).success
    assert (rig.core.state, rig.core.status().epoch) == (OperatorState.ARMED, epoch + 1)
    assert not rig.tick().applied.any()


def test_when_the_arm_moves_expect_reset_refused() -> None:
    rig = running()
    rig.core.raise_severity(Event.REQUEST_STOP, "test", rig.now)
    for _ in range(120):
        rig.tick()
    rig.velocity = np.array([0.2, 0.0, 0.0])
    rig.tick()
    assert "moves" in rig.ask(Event.RESET).message


def test_when_standstill_is_lost_in_a_stop_expect_drives_off() -> None:
    rig = running()
    rig.core.raise_severity(Event.REQUEST_STOP, "test", rig.now)
    for _ in range(10):
        rig.tick()
    rig.position = rig.position + np.array([0.0, 0.15, 0.0])
    assert not rig.tick().drives_enabled


def test_when_held_by_the_operator_expect_the_pose_held_against_drift() -> None:
    rig = running()
    rig.cycle(40, knots=constant([0.5, 0.2, -0.3]))
    rig.core.raise_severity(Event.REQUEST_HOLD, "test", rig.now)
    for _ in range(100):
        rig.tick()
    held = rig.position.copy()
    rig.position = rig.position + 0.02
    for _ in range(800):
        rig.tick()
    np.testing.assert_allclose(rig.position, held, atol=1e-3)
    assert rig.core.state == OperatorState.OPERATOR_HOLD


def test_when_held_under_a_load_expect_the_pose_kept_though_the_servo_gives_way() -> None:
    """From motion, with a servo that sinks at 0.6 rad/s at a zero command: it never comes to rest by itself."""
    rig = running()
    rig.cycle(40, knots=constant([0.5, 0.2, -0.3]))
    rig.droop = np.array([0.0, 0.6, 0.0])
    rig.core.raise_severity(Event.REQUEST_HOLD, "test", rig.now)
    for _ in range(100):
        rig.tick()
    caught = rig.position.copy()
    for _ in range(1000):
        rig.tick()
    assert rig.core.state == OperatorState.OPERATOR_HOLD
    assert np.abs(rig.velocity).max() < 0.01
    assert np.abs(rig.position - caught).max() < 0.1


def test_when_the_load_is_put_on_in_a_hold_expect_the_pose_taken_back() -> None:
    rig = running()
    rig.core.raise_severity(Event.REQUEST_HOLD, "test", rig.now)
    for _ in range(50):
        rig.tick()
    held = rig.position.copy()
    rig.droop = np.array([0.0, 0.6, 0.0])
    for _ in range(1000):
        rig.tick()
    assert rig.core.state == OperatorState.OPERATOR_HOLD
    np.testing.assert_allclose(rig.position, held, atol=5e-3)


def test_when_the_load_is_too_much_expect_a_stop_and_drives_off() -> None:
    rig = running()
    rig.core.raise_severity(Event.REQUEST_HOLD, "test", rig.now)
    for _ in range(50):
        rig.tick()
    rig.droop = np.array([0.0, 4.0, 0.0])
    commands = [rig.tick() for _ in range(300)]
    assert rig.core.state == OperatorState.PROTECTIVE_STOP
    assert "drifts" in " ".join(rig.core.status().reasons)
    assert not commands[-1].drives_enabled


def test_when_publishers_are_exchanged_expect_new_epoch_only_outside_running() -> None:
    rig = running()
    assert not rig.core.receive_plan(plan(rig.now, 1, epoch=2), rig.now).ok
    rig.core.raise_severity(Event.REQUEST_HOLD, "test", rig.now)
    rig.tick()
    assert rig.core.receive_plan(plan(rig.now, 1, epoch=2), rig.now).ok
    assert rig.core.status().fresh_plans == 1
    assert "epoch" in rig.core.receive_plan(plan(rig.now, 999, epoch=1), rig.now).reason


def test_when_the_operator_holds_expect_a_start_only_on_plans_made_since() -> None:
    """Else plans of the node that is being exchanged would start the arm, and those of its successor be refused."""
    rig = running()
    rig.cycle(20)
    rig.core.raise_severity(Event.REQUEST_HOLD, "test", rig.now)
    rig.cycle(9)
    assert "9 of 10" in rig.ask(Event.START).message
    rig.cycle(1)
    assert rig.ask(Event.START).success


def test_when_the_relay_latches_expect_protective_stop_and_old_reports_ignored() -> None:
    rig = running()
    rig.core.relay_report(True, rig.now, rig.now)
    assert rig.core.state == OperatorState.RUNNING
    rig.cycle(20)
    rig.core.relay_report(True, rig.now, rig.now)
    assert rig.core.state == OperatorState.PROTECTIVE_STOP


def test_when_configured_out_of_bounds_expect_field_named() -> None:
    with pytest.raises(GuardError, match="hold_gain"):
        GuardConfig(hold_gain=float("nan"))
    with pytest.raises(GuardError, match="state_latch_periods"):
        GuardConfig(state_latch_periods=60.0)
    with pytest.raises(GuardError, match="speed_scale"):
        Rig().core.set_speed_scale(1.5)
    assert CONFIG.plan_period_s * 1e9 == PERIOD_NS
    assert limits().joint_names == ("a", "b", "c")
