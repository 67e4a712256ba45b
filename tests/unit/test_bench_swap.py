"""`bench swap`: activations by turns, what is counted at a swap and in motion, and what becomes a miss."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from benchmarks.guard_limits import (
    NEAR_NS,
    Limited,
    by_stage,
    compared,
    intervention_misses,
    interventions,
    read_limited,
)
from benchmarks.second_model import require_other
from benchmarks.swap import BUDGET_NS, EACH_S, Swapped, activate_by_turns, counted, figures, main
from mbrl_control.cli.demo import target_distance
from mbrl_control.cli.locations import arm_file, shipped_models
from mbrl_control.cli.processes import GraphFailed
from mbrl_control.cli.session import Session
from mbrl_control.cli.shipped import copy_shipped
from mbrl_control.deployment.bundle import load_weights
from mbrl_control.deployment.check import read_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.trial import try_bundle
from mbrl_control.kinematics import sample_targets
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import Planner
from mbrl_control.report.run_data import Cycles, GoalEvent, Plans
from mbrl_control.report.timing import excess_over_reference, poisson_lower
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import Array, Stage
from sim.lockstep import Lockstep, reach
from sim.lockstep_model import planning_model
from tests.unit.bench_windows import window
from tests.unit.synthetic_log import T0_NS, arm_streams, write_streams
from tests.unit.synthetic_log import Arm as Simulated

NONE = {"position": 0, "velocity": 0, "acceleration": 0, "jerk": 0}
CLEAN = Swapped(window(), 100, 100, 100, (0, 100), 0, 0, NONE, Counter(), (40, 4000), (80, 8000))
STILL = replace(
    CLEAN,
    activations=0,
    swaps=0,
    in_motion=0,
    late_at_swaps=(0, 0),
    interventions_at_swaps=(0, 0),
    interventions_elsewhere=(120, 12000),
)
UNLIMITED = Limited(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
MS = 1_000_000


class Activations:
    """A registry of three versions, of which the first was deleted while active."""

    def __init__(self) -> None:
        self.current = 1

    def versions(self) -> tuple[int, ...]:
        return (2, 5)

    def active(self) -> int:
        return self.current

    def activate(self, version: int) -> None:
        self.current = version


def test_versions_are_activated_by_turns_as_often_as_asked() -> None:
    done: list[int] = []
    activate_by_turns(Activations(), 5, 0.0, threading.Event(), done)
    assert done == [2, 5, 2, 5, 2]


def test_the_end_of_the_motion_ends_the_activations() -> None:
    ended = threading.Event()
    ended.set()
    done: list[int] = []
    activate_by_turns(Activations(), 5, 3600.0, ended, done)
    assert done == []


def run(late: tuple[int, ...], skipped: tuple[int, ...] = (), resting: tuple[int, ...] = ()) -> Any:
    """Two seconds: targets from 0.5 s on, two swaps in them, at the plans of cycles 40 and 60, and one before.

    ``late``, ``skipped``: numbers of cycles; ``resting``: of those in which no joint moves.
    """
    number = np.array([each for each in range(100) if each not in skipped])
    tick = T0_NS + number * 20 * MS
    slack = np.where(np.isin(number, late), -1e-3, 1e-3)
    cycles = Cycles(tick + 12 * MS, number, tick + BUDGET_NS, slack)
    names = tuple("panda/2" if 10 <= each < 40 or each >= 60 else "panda/1" for each in number)
    nothing = np.zeros(len(number))
    plans = Plans(tick + 8 * MS, names, tick, nothing, np.zeros((len(number), 2)), nothing)
    belief = np.arange(500)
    speed = np.where(np.isin(belief // 5, resting)[:, None], 0.01, [0.0, -0.3])
    last = T0_NS + 2000 * MS - round(EACH_S * 1e9)
    goals = (GoalEvent(T0_NS + 500 * MS, "rate", 0, np.zeros(3)), GoalEvent(last, "rate", 1, np.zeros(3)))
    ticks = SimpleNamespace(stamp_ns=T0_NS + np.arange(0, 2000, 5) * MS, index=np.arange(400))
    return SimpleNamespace(
        cycles=cycles, plans=plans, goals=goals, ticks=ticks, belief_ns=T0_NS + belief * 4 * MS, belief_velocity=speed
    )


def test_what_is_late_at_a_swap_is_told_from_what_is_late_elsewhere() -> None:
    found = counted(window(), run(late=(5, 30, 40, 50, 60)), 3, NONE, UNLIMITED)
    assert (found.swaps, found.in_motion, found.activations) == (2, 2, 3)
    assert found.late_at_swaps == (2, 2)
    assert found.window.planner == (4, 75)  # the cycle 5 was before the first target
    assert found.window.guard == (0, 300)


def test_a_cycle_that_a_swap_has_cost_counts_at_the_swap() -> None:
    """Skipped, or without any plan, before the new model's first."""
    found = counted(window(), run(late=(), skipped=(40, 60, 61)), 2, NONE, UNLIMITED)
    assert found.late_at_swaps == (3, 5)
    elsewhere = counted(window(), run(late=(), skipped=(39, 41, 70)), 2, NONE, UNLIMITED)
    assert elsewhere.window.planner == (3, 75)
    assert elsewhere.late_at_swaps == (1, 3)  # 39: behind the old model's last plan, which is that of 38


def test_swaps_of_an_arm_at_rest_are_no_swaps_in_motion() -> None:
    found = counted(window(), run(late=(), resting=(59, 60)), 2, NONE, UNLIMITED)
    assert (found.swaps, found.in_motion) == (2, 1)


def test_commands_that_the_guard_changed_are_counted_by_stage_within_the_span(tmp_path: Path) -> None:
    stages = {3: Stage.JERK, 4: Stage.JERK, 7: Stage.VELOCITY, 20: Stage.JERK}
    streams = arm_streams(Simulated(), 1.0, np.random.default_rng(0))
    write_streams(
        tmp_path / "log_0.mcap", streams, ticks=lambda tick: {"limiting_stage": int(stages.get(tick, Stage.NONE))}
    )
    limited = read_limited(tmp_path / "log_0.mcap")
    inside = (limited.stamp_ns >= T0_NS + 20 * MS) & (limited.stamp_ns <= T0_NS + 95 * MS)
    assert by_stage(limited, inside) == {"JERK": 1, "VELOCITY": 1}


def test_a_clean_run_has_no_miss_and_every_fault_is_one() -> None:
    assert figures(100, [CLEAN], [STILL])["misses"] == []
    superseded = figures(100, [replace(CLEAN, swaps=97, in_motion=97)], [STILL])
    assert superseded["not_swapped"] == 3
    assert superseded["misses"] == ["swaps 97 below 100"]
    beyond = figures(100, [replace(CLEAN, limits={**NONE, "jerk": 2})], [STILL])
    assert beyond["misses"] == ["limit_violations 2 above 0"]
    rested = figures(100, [replace(CLEAN, in_motion=94)], [STILL])
    assert rested["misses"] == ["swaps_in_motion 94 below 95"]


@pytest.mark.parametrize("late", [1, 3, 9])
def test_a_single_late_plan_in_a_minute_is_excess(late: int) -> None:
    found = figures(100, [replace(CLEAN, window=window(late=late))], [STILL])
    assert found["excess_late"] > 0
    assert any("excess_late " in miss for miss in found["misses"])


def test_a_single_late_plan_at_a_swap_is_excess() -> None:
    found = figures(100, [replace(CLEAN, late_at_swaps=(1, 100))], [STILL])
    assert (found["late_at_swaps"], found["cycles_at_swaps"]) == (1, 100)
    assert found["excess_late_at_swaps"] > 0.9
    assert found["misses"] == [f"excess_late_at_swaps {found['excess_late_at_swaps']:.2f} above 0"]


def test_what_the_run_without_swaps_does_is_beside_it_and_no_miss() -> None:
    found = figures(100, [CLEAN], [replace(STILL, window=window(late=9), limited=Counter({"JERK": 4}))])
    assert (found["late_raw_still"], found["guard_limited"], found["guard_limited_still"]) == (9, {}, {"JERK": 4})
    assert found["misses"] == []


STAGES = st.lists(st.sampled_from(list(Stage)), max_size=40)


@given(STAGES)
def test_an_intervention_is_a_run_of_commands_that_one_limit_changed(stages: list[Stage]) -> None:
    """Refusals, stops and plans too old are none: they keep no limit of the arm."""
    none = (Stage.NONE, Stage.FINITE, Stage.SHAPE, Stage.AGE, Stage.STATE_MACHINE)
    wanted = [len(list(run)) for stage, run in groupby(stages) if stage not in none]
    found = interventions(Limited(np.arange(len(stages)), np.array(stages, dtype=np.int64)))
    assert found.sum() == len(wanted)
    assert all(stages[index] not in none for index in np.flatnonzero(found))


def test_interventions_that_begin_behind_a_swap_are_told_from_others() -> None:
    """Swaps at 0.808 and 1.208 s; one run begins before the first target, one between both swaps, one behind each."""
    stamp = T0_NS + np.arange(0, 2000, 5) * MS
    stage = np.zeros(len(stamp), dtype=np.int64)
    for begin, end in ((100, 120), (700, 720), (815, 830), (1405, 1450)):
        stage[begin // 5 : end // 5] = Stage.JERK
    found = counted(window(), run(late=()), 2, NONE, Limited(stamp, stage))
    assert NEAR_NS == 200 * MS
    assert found.interventions_at_swaps == (2, 2 * 40)
    assert found.interventions_elsewhere == (1, 300 - 2 * 40)
    assert found.limited == {"JERK": 4 + 3 + 9}


def test_swaps_that_make_the_guard_keep_limits_are_a_miss() -> None:
    """The applied commands keep every limit, as they must; what the guard did for it tells."""
    found = figures(100, [replace(CLEAN, interventions_at_swaps=(100, 4000))], [STILL])
    assert sum(found["limit_violations"].values()) == 0
    assert found["interventions_bound"] == pytest.approx(excess_over_reference(100, 4000, 120, 12000).bound, abs=0.01)
    assert found["misses"] == ["interventions_at_swaps 100: 84.1 or more in the mean, above 46.5"]
    assert found["interventions_per_s"] == {"at_swaps": 5.0, "elsewhere": 2.0, "still": 2.0}


def test_even_a_guard_that_had_nothing_to_do_may_be_asked_a_few_times_by_chance() -> None:
    still = replace(STILL, interventions_elsewhere=(0, 12000))
    few, more = (figures(100, [replace(CLEAN, interventions_at_swaps=(n, 4000))], [still]) for n in (3, 4))
    assert few["misses"] == []
    assert len(more["misses"]) == 1


@pytest.mark.parametrize(("extra", "least", "most"), [(0.0, 0.0, 0.02), (0.4, 0.95, 1.0)])
def test_equal_rates_are_hardly_ever_a_miss_and_two_interventions_in_five_swaps_almost_always(
    extra: float, least: float, most: float
) -> None:
    """By simulation: two interventions a second, 100 swaps in a minute, ``extra`` more at each."""
    generator = np.random.default_rng(0)
    behind, still = generator.poisson(40 + 100 * extra, 1000), generator.poisson(120, 1000)
    missed = [
        bool(intervention_misses(compared([(int(n), 4000)], [(80, 8000)], [(int(reference), 12000)])))
        for n, reference in zip(behind, still, strict=True)
    ]
    assert least <= np.mean(missed) <= most


def test_the_lower_bound_is_that_of_the_exact_poisson_tail() -> None:
    assert poisson_lower(0) == 0.0
    for count in (1, 4, 40):
        assert poisson.sf(count - 1, poisson_lower(count)) == pytest.approx(0.05)


class Begun(Exception):
    """The graph would start now."""


def test_when_the_graph_is_started_two_models_are_ready_that_differ_and_plan_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bench itself, with its fit and its gate, up to the first process."""

    def start(session: Session, specs: object) -> None:
        raise Begun

    monkeypatch.setattr(Session, "graph", start)
    out = tmp_path / "swap"
    monkeypatch.setattr("sys.argv", ["swap", "--robot", "planar", "--seconds", "4", "--swaps", "5", "--out", str(out)])
    with pytest.raises(Begun):
        main()
    arm = load_arm(arm_file("planar"))
    registry = Registry(out / "0-5swaps" / "registry", arm.model_name)
    first, second = (read_bundle(registry.path(version), arm) for version in registry.versions())
    assert registry.active() == first.manifest.version
    require_other(first, second)
    assert second.manifest.parents == ()
    assert second.manifest.training is not None
    verdict = second.manifest.training.gate
    assert verdict is not None
    assert verdict.upper < verdict.limit
    try_bundle(second)
    medians = [float(np.median(reach_mm(registry.path(version), arm))) for version in registry.versions()]
    assert medians[1] < 1.5 * medians[0] + 1.0


def reach_mm(bundle: Path, arm: Arm) -> Array:
    """[4] mm, in virtual time."""
    lockstep = Lockstep(arm_file("planar"), 1)
    planner = Planner(arm, PlannerConfig(), lockstep.clock, np.random.default_rng(0))
    planner.use(planning_model(load_weights(bundle, arm), arm, arm.command_delay_s, bundle.name))
    return reach(lockstep, planner, sample_targets(arm, 4, target_distance(arm), np.random.default_rng(0))[1])


def test_the_same_weights_or_another_size_are_no_second_model(tmp_path: Path) -> None:
    arm = load_arm(arm_file("planar"))
    registry = Registry(tmp_path / "models", arm.model_name)
    shipped = read_bundle(registry.path(copy_shipped(shipped_models(), arm, registry).version), arm)
    with pytest.raises(GraphFailed, match="weights: are those of the shipped one"):
        require_other(shipped, shipped)
    wider = replace(shipped, manifest=shipped.manifest.model_copy(update={"width": 256}))
    with pytest.raises(GraphFailed, match="size: 5 x 256 x 2, 15 steps, the shipped one has 5 x 128 x 2"):
        require_other(shipped, wider)
