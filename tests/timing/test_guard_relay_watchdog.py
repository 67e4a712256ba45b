"""The relay's watchdog on a virtual clock: 20 ms, ramp, silence, latch, and what clears it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mbrl_control.safety.relay_watchdog import TIMEOUT_NS, RelayState, receive, watch
from mbrl_control.signals import SafeCommand, Stage
from tests.unit.safety_support import limits

T0 = 10**12
LIMITS = limits()
SPEED = np.array([1.0, -0.5, 0.0])


def command(sequence: int, epoch: int = 1, enabled: bool = True) -> SafeCommand:
    return SafeCommand(T0, epoch, sequence, SPEED, SPEED, 0, Stage.NONE, "", enabled)


def fed() -> RelayState:
    state, sent = receive(RelayState(), command(1), LIMITS, T0)
    np.testing.assert_array_equal(sent, SPEED)
    return state


def test_when_silent_for_exactly_the_timeout_expect_nothing_and_one_nanosecond_later_the_ramp() -> None:
    state, sent = watch(fed(), LIMITS, T0 + TIMEOUT_NS)
    assert (sent, state.latched) == (None, False)
    state, sent = watch(state, LIMITS, T0 + TIMEOUT_NS + 1)
    assert sent is not None
    assert (state.latched, state.trips) == (True, 1)


@pytest.mark.parametrize("step_ns", [2_000_000, 5_000_000, 7_000_000])
def test_when_ramping_expect_the_acceleration_limit_then_zero_then_silence(step_ns: int) -> None:
    state, now, outputs = fed(), T0 + TIMEOUT_NS, []
    for _ in range(200):
        now += step_ns
        state, sent = watch(state, LIMITS, now)
        if sent is None:
            break
        outputs.append(sent)
    rates = np.abs(np.diff([SPEED, *outputs], axis=0)) / (step_ns * 1e-9)
    assert (rates <= LIMITS.acceleration + 1e-6).all()
    assert not outputs[-1].any()
    assert (state.publishing, state.latched, state.trips) == (False, True, 1)
    assert len(outputs) == pytest.approx(np.max(np.abs(SPEED) / LIMITS.acceleration) / (step_ns * 1e-9), abs=1.1)


def test_when_latched_expect_same_epoch_refused_and_a_new_one_sent() -> None:
    state, now = fed(), T0 + TIMEOUT_NS + 1
    while state.publishing:
        state, _ = watch(state, LIMITS, now)
        now += 5_000_000
    state, sent = receive(state, command(2), LIMITS, now)
    assert (sent, state.latched) == (None, True)
    state, sent = receive(state, command(3, epoch=2), LIMITS, now + 5_000_000)
    np.testing.assert_array_equal(sent, SPEED)
    assert (state.latched, state.publishing) == (False, True)


def test_when_the_relay_itself_slept_expect_a_trip_not_the_newest_command() -> None:
    """Frozen for 3 s and continued: the first thing it sees is a fresh command, and the brakes hold the arm."""
    now = T0 + 3_000_000_000
    state, sent = receive(fed(), command(600), LIMITS, now)
    assert (state.latched, state.trips) == (True, 1)
    assert sent is not None
    assert not sent.any()
    state, sent = receive(state, command(601), LIMITS, now + 5_000_000)
    assert (sent, state.latched, state.publishing) == (None, True, False)


def test_when_a_restarted_guard_is_heard_expect_the_ramp_to_end_and_the_latch_to_stay_until_armed() -> None:
    state, now, outputs = fed(), T0 + TIMEOUT_NS + 1, []
    for sequence in range(1, 200):
        state, sent = receive(state, command(sequence, epoch=2, enabled=False), LIMITS, now)
        if sent is None:
            break
        outputs.append(sent)
        now += 5_000_000
    rates = np.abs(np.diff([SPEED, *outputs], axis=0)) / 5e-3
    assert (rates <= LIMITS.acceleration + 1e-6).all()
    assert not outputs[-1].any()
    state, sent = receive(state, command(300, epoch=2, enabled=False), LIMITS, now)
    assert (sent, state.latched) == (None, True)
    state, sent = receive(state, command(301, epoch=3), LIMITS, now + 5_000_000)
    np.testing.assert_array_equal(sent, SPEED)
    assert not state.latched


def test_when_commands_keep_coming_expect_no_trip() -> None:
    state = fed()
    for index in range(100):
        now = T0 + index * 5_000_000
        state, _ = receive(state, command(index + 2), LIMITS, now)
        state, sent = watch(state, LIMITS, now + 4_000_000)
        assert sent is None
    assert state.trips == 0


def test_when_drives_go_off_expect_the_ramp_to_zero_then_silence_and_no_trip() -> None:
    """The guard is silent about motion from then on; the controller would keep what it got last."""
    state, now, outputs = fed(), T0, []
    for sequence in range(2, 200):
        now += 5_000_000
        state, sent = receive(state, command(sequence, enabled=False), LIMITS, now)
        if sent is None:
            break
        outputs.append(sent)
    rates = np.abs(np.diff([SPEED, *outputs], axis=0)) / 5e-3
    assert (rates <= LIMITS.acceleration + 1e-6).all()
    assert not outputs[-1].any()
    assert len(outputs) == pytest.approx(np.max(np.abs(SPEED) / LIMITS.acceleration) / 5e-3, abs=1.1)
    assert (state.publishing, state.latched, state.trips) == (False, False, 0)
    state, sent = watch(state, LIMITS, now + 10**9)
    assert (sent, state.latched) == (None, False)


def test_when_drives_go_off_and_the_guard_dies_expect_the_ramp_to_be_finished() -> None:
    state, now = fed(), T0 + 5_000_000
    state, sent = receive(state, command(2, enabled=False), LIMITS, now)
    last = sent
    while state.publishing:
        now += 2_000_000
        last = sent if sent is not None else last
        state, sent = watch(state, LIMITS, now)
    assert last is not None
    assert not last.any()


def test_when_drives_come_on_within_the_ramp_expect_it_to_end_first() -> None:
    state, now = fed(), T0 + 5_000_000
    state, _ = receive(state, command(2, enabled=False), LIMITS, now)
    sent, before = None, SPEED
    for sequence in range(3, 200):
        now += 5_000_000
        state, sent = receive(state, command(sequence, epoch=2), LIMITS, now)
        if not state.ramping:
            break
        assert sent is not None
        assert (np.abs(sent) <= np.abs(before)).all()
        before = sent
    assert not before.any()
    np.testing.assert_array_equal(sent, SPEED)


def test_when_the_drives_were_never_on_expect_silence() -> None:
    state, sent = receive(RelayState(), command(1, enabled=False), LIMITS, T0)
    assert (sent, state.publishing, state.ramping) == (None, False, False)


def test_when_a_command_is_broken_or_old_expect_it_neither_sent_nor_fed_to_the_watchdog() -> None:
    state = fed()
    broken = [
        replace(command(5), applied=np.array([np.nan, 0.0, 0.0])),
        replace(command(5), applied=np.zeros(2)),
        replace(command(5), applied=np.array([9.0, 0.0, 0.0])),
        command(1),
        command(9, epoch=0),
    ]
    for bad in broken:
        assert receive(state, bad, LIMITS, T0 + 5_000_000) == (state, None)
