"""Ages of plan and state, exact to the nanosecond, and what the guard does with them on a virtual clock."""

from __future__ import annotations

import pytest

from mbrl_control.safety.verdicts import Action, check_plan_age, check_state_age
from mbrl_control.signals import OperatorState, PlanOutcome, SensorSample, Stage
from tests.unit.safety_support import CONFIG, PERIOD_NS, TICK_NS, Rig, constant, plan

STATE_NS = 4_000_000
T0 = 10**12


def running() -> Rig:
    rig = Rig()
    rig.run()
    rig.cycle(40, knots=constant([0.5, 0.0, 0.0]))
    return rig


@pytest.mark.parametrize(
    ("age_ns", "action"),
    [
        (0, Action.PASS),
        (50_000_000, Action.PASS),
        (50_000_001, Action.BRAKE),
        (100_000_000, Action.BRAKE),
        (100_000_001, Action.LATCH),
    ],
)
def test_when_a_plan_ages_by_receive_time_expect_two_and_a_half_and_five_periods(age_ns: int, action: Action) -> None:
    now = T0 + age_ns
    fresh_stamps = plan(now, 1)
    assert check_plan_age(fresh_stamps, T0, 0, now, CONFIG).action == action


@pytest.mark.parametrize("field", ["belief_stamp_ns", "optimized_stamp_ns"])
@pytest.mark.parametrize(
    ("age_ns", "action"),
    [
        (70_000_000, Action.PASS),
        (70_000_001, Action.BRAKE),
        (100_000_000, Action.BRAKE),
        (100_000_001, Action.LATCH),
    ],
)
def test_when_a_plan_ages_by_its_stamps_expect_three_and_a_half_and_five_periods(
    field: str, age_ns: int, action: Action
) -> None:
    now = T0 + age_ns
    assert check_plan_age(plan(now, 1, **{field: T0}), now, 0, now, CONFIG).action == action


@pytest.mark.parametrize(("fallbacks", "action"), [(2, Action.PASS), (3, Action.HOLD)])
def test_when_fallback_plans_follow_each_other_expect_hold_at_the_third(fallbacks: int, action: Action) -> None:
    assert check_plan_age(plan(T0, 1), T0, fallbacks, T0, CONFIG).action == action


@pytest.mark.parametrize("by_receive_time", [True, False])
@pytest.mark.parametrize(
    ("periods", "extra_ns", "action"),
    [(5, 0, Action.PASS), (5, 1, Action.HOLD), (15, 0, Action.HOLD), (15, 1, Action.LATCH)],
)
def test_when_the_state_ages_expect_five_and_fifteen_periods(
    by_receive_time: bool, periods: int, extra_ns: int, action: Action
) -> None:
    now = T0 + periods * STATE_NS + extra_ns
    stamp, received = (now, T0) if by_receive_time else (T0, now)
    assert check_state_age(stamp, received, now, CONFIG).action == action


def test_when_plans_stop_expect_braking_then_protective_stop_each_in_its_tick() -> None:
    rig = running()
    last = rig.now - PERIOD_NS
    history = []
    for _ in range(25):
        age = rig.now - last
        history.append((age, rig.tick(), rig.core.state))
    for age, command, state in history:
        assert (command.limiting_stage == Stage.NONE) == (age <= 50_000_000)
        assert (state == OperatorState.PROTECTIVE_STOP) == (age > 100_000_000)
    assert not history[-1][1].applied.any()


def test_when_the_planner_misses_one_cycle_expect_the_current_plan_to_carry_on() -> None:
    rig = running()
    for _ in range(6):
        command = rig.tick()
        assert command.limiting_stage == Stage.NONE
        assert command.applied[0] == pytest.approx(0.5)


def test_when_the_state_stops_expect_hold_then_protective_stop_each_in_its_tick() -> None:
    rig = running()
    rig.tick()
    assert rig.measured is not None
    stamp = rig.measured.stamp_ns
    for _ in range(20):
        age = rig.now - stamp
        rig.send(knots=constant([0.5, 0.0, 0.0]))
        rig.tick(sense=False)
        state = {0: OperatorState.RUNNING, 1: OperatorState.HOLD, 2: OperatorState.PROTECTIVE_STOP}
        assert rig.core.state == state[(age > 5 * STATE_NS) + (age > 15 * STATE_NS)]


def test_when_the_state_comes_back_expect_running_again_with_a_ramp() -> None:
    rig = running()
    for _ in range(7):
        rig.send(knots=constant([0.5, 0.0, 0.0]))
        rig.tick(sense=False)
    assert rig.core.state == OperatorState.HOLD
    rig.cycle(1, knots=constant([0.5, 0.0, 0.0]))
    assert rig.core.state == OperatorState.RUNNING
    assert rig.applied[-1][0] < 0.5
    rig.cycle(40, knots=constant([0.5, 0.0, 0.0]))
    assert rig.applied[-1][0] == pytest.approx(0.5)


def test_when_fallback_plans_do_not_end_expect_hold_and_then_protective_stop() -> None:
    rig = running()
    optimized = rig.now
    for _ in range(3):
        rig.send(outcome=PlanOutcome.SHIFTED, optimized_stamp_ns=optimized)
        rig.tick()
    assert rig.core.state == OperatorState.HOLD
    while rig.now - optimized <= 1.2e9:
        rig.cycle(1, outcome=PlanOutcome.SHIFTED, optimized_stamp_ns=optimized)
    assert rig.core.state == OperatorState.PROTECTIVE_STOP


def test_when_a_sample_carries_a_future_stamp_expect_it_left_out() -> None:
    rig = running()
    good = rig.position.copy()
    rig.measured = SensorSample(rig.now + 5_000_001, good + 9.0, good, good)
    rig.tick(sense=False)
    assert rig.core.state == OperatorState.RUNNING


def test_when_samples_repeat_or_go_back_expect_age_to_tell() -> None:
    rig = running()
    rig.tick()
    repeated = rig.measured
    for _ in range(5):
        rig.send()
        rig.core.tick(rig.now, repeated, rig.now)
        rig.clock.advance_ns(TICK_NS)
    assert rig.core.state == OperatorState.HOLD
