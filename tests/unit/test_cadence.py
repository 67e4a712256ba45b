"""Deadlines on a virtual clock: exact times, overruns counted and skipped, never a burst."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.cadence import (
    ANCHOR_VARIABLE,
    FACTOR_VARIABLE,
    Cadence,
    SteadyClock,
    Tick,
    VirtualClock,
    WallTimes,
    plan_budget_ns,
    run_at,
    wall_times,
)

PERIOD = 5_000_000


def test_on_time_steps_wake_at_start_plus_n_periods() -> None:
    clock = VirtualClock(start_ns=17)
    cadence = Cadence(PERIOD, clock)
    ticks = [cadence.wait() for _ in range(4)]
    assert ticks == [Tick(n, 17 + n * PERIOD, 0, 0) for n in (1, 2, 3, 4)]
    assert cadence.missed == 0


def test_work_shorter_than_a_period_never_drifts() -> None:
    clock = VirtualClock()
    cadence = Cadence(PERIOD, clock)
    for n in range(1, 50):
        assert cadence.wait().deadline_ns == n * PERIOD
        clock.advance_ns(PERIOD - 1)


def test_a_deadline_late_by_less_than_a_period_is_served_late() -> None:
    clock = VirtualClock()
    cadence = Cadence(PERIOD, clock)
    cadence.wait()
    clock.advance_ns(PERIOD + PERIOD // 4)
    assert cadence.wait() == Tick(2, 2 * PERIOD, PERIOD // 4, 0)
    assert cadence.missed == 0


def test_a_long_stall_is_skipped_and_counted_without_a_burst() -> None:
    clock = VirtualClock()
    cadence = Cadence(PERIOD, clock)
    cadence.wait()
    clock.advance_ns(7 * PERIOD + 1)
    tick = cadence.wait()
    assert (tick.index, tick.skipped, tick.lateness_ns) == (8, 6, 1)
    assert cadence.missed == 6
    assert cadence.wait() == Tick(9, 9 * PERIOD, 0, 0)


@given(st.lists(st.integers(0, 4 * PERIOD), min_size=1, max_size=60), st.integers(-(10**18), 10**18))
def test_every_deadline_is_served_once_or_counted_as_missed(work: list[int], start_ns: int) -> None:
    clock = VirtualClock(start_ns)
    cadence = Cadence(PERIOD, clock)
    last = 0
    for spent in work:
        tick = cadence.wait()
        assert tick.index == last + 1 + tick.skipped
        assert tick.deadline_ns == start_ns + tick.index * PERIOD
        assert 0 <= tick.lateness_ns < PERIOD
        assert clock.now_ns() == tick.deadline_ns + tick.lateness_ns
        last = tick.index
        clock.advance_ns(spent)
    assert last == len(work) + cadence.missed


def test_run_at_steps_while_alive_and_returns_the_missed() -> None:
    clock = VirtualClock()
    seen: list[int] = []

    def step(tick: Tick) -> None:
        seen.append(tick.index)
        if tick.index == 2:
            clock.advance_ns(3 * PERIOD + 1)

    assert run_at(PERIOD, clock, step, lambda: len(seen) < 4) == 2
    assert seen == [1, 2, 5, 6]


@pytest.mark.parametrize("period", [0, -1])
def test_a_period_must_be_positive(period: int) -> None:
    with pytest.raises(ValueError, match="period must be positive"):
        Cadence(period, VirtualClock())


def test_a_virtual_clock_cannot_go_back() -> None:
    clock = VirtualClock(100)
    clock.sleep_until_ns(50)
    assert clock.now_ns() == 100
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance_ns(-1)


def test_processes_of_one_graph_share_the_anchor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ANCHOR_VARIABLE, "123456789")
    assert SteadyClock().anchor_ns == SteadyClock().anchor_ns == 123456789
    first, second = SteadyClock().now_ns(), SteadyClock().now_ns()
    assert second >= first


@pytest.mark.parametrize("stalled", range(9))
def test_the_wall_clock_is_an_hour_behind_whenever_the_reader_is_preempted(stalled: int) -> None:
    """Each reading takes 1 us; one of them, whichever, is followed by 20 ms in which the reader does not run."""
    real, hour = VirtualClock(10**15), 3600 * 10**9
    readings = itertools.count()

    def read() -> int:
        now = real.now_ns()
        real.advance_ns(20_000_000 if next(readings) == stalled else 1_000)
        return now

    clock = VirtualClock()
    clock.now_ns = read  # type: ignore[method-assign]
    times = wall_times(clock, lambda: read() - hour)
    assert abs(times.graph_time(10**15) - 10**15 - hour) <= 2_000


def test_a_slowed_graph_counts_and_sleeps_by_its_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real clock is one that a test advances: after 10 s of it a graph at a quarter has lived 2.5 s."""
    real = VirtualClock(10**17 + 1)
    monkeypatch.setattr(time, "monotonic_ns", real.now_ns)
    monkeypatch.setattr(time, "sleep", lambda seconds: real.advance_ns(round(seconds * 1e9)))
    monkeypatch.setattr(time, "time_ns", lambda: real.now_ns() + 7)
    monkeypatch.setenv(FACTOR_VARIABLE, "0.25")
    clock = SteadyClock()
    begin = clock.now_ns()
    assert begin == time.time_ns()
    clock.sleep_until_ns(begin + 2_500_000_000)
    assert real.now_ns() == 10**17 + 1 + 10_000_000_000
    assert clock.now_ns() == begin + 2_500_000_000
    published = time.time_ns()
    real.advance_ns(8_000_000)
    times = wall_times(clock, time.time_ns, clock.factor)
    assert times.graph_time(published) == begin + 2_500_000_000
    assert times.graph_time(time.time_ns()) == clock.now_ns()


@pytest.mark.parametrize("factor", ["0", "-1", "1.5", "nan"])
def test_a_factor_that_would_stop_turn_or_hurry_time_is_refused(factor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FACTOR_VARIABLE, factor)
    with pytest.raises(ValueError, match=f"{FACTOR_VARIABLE}: .*use one in"):
        SteadyClock()


@given(st.integers(0, 20_000_000), st.integers(-(10**14), 10**14))
def test_a_step_of_the_wall_clock_moves_no_message_out_of_the_time_it_came_in(age_ns: int, step_ns: int) -> None:
    """It came 0 to 20 ms ago, the last look was 20 ms ago, and the wall clock was set in between."""
    now, noted = 5 * 10**18, 7 * 10**18 - age_ns
    times = WallTimes(wall_ns=7 * 10**18 + step_ns, graph_ns=now, factor=1.0)
    assert now - 20_000_000 <= times.between(noted, now - 20_000_000) <= now
    assert times.between(noted, None) <= now
    unmoved = WallTimes(7 * 10**18, now, 1.0)
    assert unmoved.between(noted, now - 20_000_000) == now - age_ns == unmoved.graph_time(noted)


def test_a_plan_is_due_half_a_period_after_its_tick_and_leaves_time_to_prepare_the_next() -> None:
    assert plan_budget_ns(20_000_000) == 10_000_000
    assert plan_budget_ns(10_000_000) == 7_000_000
    assert plan_budget_ns(2_000_000) == 1_400_000
