"""However late the planner is woken and however long its evaluations take: what it does then, and how late it ends.

All on a virtual clock, so every figure is exact.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.watch import CycleWatch
from mbrl_control.robot import load_arm
from mbrl_control.signals import PlanOutcome
from tests.contract.planner_bench import MS, ROBOTS, T0, Bench, pose

ARM = load_arm(ROBOTS / "planar.yaml")
PERIOD_MS, BUDGET_MS = 20, 10


class Timed(Bench):
    """A planner whose evaluations take the given times, one after the other."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__(ARM, config)
        self.took_ms: list[int] = []
        self.next_ms = [1]
        inner = self.evaluator.evaluate

        def evaluate(*arguments):
            self.evaluator.call_ms = self.next_ms[len(self.took_ms) % len(self.next_ms)]
            self.took_ms.append(self.evaluator.call_ms)
            return inner(*arguments)

        self.evaluator.evaluate = evaluate  # type: ignore[method-assign]


@settings(max_examples=60, deadline=None)
@given(
    woken_ms=st.integers(0, 19),
    next_ms=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    iterations=st.integers(1, 6),
)
def test_a_cycle_ends_by_its_deadline_or_one_evaluation_later(
    woken_ms: int, next_ms: list[int], iterations: int
) -> None:
    """And one that is woken after it does nothing but send what is left of the last plan."""
    bench = Timed(PlannerConfig(iterations=iterations))
    good = bench.cycle(pose(ARM), 0).plan
    assert good is not None
    bench.took_ms, bench.next_ms = [], next_ms
    bench.clock.sleep_until_ns(T0 + (PERIOD_MS + woken_ms) * MS)
    cycle = bench.cycle(pose(ARM), PERIOD_MS)
    late_ms = (bench.clock.now_ns() - T0) // MS - PERIOD_MS - BUDGET_MS
    assert cycle.report.slack_s == pytest.approx(-1e-3 * late_ms)
    assert cycle.report.iterations == len(bench.took_ms)
    assert cycle.plan is not None
    if woken_ms >= BUDGET_MS:
        assert cycle.report.outcome is cycle.plan.outcome is PlanOutcome.SHIFTED
        assert cycle.reason == "the budget ended before the first iteration"
        assert bench.took_ms == []
        assert late_ms == woken_ms - BUDGET_MS
        assert cycle.plan.optimized_stamp_ns == good.optimized_stamp_ns
    else:
        assert cycle.report.outcome.optimized
        assert late_ms <= max(0, bench.took_ms[-1])
        assert late_ms <= 0 or len(bench.took_ms) == 1 or bench.took_ms[-1] > 1.5 * max(bench.took_ms[:-1])


@pytest.mark.parametrize("call_ms", [11, 15, 19])
def test_where_no_evaluation_fits_every_plan_is_new_and_as_late_as_the_first_was(call_ms: int) -> None:
    """A plan some milliseconds late is worth more than the rest of an old one; `slack` says so in every report, and
    the watch that it is so in every cycle."""
    bench = Timed(PlannerConfig())
    bench.next_ms = [call_ms]
    watch = CycleWatch()
    for number in range(20):
        cycle = bench.cycle(pose(ARM), number * PERIOD_MS)
        watch.take(cycle, bench.clock.now_ns(), 0)
        report = cycle.report
        assert report.outcome is PlanOutcome.BUDGET_ENDED
        assert report.iterations == 1
        assert report.slack_s == pytest.approx(1e-3 * (BUDGET_MS - call_ms))
    assert watch.facts()["late"] == "20"
    assert "lower `samples`" in watch.trouble(bench.clock.now_ns())


def test_without_a_plan_to_go_on_with_a_budget_of_nothing_is_a_failure_with_its_reason() -> None:
    bench = Timed(PlannerConfig())
    bench.clock.sleep_until_ns(T0 + BUDGET_MS * MS)
    cycle = bench.cycle(pose(ARM), 0)
    assert cycle.plan is None
    assert cycle.report.outcome is PlanOutcome.FAILED
    assert cycle.reason == "the budget ended before the first iteration"
    assert np.isnan(cycle.report.best_cost)
