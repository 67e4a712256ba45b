"""Command history, and the single compensation of delay."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.rollforward import StaleBelief, TimeGrid, roll_forward
from mbrl_control.planning.shifted import shifted_plan
from mbrl_control.signals import BeliefState, Plan, PlanOutcome

MS = 1_000_000
T0 = 1_790_000_000_000 * MS
GRID = TimeGrid(dt_ns=20 * MS, delay_ns=8 * MS, past=3, command_period_ns=5 * MS)


class PureDelay:
    """Position integrates the command, velocity is the command: exact for any mean command."""

    def step(self, state, action):
        return np.concatenate([state[:1] + 0.02 * action, action, state[3:], action])


@given(
    st.lists(st.tuples(st.integers(1, 9), st.floats(-2, 2)), min_size=1, max_size=60),
    st.integers(-20, 40),
    st.integers(1, 90),
)
def test_mean_is_the_exact_integral(rows, start_ms, length_ms) -> None:
    history = CommandHistory(1, capacity=64)
    stamp, held = T0, []
    for gap, value in rows:
        stamp += gap * MS
        history.append(stamp, np.array([value]))
        held.append((stamp, value))
    grid = [T0 + (start_ms + k) * MS for k in range(length_ms)]
    brute = np.mean([max([(s, v) for s, v in held if s <= t], default=(0, 0.0))[1] for t in grid])
    got = history.mean(T0 + start_ms * MS, T0 + (start_ms + length_ms) * MS)
    assert got[0] == pytest.approx(brute, abs=1e-9)


def test_ring_keeps_its_integral_and_refuses_what_it_forgot() -> None:
    history = CommandHistory(1, capacity=8)
    for k in range(100):
        assert history.append(T0 + 5 * k * MS, np.array([float(k)]))
    assert not history.append(T0, np.array([1.0]))
    assert history.mean(T0 + 480 * MS, T0 + 500 * MS)[0] == pytest.approx(97.5)
    with pytest.raises(ValueError, match="forgotten"):
        history.mean(T0, T0 + 20 * MS)
    with pytest.raises(ValueError, match="finite"):
        history.append(T0 + 900 * MS, np.array([np.nan]))


def test_exactly_one_compensation() -> None:
    """Truth: x(t) = integral of u(s - delay). Only the roll with the true delay, once, meets it."""
    history = _ramp_history()
    belief, deadline = _belief(T0 + 400 * MS), T0 + 411 * MS
    start = roll_forward(belief, history, (), deadline, GRID, PureDelay())
    assert start.start_ns >= deadline > start.start_ns - GRID.dt_ns
    met = start.start_ns + GRID.delay_ns
    assert (met - belief.stamp_ns) % GRID.dt_ns == 0
    assert start.state[0] == pytest.approx(_truth(met, history), abs=1e-12)
    for wrong_ms in (0, 16):
        wrong = TimeGrid(20 * MS, wrong_ms * MS, 3, 5 * MS)
        other = roll_forward(belief, history, (), deadline, wrong, PureDelay())
        assert abs(other.state[0] - _truth(other.start_ns + GRID.delay_ns, history)) > 1e-3
    means = history.means(belief.stamp_ns - 8 * MS - 60 * MS, 20 * MS, 3 + start.steps)
    np.testing.assert_allclose(start.state[2:], means[-3:, 0])


def test_commands_not_applied_yet_come_from_the_plan_in_force() -> None:
    history = _ramp_history(until_ms=395)
    plan = _plan(T0 + 380 * MS, np.array([[2.0], [2.0], [1.0], [0.0]]))
    start = roll_forward(_belief(T0 + 400 * MS), history, (plan,), T0 + 411 * MS, GRID, PureDelay())
    # 392..400 applied, then the plan: 2 until 400, falling to 1 at 420, 0 at 440.
    assert start.first_knot[0] == pytest.approx(np.interp(start.start_ns - T0, [400 * MS, 420 * MS], [2.0, 1.0]))
    applied = history.mean(T0 + 392 * MS, T0 + 400 * MS)[0]
    assert start.steps == 1
    planned = np.interp(6, [0, 20], [2.0, 1.0])
    assert start.state[4] == pytest.approx((applied * 8 + 12 * planned) / 20)
    without = roll_forward(_belief(T0 + 400 * MS), history, (), T0 + 411 * MS, GRID, PureDelay())
    assert without.first_knot[0] == pytest.approx(history.last_velocity[0])


def test_a_later_plan_takes_over_at_its_start() -> None:
    history = _ramp_history(until_ms=395)
    old = _plan(T0 + 380 * MS, np.full((6, 1), 2.0))
    new = _plan(T0 + 412 * MS, np.full((6, 1), -1.0))
    start = roll_forward(_belief(T0 + 400 * MS), history, (old, new), T0 + 425 * MS, GRID, PureDelay())
    assert start.steps == 2
    assert start.first_knot[0] == pytest.approx(-1.0)
    assert start.state[-1] == pytest.approx(-1.0)


@pytest.mark.parametrize("age_ms", [-100, 400])
def test_stale_or_future_belief_is_refused(age_ms: int) -> None:
    with pytest.raises(StaleBelief):
        roll_forward(_belief(T0 - age_ms * MS), CommandHistory(1), (), T0, GRID, PureDelay())


def test_shifted_plan_is_the_rest_of_the_old_one() -> None:
    plan = _plan(T0, np.arange(6.0)[:, None])
    rest = shifted_plan(plan, T0 + 30 * MS, T0 + 25 * MS, 9)
    assert rest is not None
    assert (rest.outcome, rest.sequence, rest.start_ns) == (PlanOutcome.SHIFTED, 9, T0 + 30 * MS)
    assert rest.optimized_stamp_ns == plan.optimized_stamp_ns
    np.testing.assert_allclose(rest.knots[:, 0], [1.5, 2.5, 3.5, 4.5])
    assert shifted_plan(plan, T0 + 90 * MS, T0, 9) is None
    assert shifted_plan(plan, T0 + 900 * MS, T0, 9) is None


def _ramp_history(until_ms: int = 600) -> CommandHistory:
    history = CommandHistory(1)
    for k in range(0, until_ms + 1, 5):
        history.append(T0 + k * MS, np.array([0.002 * k]))
    return history


def _truth(at_ns: int, history: CommandHistory) -> float:
    return float(history.mean(T0, at_ns - GRID.delay_ns)[0]) * (at_ns - GRID.delay_ns - T0) * 1e-9


def _belief(stamp_ns: int) -> BeliefState:
    position = np.array([_truth(stamp_ns, _ramp_history())]) if stamp_ns > T0 + 10 * MS else np.zeros(1)
    return BeliefState(stamp_ns, position, np.zeros(1), np.zeros((1, 2, 2)), np.zeros(1))


def _plan(start_ns: int, knots: np.ndarray) -> Plan:
    count = len(knots)
    column = np.zeros((count, 1))
    return Plan(
        start_ns, start_ns, start_ns, start_ns - MS, 1, 1, PlanOutcome.OPTIMIZED, "m", ("a",),
        np.arange(count) * 0.02, knots, column, column, column, np.zeros((count, 3)), np.zeros(count),
    )  # fmt: skip
