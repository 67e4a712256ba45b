"""Every move of the guard's states, and that there are no others."""

from __future__ import annotations

import itertools

import pytest

from mbrl_control.safety.state_machine import Event, Machine, expire, transition
from mbrl_control.signals import OperatorState
from tests.unit.safety_support import CONFIG

S = OperatorState
SECOND = 10**9
ALLOWED = {
    (S.IDLE, Event.ARM, S.ARMED),
    (S.ARMED, Event.START, S.RUNNING),
    (S.RUNNING, Event.SOFT_FAULT, S.HOLD),
    (S.RUNNING, Event.REQUEST_HOLD, S.OPERATOR_HOLD),
    (S.HOLD, Event.REQUEST_HOLD, S.OPERATOR_HOLD),
    (S.HOLD, Event.HEALTHY, S.RUNNING),
    (S.OPERATOR_HOLD, Event.START, S.RUNNING),
    (S.PROTECTIVE_STOP, Event.RESET, S.ARMED),
} | {
    (state, event, S.PROTECTIVE_STOP)
    for state in (S.ARMED, S.RUNNING, S.HOLD, S.OPERATOR_HOLD)
    for event in (Event.REQUEST_STOP, Event.HARD_FAULT)
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(S, Event)))
def test_when_an_event_meets_a_state_expect_only_the_documented_move(state: S, event: Event) -> None:
    before = Machine(state, 0, 7)
    after = transition(before, event, "why", SECOND, CONFIG)
    targets = [target for start, cause, target in ALLOWED if (start, cause) == (state, event)]
    if not targets:
        assert after is before
        return
    assert [after.state] == targets
    assert (after.since_ns, after.reason) == (SECOND, "why")
    assert after.epoch == (8 if after.state == S.ARMED else 7)


def test_when_reset_expect_no_way_to_motion_without_start() -> None:
    machine = transition(Machine(S.PROTECTIVE_STOP), Event.RESET, "", 0, CONFIG)
    for event in set(Event) - {Event.START}:
        assert transition(machine, event, "", 0, CONFIG).state != S.RUNNING


@pytest.mark.parametrize(("gap_s", "expected"), [(4.9, S.PROTECTIVE_STOP), (5.1, S.HOLD)])
def test_when_held_a_third_time_expect_stop_only_within_ten_seconds(gap_s: float, expected: S) -> None:
    machine = Machine(S.RUNNING)
    for index in range(3):
        now = round(index * gap_s * SECOND)
        machine = transition(machine, Event.SOFT_FAULT, "soft", now, CONFIG)
        if index < 2:
            machine = transition(machine, Event.HEALTHY, "", now, CONFIG)
    assert machine.state == expected


def test_when_a_hold_lasts_longer_than_a_second_expect_protective_stop() -> None:
    machine = transition(Machine(S.RUNNING), Event.SOFT_FAULT, "soft", 0, CONFIG)
    assert expire(machine, SECOND, CONFIG).state == S.HOLD
    assert expire(machine, SECOND + 1, CONFIG).state == S.PROTECTIVE_STOP
    held = Machine(S.OPERATOR_HOLD)
    assert expire(held, 100 * SECOND, CONFIG) is held
