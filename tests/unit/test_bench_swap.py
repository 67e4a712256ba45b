"""`bench swap`: activations by turns, and what becomes a miss."""

from __future__ import annotations

import threading
from dataclasses import replace

from benchmarks.swap import Swapped, activate_by_turns, figures
from tests.unit.bench_windows import window

NONE = {"position": 0, "velocity": 0, "acceleration": 0, "jerk": 0}


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


def test_a_clean_run_has_no_miss_and_every_fault_is_one() -> None:
    clean = Swapped(window(), 100, 100, NONE)
    assert figures(100, [clean], [clean])["misses"] == []
    superseded = figures(100, [replace(clean, swaps=97)], [clean])
    assert superseded["not_swapped"] == 3
    assert superseded["misses"] == ["swaps 97 below 100"]
    too_slow = figures(100, [replace(clean, activations=90, swaps=90)], [clean])
    assert too_slow["misses"] == ["swaps 90 below 100"]
    beyond = figures(100, [replace(clean, limits={**NONE, "jerk": 2})], [clean])
    assert beyond["misses"] == ["limit_violations 2 above 0"]
    late = figures(100, [replace(clean, window=window(late=9))], [clean])
    assert late["excess_late"] > 0
    assert any("excess_late" in miss for miss in late["misses"])


def test_what_the_run_without_swaps_does_is_beside_it_and_no_miss() -> None:
    clean = Swapped(window(), 100, 100, NONE)
    found = figures(100, [clean], [replace(clean, activations=0, swaps=0, window=window(late=9))])
    assert found["late_raw_still"] == 9
    assert found["misses"] == []
