"""`bench swap`: activations by turns, what is counted at a swap and in motion, and what becomes a miss."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.deployed import copy_bundle
from benchmarks.swap import BUDGET_NS, EACH_S, Swapped, activate_by_turns, counted, figures, guard_limited
from mbrl_control.cli.locations import arm_file, shipped_models
from mbrl_control.cli.shipped import copy_shipped
from mbrl_control.deployment.check import WEIGHTS, read_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.report.run_data import Cycles, GoalEvent, Plans
from mbrl_control.robot import load_arm
from mbrl_control.signals import Stage
from tests.unit.bench_windows import window
from tests.unit.synthetic_log import T0_NS, arm_streams, write_streams
from tests.unit.synthetic_log import Arm as Simulated

NONE = {"position": 0, "velocity": 0, "acceleration": 0, "jerk": 0}
CLEAN = Swapped(window(), 100, 100, 100, (0, 100), 0, 0, NONE, Counter())
STILL = replace(CLEAN, activations=0, swaps=0, in_motion=0, late_at_swaps=(0, 0))
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


def test_both_bundles_have_the_same_networks_and_each_its_signature(tmp_path: Path) -> None:
    arm = load_arm(arm_file("planar"))
    registry = Registry(tmp_path / "models", arm.model_name)
    shipped = copy_shipped(shipped_models(), arm, registry)
    copied = read_bundle(registry.path(copy_bundle(registry, arm, shipped.version)), arm)
    original = read_bundle(registry.path(shipped.version), arm)
    assert registry.versions() == (shipped.version, copied.manifest.version)
    assert copied.content[WEIGHTS] == original.content[WEIGHTS]
    assert (copied.manifest.parents, copied.manifest.training) == ((shipped.model_id,), shipped.training)


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
    found = counted(window(), run(late=(5, 30, 40, 50, 60)), 3, NONE, Counter())
    assert (found.swaps, found.in_motion, found.activations) == (2, 2, 3)
    assert found.late_at_swaps == (2, 2)
    assert found.window.planner == (4, 75)  # the cycle 5 was before the first target
    assert found.window.guard == (0, 300)


def test_a_cycle_that_a_swap_has_cost_counts_at_the_swap() -> None:
    """Skipped, or without any plan, before the new model's first."""
    found = counted(window(), run(late=(), skipped=(40, 60, 61)), 2, NONE, Counter())
    assert found.late_at_swaps == (3, 5)
    elsewhere = counted(window(), run(late=(), skipped=(39, 41, 70)), 2, NONE, Counter())
    assert elsewhere.window.planner == (3, 75)
    assert elsewhere.late_at_swaps == (1, 3)  # 39: behind the old model's last plan, which is that of 38


def test_swaps_of_an_arm_at_rest_are_no_swaps_in_motion() -> None:
    found = counted(window(), run(late=(), resting=(59, 60)), 2, NONE, Counter())
    assert (found.swaps, found.in_motion) == (2, 1)


def test_commands_that_the_guard_changed_are_counted_by_stage_within_the_span(tmp_path: Path) -> None:
    stages = {3: Stage.JERK, 4: Stage.JERK, 7: Stage.VELOCITY, 20: Stage.JERK}
    streams = arm_streams(Simulated(), 1.0, np.random.default_rng(0))
    write_streams(
        tmp_path / "log_0.mcap", streams, ticks=lambda tick: {"limiting_stage": int(stages.get(tick, Stage.NONE))}
    )
    found = guard_limited(tmp_path / "log_0.mcap", (T0_NS + 20 * MS, T0_NS + 95 * MS))
    assert found == {"JERK": 1, "VELOCITY": 1}


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
