"""Absolute deadlines on an injectable clock: overruns are counted and skipped, never burst."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

ANCHOR_VARIABLE = "MBRL_CLOCK_ANCHOR_NS"
"""What to add to the scaled monotonic time, set once for all processes of a graph by `mbrl-control up`."""
FACTOR_VARIABLE = "MBRL_REAL_TIME_FACTOR"
"""Graph seconds per real second, set beside the anchor; 1 unless the arm is simulated."""

_LEAST_BUDGET_NS = 7_000_000


def plan_budget_ns(period_ns: int) -> int:
    """From the tick of a planner's cycle until its plan is due: half a period, and at 100 Hz 7 of its 10 ms.

    One iteration of the Panda's takes 3 to 5 ms there, and what prepares the next cycle less than one.
    """
    return max(period_ns // 2, min(_LEAST_BUDGET_NS, 7 * period_ns // 10))


class Clock(Protocol):
    """Time in integer nanoseconds."""

    def now_ns(self) -> int: ...

    def sleep_until_ns(self, deadline_ns: int) -> None: ...


class SteadyClock:
    """CLOCK_MONOTONIC shifted by the graph's anchor: reads as wall time when the graph starts, never steps.

    A wall clock that is set while the graph runs changes nothing here, because the anchor is read
    once per graph and handed to every process. With a ``factor`` below 1 the whole graph, its deadlines and its
    simulated arm alike, runs slower than real time by that factor; a real arm does not, so there it is always 1.
    """

    def __init__(self, anchor_ns: int | None = None, factor: float | None = None) -> None:
        self.factor = float(os.environ.get(FACTOR_VARIABLE) or 1.0) if factor is None else factor
        if not 0.0 < self.factor <= 1.0:
            raise ValueError(f"{FACTOR_VARIABLE}: {self.factor} graph seconds per real second; use one in (0, 1]")
        # In parts per billion: a product with a float would lose nanoseconds of a monotonic clock after some days.
        self._ppb = round(self.factor * 1_000_000_000)
        if anchor_ns is None:
            anchor = os.environ.get(ANCHOR_VARIABLE)
            anchor_ns = int(anchor) if anchor else time.time_ns() - self._scaled(time.monotonic_ns())
        self.anchor_ns = anchor_ns

    def now_ns(self) -> int:
        return self._scaled(time.monotonic_ns()) + self.anchor_ns

    def sleep_until_ns(self, deadline_ns: int) -> None:
        remaining = deadline_ns - self.now_ns()
        if remaining > 0:
            time.sleep(remaining * 1e-9 / self.factor)

    def _scaled(self, real_ns: int) -> int:
        return real_ns * self._ppb // 1_000_000_000


@dataclass(frozen=True, slots=True)
class WallTimes:
    """Maps recent times of the wall clock, which may step, to those of a graph's clock."""

    wall_ns: int
    graph_ns: int
    """Of the same instant."""
    factor: float

    def graph_time(self, wall_ns: int) -> int:
        return self.graph_ns + round((wall_ns - self.wall_ns) * self.factor)

    def between(self, wall_ns: int, earliest_ns: int | None) -> int:
        """`graph_time` of what happened after ``earliest_ns`` (if known) and before now, whatever the wall clock was
        set to in between."""
        found = min(self.graph_time(wall_ns), self.graph_ns)
        return found if earliest_ns is None else max(found, earliest_ns)


def wall_times(clock: Clock, wall_ns: Callable[[], int], factor: float = 1.0) -> WallTimes:
    """How the two clocks stand to each other now; ``factor`` is that of ``clock``.

    The wall clock is read between two readings of the other; of a few tries the tightest counts, as the reader may be
    preempted in between.
    """
    tries = []
    for _ in range(5):
        before, wall, after = clock.now_ns(), wall_ns(), clock.now_ns()
        tries.append((after - before, (before + after) // 2, wall))
    _, graph, wall = min(tries)
    return WallTimes(wall, graph, factor)


class VirtualClock:
    """A clock that tests and the lockstep advance by hand."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        return self._now_ns

    def sleep_until_ns(self, deadline_ns: int) -> None:
        self._now_ns = max(self._now_ns, deadline_ns)

    def advance_ns(self, step_ns: int) -> None:
        if step_ns < 0:
            raise ValueError("a clock cannot go back")
        self._now_ns += step_ns


@dataclass(frozen=True, slots=True)
class Tick:
    """One wake-up: which deadline it serves and how late it came."""

    index: int
    """Deadline number since the start; a gap in it is a missed tick."""
    deadline_ns: int
    lateness_ns: int
    skipped: int
    """Deadlines given up since the previous tick."""


class Cadence:
    """Wakes at start + n * period. A deadline that has wholly passed is skipped and counted."""

    def __init__(self, period_ns: int, clock: Clock) -> None:
        if period_ns <= 0:
            raise ValueError(f"period must be positive, got {period_ns} ns")
        self.period_ns = period_ns
        self.missed = 0
        self._clock = clock
        self._start_ns = clock.now_ns()
        self._index = 0

    def wait(self) -> Tick:
        """Sleep to the next deadline that is not wholly past and return it."""
        now = self._clock.now_ns()
        wanted = self._index + 1
        overdue = (now - self._start_ns) // self.period_ns
        index = max(wanted, overdue)
        skipped = index - wanted
        self.missed += skipped
        self._index = index
        deadline = self._start_ns + index * self.period_ns
        self._clock.sleep_until_ns(deadline)
        return Tick(index, deadline, self._clock.now_ns() - deadline, skipped)


def run_at(period_ns: int, clock: Clock, step: Callable[[Tick], None], alive: Callable[[], bool]) -> int:
    """Call ``step`` every period while ``alive()``; return the number of missed deadlines."""
    cadence = Cadence(period_ns, clock)
    while alive():
        step(cadence.wait())
    return cadence.missed
