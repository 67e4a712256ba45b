"""`bench rate`: what it counts, on a log written by hand, and what its figures refuse to call held."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.rate import summary
from benchmarks.rate_window import Window, sample_ages
from mbrl_control.episode_log.schema import PLAN, SAFE_COMMAND


def plan(at_ms: int, sequence: int, belief_ms: int, epoch: int = 1) -> tuple[Any, int, Any]:
    stamp = SimpleNamespace(sec=0, nanosec=belief_ms * 1_000_000)
    return PLAN, at_ms * 1_000_000, SimpleNamespace(epoch=epoch, sequence=sequence, belief_stamp=stamp)


def command(at_ms: int, sequence: int) -> tuple[Any, int, Any]:
    return SAFE_COMMAND, at_ms * 1_000_000, SimpleNamespace(plan_sequence=sequence)


def test_latency_ends_at_the_first_command_of_a_plan_also_when_the_planner_began_anew() -> None:
    messages = [
        *(command(0, 0), plan(5, 1, 2), command(10, 1), command(15, 1)),
        *(plan(25, 2, 22), plan(45, 3, 41), command(50, 3), command(55, 3)),
        *(plan(65, 1, 63, epoch=2), command(70, 1), command(75, 9)),
    ]
    when, age_ms, first = sample_ages(messages)
    assert when[first].tolist() == [10_000_000, 50_000_000, 70_000_000]
    np.testing.assert_allclose(age_ms[first], [8.0, 9.0, 7.0])
    assert when[~first].tolist() == [15_000_000, 55_000_000]
    np.testing.assert_allclose(age_ms[~first], [13.0, 14.0])


def window(late: int, reference_late: int, stops: int = 0) -> Window:
    jitter = {"p50": 0.1, "p99": 0.2, "max": 0.3}
    quiet = {"cycles": 6000, "late": 0, "jitter_ms": jitter}
    return Window(
        scheduling={"guard": "SCHED_FIFO 50"},
        rates=(50.0, 200.0),
        planner=(late, 1500),
        guard=(0, 6000),
        references={"planner": {"cycles": 1500, "late": reference_late, "jitter_ms": jitter}, "guard": quiet},
        jitter_ms={"planner": np.array([0.1, 0.5]), "guard": np.array([0.2])},
        latency_ms=np.array([12.0, 14.0]),
        age_ms=np.array([12.0, 17.0]),
        cycle_ms=np.array([4.0, 6.0]),
        iterations=Counter({3: 1400, 1: 100}),
        refined=Counter({0: 1500}),
        outcomes=Counter({"OPTIMIZED": 1400, "BUDGET_ENDED": 100}),
        stops=stops,
        stolen=0.01,
    )


def test_late_cycles_count_above_what_the_machine_did_itself() -> None:
    assert summary(50, [window(0, 0), window(2, 0)])["misses"] == []
    noisy = summary(50, [window(9, 0), window(9, 0)])
    assert noisy["iterations"] == {"3": 2800, "1": 200}
    assert noisy["late_raw"] == 18
    assert noisy["excess_late"] > 14.0
    assert noisy["misses"] == [f"excess_late {noisy['excess_late']:.2f} above 0"]
    assert summary(50, [window(9, 9), window(9, 9)])["misses"] == []


def test_a_machine_that_is_late_itself_and_a_guard_that_stopped_are_said() -> None:
    assert summary(50, [window(40, 40)])["invalid_reasons"] == [
        "planner: reference bound 52 above 1 % of the cycles (machine too noisy)"
    ]
    assert summary(100, [window(0, 0, stops=1)])["misses"] == ["guard_stops 1 above 0"]


def test_a_window_that_failed_leaves_the_others_and_no_valid_figure() -> None:
    figures = summary(50, [window(0, 0), window(0, 0)], ["window 3 of 3: the graph ended"])
    assert (figures["windows"], figures["valid"]) == (2, False)
    assert figures["invalid_reasons"] == ["window 3 of 3: the graph ended"]


def test_a_rate_at_which_no_graph_ran_holds_nothing() -> None:
    figures = summary(100, [], ["window 1 of 1: the graph ended"])
    assert (figures["windows"], figures["valid"], figures["rate_hz"]) == (0, False, 100)
    assert figures["invalid_reasons"] == ["window 1 of 1: the graph ended"]
