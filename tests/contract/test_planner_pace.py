"""How long refinements take is measured while nobody follows the plans; then they run where they fit, not elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mbrl_control.cadence import VirtualClock
from mbrl_control.planning.optimize import Longest
from mbrl_control.planning.pace import TRIALS, Pace
from mbrl_control.planning.problem import Best, Problem
from mbrl_control.robot import load_arm
from tests.contract.planner_bench import MS, ROBOTS, Bench, pose

PERIOD_MS = 20


class Refining:
    """Proposes the best again, and takes its time; five times as long at first."""

    def __init__(self, clock: VirtualClock, takes_ms: int) -> None:
        self.clock, self.takes_ms, self.calls = clock, takes_ms, 0

    def about(self, problem: Problem, best: Best) -> Refining:
        self.knots = best.knots
        return self

    def candidates(self, count: int, again: bool) -> np.ndarray:
        self.clock.advance_ns((5 if self.calls == 0 else 1) * self.takes_ms * MS)
        self.calls += 1
        return np.repeat(self.knots[None], count, axis=0)


def refining_bench(takes_ms: int) -> Bench:
    """Default settings, whose samples take 2 ms an iteration, and such a refiner."""
    bench = Bench(load_arm(ROBOTS / "planar.yaml"))
    bench.evaluator.call_ms = 2
    bench.planner._settings = replace(bench.planner._settings, refiner=Refining(bench.clock, takes_ms))
    bench.planner._pace = Pace(refines=True)
    bench.planner._pace.begin_model()
    return bench


@pytest.mark.parametrize(("takes_ms", "refines"), [(2, True), (30, False)])
def test_followed_plans_are_refined_where_there_is_time_and_are_never_late(takes_ms: int, refines: bool) -> None:
    bench = refining_bench(takes_ms)
    for number in range(TRIALS + 30):
        followed = bench.following = number >= TRIALS
        report = bench.cycle(pose(bench.arm), 10 * PERIOD_MS * number).report
        assert (report.refined > 0) == (refines or not followed)
        assert report.slack_s >= 0.0 or not followed


def test_the_least_of_the_trials_counts_and_what_follows_only_raises_it() -> None:
    pace = Pace(refines=True)
    pace.begin_model()
    for took in (50, 4, 9):
        assert pace.deadline_ns(0, following=False) > 0
        pace.take(Longest(2, took))
    assert pace.longest.refining == 4
    assert pace.deadline_ns(0, following=False) == 0
    pace.take(Longest(2, 6))
    assert pace.longest.refining == 6


def test_a_model_that_comes_while_plans_are_followed_is_tried_when_nobody_does() -> None:
    pace = Pace(refines=True)
    pace.begin_model()
    assert pace.deadline_ns(0, following=True) == 0
    assert pace.deadline_ns(0, following=False) > 0


def test_without_derivatives_there_is_nothing_to_try() -> None:
    pace = Pace(refines=False)
    pace.begin_model()
    assert pace.deadline_ns(0, following=False) == 0
