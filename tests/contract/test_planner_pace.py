"""How long refinements take is measured while nobody follows the plans; then they run where they fit, not elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mbrl_control.cadence import Cadence, VirtualClock
from mbrl_control.planning.optimize import Longest
from mbrl_control.planning.pace import TRIALS, Pace
from mbrl_control.planning.problem import Best, Problem
from mbrl_control.planning.watch import RECENT, CycleWatch
from mbrl_control.robot import load_arm
from tests.contract.planner_bench import MS, ROBOTS, T0, Bench, pose

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


def test_a_disturbed_refinement_is_tried_again_and_one_that_never_fits_is_not() -> None:
    """Else an arm that is followed for hours would get a plan that is late on purpose every half minute."""
    pace = Pace(refines=True)
    pace.begin_model()
    for took in (4, 20, 20):
        pace.deadline_ns(0, following=False)
        pace.take(Longest(2, took * MS))
    pace.deadline_ns(0, following=True)
    pace.take(Longest(2, 50 * MS))
    for _ in range(10_000):
        pace.deadline_ns(0, following=True)
        pace.take(Longest(2))
    assert pace.longest.refining == 4 * MS
    pace.begin_model()
    for _ in range(1000):
        pace.deadline_ns(0, following=True)
        pace.take(Longest(2))
    assert pace.longest.refining < 2 * MS, "what comes while plans are followed is tried as soon as it may fit"


def test_a_model_that_comes_while_plans_are_followed_is_tried_when_nobody_does() -> None:
    pace = Pace(refines=True)
    pace.begin_model()
    assert pace.deadline_ns(0, following=True) == 0
    assert pace.deadline_ns(0, following=False) > 0


def test_a_cycle_that_came_to_no_planning_is_no_trial() -> None:
    bench = refining_bench(takes_ms=2)
    assert bench.cycle(pose(bench.arm), 0).trial
    assert not bench.planner.go_on(2, bench.clock.now_ns(), KeyError("nobody foresaw")).trial


def test_without_derivatives_there_is_nothing_to_try() -> None:
    pace = Pace(refines=False)
    pace.begin_model()
    assert pace.deadline_ns(0, following=False) == 0


def started(bench: Bench, watch: CycleWatch, cycles: int, cadence: Cadence) -> list[bool]:
    """Ticks of a planner's node, as it hands its cycles to the watch; which of them were trials."""
    tried = []
    for _ in range(cycles):
        tick = cadence.wait()
        cycle = bench.cycle(pose(bench.arm), (tick.deadline_ns + tick.lateness_ns - T0) // MS)
        watch.take(cycle, bench.clock.now_ns(), tick.skipped)
        tried.append(cycle.trial)
    return tried


@pytest.mark.parametrize("takes_ms", [2, 30, 100])
def test_trials_at_a_start_are_no_trouble_however_long_refinement_takes(takes_ms: int) -> None:
    """They run past their deadlines on purpose, and past some that follow: /diagnostics was ERROR for ten seconds."""
    bench, watch = refining_bench(takes_ms), CycleWatch()
    watch.use("m/1")
    cadence = Cadence(PERIOD_MS * MS, bench.clock)
    for _ in range(TRIALS):
        bench.following = False
        assert started(bench, watch, 1, cadence) == [True]
    assert started(bench, watch, 30, cadence) == [False] * 30
    facts = watch.facts()
    assert (facts["late"], facts["trials"], facts["cycles"]) == ("0", str(TRIALS), str(TRIALS + 30))
    assert watch.trouble(bench.clock.now_ns()) == ""


def test_trials_of_a_model_that_comes_later_are_not_judged_and_what_is_late_without_one_is() -> None:
    bench, watch = refining_bench(takes_ms=100), CycleWatch()
    watch.use("m/1")
    cadence = Cadence(PERIOD_MS * MS, bench.clock)
    bench.planner._pace = Pace(refines=False)
    bench.following = True
    started(bench, watch, RECENT, cadence)
    bench.planner._pace = Pace(refines=True)
    bench.planner._pace.begin_model()
    for _ in range(TRIALS):
        bench.following = False
        started(bench, watch, 1, cadence)
    bench.planner._pace = Pace(refines=False)
    started(bench, watch, 1, cadence)
    assert (watch.facts()["late"], watch.facts()["trials"]) == ("0", str(TRIALS))
    bench.evaluator.call_ms = 45
    started(bench, watch, 4, cadence)  # each goes past the next deadline, too
    assert int(watch.facts()["late"]) == 7
    assert "had no new plan by their deadline" in watch.trouble(bench.clock.now_ns())


def test_a_trial_in_which_planning_fails_is_a_failure_like_any_other() -> None:
    bench, watch = refining_bench(takes_ms=30), CycleWatch()
    bench.evaluator.broken = True
    started(bench, watch, 5, Cadence(PERIOD_MS * MS, bench.clock))
    assert watch.facts()["late"] == "5"
    assert "found no new plan: all" in watch.trouble(bench.clock.now_ns())
