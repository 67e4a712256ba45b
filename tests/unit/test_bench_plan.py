"""`bench plan`'s figures on episodes written by hand: what counts as a front, as equal cost, as regret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks import plan
from benchmarks.plan import misses_of
from benchmarks.plan_contestants import ORACLE, PEERS, Contestant, at_edge, grid
from benchmarks.plan_figures import Point, cpu_ratio, front, of_optimizers, points_of, regret
from benchmarks.plan_rows import Row
from benchmarks.plan_schedule import FINALISTS, comparable, finalists, pending, screening_seeds, survivors, turns
from mbrl_control.planning.config import PlannerConfig


def point(planner: str, cost: float, cpu_ms: float, spread: float = 0.0, evaluations: int = 8) -> Point:
    costs = cost + spread * np.array([-1.0, 1.0, -1.0, 1.0])
    cpus = np.full(4, cpu_ms)
    return Point(planner, f"{cost} {cpu_ms}", costs, costs, cpus, 0.5 * cpus, evaluations)


def row(setting: str, seed: int, cost: float, cpu_ms: float = 1.0, **other: Any) -> Row:
    known = {"task": "reach", "planner": "icem", "end": 0.0, "optimizer_ms": 0.0, "failed": 0}
    known |= {"model": "m", "evaluations": 8}
    return Row(**known | {"machine": "here", "setting": setting, "seed": seed, "cost": cost, "cpu_ms": cpu_ms} | other)


def test_a_front_is_what_nobody_beats_in_both() -> None:
    points = [point("a", 3.0, 1.0), point("a", 2.0, 2.0), point("a", 2.5, 3.0), point("a", 1.0, 4.0)]
    assert [(p.cost[0], p.cpu_ms[0]) for p in front(points)] == [(3.0, 1.0), (2.0, 2.0), (1.0, 4.0)]


def test_the_ratio_is_the_least_along_the_peers_front() -> None:
    """4 / 1 where a cost of 2 will do, 12 / 6 where it takes 1."""
    ours = [point("icem", 2.0, 1.0), point("icem", 0.9, 6.0)]
    theirs = [point("mbrl_cem", 2.0, 4.0), point("mbrl_cem", 1.0, 12.0), point("mbrl_cem", 3.0, 100.0)]
    ratio = cpu_ratio([*ours, *theirs], "mbrl_cem", ["icem"])
    assert ratio is not None
    assert ratio["value"] == 2.0
    assert ratio["cost_ratio"] == pytest.approx(0.9)


def test_a_setting_that_was_lucky_where_it_was_chosen_is_judged_where_it_was_not() -> None:
    """Of ours, one is cheap and good in every second episode only: chosen there, it shows its cost in the others."""
    steady, lucky = point("icem", 1.0, 4.0), point("icem", 1.5, 1.0)
    lucky = replace(lucky, cost=np.array([0.9, 2.1, 0.9, 2.1]), end=np.ones(4))
    ratio = cpu_ratio([steady, lucky, point("mbrl_cem", 1.0, 8.0)], "mbrl_cem", ["icem"])
    assert ratio is not None
    assert ratio["value"] == pytest.approx((8.0 / 1.0 + 8.0 / 4.0) / 2)
    assert ratio["cost_ratio"] == pytest.approx((2.1 + 1.0) / 2)


def test_sequences_are_compared_beside_processor_time() -> None:
    ours, theirs = point("icem", 1.0, 1.0, evaluations=16), point("mbrl_cem", 1.0, 12.0, evaluations=64)
    ratio = cpu_ratio([ours, theirs], "mbrl_cem", ["icem"])
    assert ratio is not None
    assert (ratio["value"], ratio["evaluations_ratio"]) == (12.0, 4.0)


def test_what_only_the_peer_reaches_counts_as_zero_and_absence_is_none() -> None:
    points = [point("icem", 2.0, 1.0), point("mbrl_cem", 1.0, 12.0)]
    ratio = cpu_ratio(points, "mbrl_cem", ["icem"])
    assert ratio is not None
    assert (ratio["value"], ratio["cost_ratio"], ratio["end_ratio"]) == (0.0, None, None)
    assert cpu_ratio(points, "pytorch_mppi", ["icem"]) is None
    assert cpu_ratio(points, "mbrl_cem", ["cem"]) is None


def test_what_is_as_good_on_the_way_and_worse_at_the_goal_is_no_match() -> None:
    hasty, exact = point("icem", 1.0, 1.0), point("icem", 1.0, 4.0)
    hasty = replace(hasty, end=np.full(4, 1.2))
    ratio = cpu_ratio([hasty, exact, point("mbrl_cem", 1.0, 12.0)], "mbrl_cem", ["icem"])
    assert ratio is not None
    assert (ratio["value"], ratio["end_ratio"]) == (3.0, 1.0)


def test_a_setting_at_the_end_of_its_sweep_is_said() -> None:
    assert at_edge(Contestant("mbrl_cem", {"samples": 8, "iterations": 2, "noise": 0.1})) == ["samples"]
    mppi = {"samples": 16, "temperature": 0.03, "noise": "way", "control_cost": "own", "scale": "cost"}
    assert at_edge(Contestant("pytorch_mppi", mppi)) == []
    assert at_edge(Contestant("pytorch_mppi", mppi | {"control_cost": "none", "scale": "spread"})) == ["temperature"]
    assert at_edge(Contestant("pytorch_mppi", mppi | {"noise": 0.3})) == ["noise"]


def test_costs_that_were_not_equal_regret_at_the_end_and_unfinished_sweeps_are_misses() -> None:
    equal = {"value": 4.0, "cost_ratio": 1.0, "end_ratio": 1.3}
    found = {
        "cpu_ratio": {"mbrl_cem": {"reach": equal, "swing_up": None}},
        "at_edge": {"pytorch_mppi": {"reach": ["samples", "noise"], "swing_up": []}},
        "regret_vs_oracle": {"reach": {"value": 1.0, "end": {"value": 2.0}}, "swing_up": None},
    }
    assert misses_of(found) == [
        "end_ratio mbrl_cem reach 1.3 above 1.05",
        "cpu_ratio mbrl_cem swing_up not measured",
        "at_edge pytorch_mppi reach noise",
        "regret_vs_oracle end reach 2.0 above 1.1",
        "regret_vs_oracle swing_up not measured",
    ]


def test_optimizers_are_compared_without_what_surrounds_them() -> None:
    whole = point("icem", 1.0, 4.0)
    (alone,) = of_optimizers([whole])
    assert alone.cpu_ms.tolist() == [2.0] * 4
    ratio = cpu_ratio([alone, point("mbrl_cem", 1.0, 12.0)], "mbrl_cem", ["icem"])
    assert ratio is not None
    assert ratio["value"] == 6.0


def test_an_interval_covers_what_depends_on_the_episodes_drawn() -> None:
    found = regret([point("deployed", 2.0, 1.0, 0.5), point(ORACLE, 1.0, 1.0)])
    assert found is not None
    low, high = found["interval"]
    assert low < found["value"] == 2.0 < high
    assert regret([point("deployed", 2.0, 1.0)]) is None


def test_episodes_are_paired_by_their_seeds_in_whatever_order_they_ran() -> None:
    rows = [row("s", seed, 10.0 + seed) for seed in (3, 1, 2)]
    (found,) = points_of([*rows, row("s", 9, 1.0, task="swing_up")], "reach")
    assert found.cost.tolist() == [11.0, 12.0, 13.0]


def test_the_help_says_how_many_settings_there_are() -> None:
    assert f"{len(grid())} settings play at most {2 * len(grid())} episodes" in str(plan.__doc__)
    assert len({str(one) for one in grid()}) == len(grid()), "two settings of one name would be one"


SETTINGS = [Contestant("icem", {"samples": samples}) for samples in range(1, 11)]


def screened(cost_of: Callable[[int], float]) -> list[Row]:
    """Of `SETTINGS`, whose processor time is the number of samples."""
    return [
        row(str(one), seed, cost_of(one.settings["samples"]), one.settings["samples"])
        for one in SETTINGS
        for seed in screening_seeds(0, 2)
    ]


def test_finalists_are_along_the_front_of_the_screening_from_cheapest_to_best() -> None:
    rows = screened(lambda samples: 100.0 if samples == 2 else 1.0 / samples)
    chosen = [one.settings["samples"] for one in finalists(SETTINGS, rows, "reach", screening_seeds(0, 2))]
    assert (len(chosen), chosen[0], chosen[-1]) == (FINALISTS, 1, 10)
    assert 2 not in chosen


def test_of_a_peer_the_whole_front_plays_on() -> None:
    peer = [Contestant("mbrl_cem", {"samples": samples}) for samples in range(1, 11)]
    rows = [
        row(str(one), seed, 10.0 - 0.1 * one.settings["samples"], one.settings["samples"], planner="mbrl_cem")
        for one in peer
        for seed in SCREENED
    ]
    assert finalists(peer, rows, "reach", SCREENED) == peer


def test_what_counts_has_no_say_in_who_plays_on() -> None:
    rows = screened(lambda samples: float(samples))
    counting = [row(str(SETTINGS[9]), seed, 0.0, 0.1) for seed in range(20)]
    assert finalists(SETTINGS, [*rows, *counting], "reach", screening_seeds(0, 2)) == SETTINGS[:1]
    assert finalists(SETTINGS, [], "reach", screening_seeds(0, 0)) == SETTINGS


def test_turns_are_what_is_left_with_the_second_half_the_other_way_round() -> None:
    two, done = SETTINGS[:2], [row(str(SETTINGS[0]), 1, 0.0)]
    other = [replace(done[0], task="swing_up", seed=2)]
    assert turns(two, range(3), done + other, "reach") == [
        (two[0], [0]),
        (two[1], [0, 1]),
        (two[1], [2]),
        (two[0], [2]),
    ]


SCREENED, COUNTING = screening_seeds(0, 2), range(4)
FIRST = SCREENED[:1]


def test_a_setting_that_one_as_cheap_of_its_planner_clearly_beat_in_the_first_episode_is_out() -> None:
    """By cost: as good, a little worse, clearly worse; clearly worse but better at the end, and cheaper."""
    five = [Contestant("icem", {"samples": samples}) for samples in range(5)]
    costs, ends, cpus = (10.0, 12.0, 13.0, 13.0, 13.0), (1.0, 1.0, 1.0, 0.5, 1.0), (1.0, 1.0, 1.0, 1.0, 0.9)
    rows = [
        row(str(one), FIRST[0], cost, cpu, end=end) for one, cost, end, cpu in zip(five, costs, ends, cpus, strict=True)
    ]
    stay = [one.settings["samples"] for one in survivors(five, rows, "reach", FIRST)]
    assert stay == [0, 1, 3, 4]
    peer = [Contestant("mbrl_cem", {"samples": 1})]
    worse = [row(str(peer[0]), FIRST[0], 99.0, 9.0, planner="mbrl_cem")]
    assert survivors(peer, rows + worse, "reach", FIRST) == peer, "another planner's settings beat nobody"


def test_a_task_goes_from_one_episode_of_all_over_the_screening_to_the_finalists_and_ends() -> None:
    rows: list[Row] = []
    passes = []
    while own := pending(SETTINGS, SCREENED, COUNTING, rows, "reach"):
        passes.append({(str(one), seed) for one, seeds in own for seed in seeds})
        rows += [
            row(str(one), seed, abs(one.settings["samples"] - 5) + 1.0, one.settings["samples"])
            for one, seeds in own
            for seed in seeds
        ]
    assert [len(own) for own in passes] == [10, 5, 4 * 5]
    assert {setting for setting, _ in passes[1]} == {str(one) for one in SETTINGS[:5]}


def test_a_finalist_that_is_hardly_better_than_a_cheaper_one_is_none_but_the_front_has_it() -> None:
    rows = screened(lambda samples: 10.0 - 0.1 * samples)
    chosen = [one.settings["samples"] for one in finalists(SETTINGS, rows, "reach", SCREENED)]
    assert chosen == [1, 3, 5, 7, 9]
    assert len(front(points_of(rows, "reach"))) == len(SETTINGS)


def played(machine: str, seeds: range, task: str = "reach") -> list[Row]:
    return [row(str(SETTINGS[0]), seed, 1.0, machine=machine, task=task) for seed in seeds]


@pytest.mark.parametrize(
    ("there", "here", "kept"),
    [
        (COUNTING, range(0), {("there", 4)}),
        (COUNTING, COUNTING[:2], {("there", 4)}),
        (COUNTING[:3], range(0), set()),
        (COUNTING[:3], COUNTING[:2], {("here", 2)}),
        (COUNTING[:3], COUNTING, {("here", 4)}),
    ],
)
def test_episodes_that_count_are_one_machines(there: range, here: range, kept: set[tuple[str, int]]) -> None:
    """A task that was finished elsewhere stays; one that was not is played here, after the same screening."""
    screening = played("there", SCREENED)
    rows = [*screening, *played("there", there), *played("here", here)]
    found = comparable(SETTINGS[:1], SCREENED, COUNTING, rows, "here")
    assert found[:2] == screening
    machines = [one.machine for one in found[2:]]
    assert {(name, machines.count(name)) for name in set(machines)} == kept


def test_each_task_keeps_its_own_machine() -> None:
    rows = [*played("there", SCREENED), *played("there", COUNTING), *played("here", SCREENED, "swing_up")]
    assert comparable(SETTINGS[:1], SCREENED, COUNTING, rows, "here") == rows


@pytest.mark.parametrize("contestant", [one for one in grid() if one.planner not in PEERS], ids=str)
def test_every_setting_of_ours_is_one_that_a_planner_takes(contestant) -> None:
    config = PlannerConfig(**contestant.settings)
    assert contestant.derivatives == config.derivatives
