"""Which episodes `bench plan` plays: every setting one or a few, the front of each planner all that count.

The whole grid in every episode would take a day. The screening's episodes have seeds of their own and count for
nothing else: a setting that was lucky there gains nothing by it. After the first of them a setting plays on only where
no other one of its planner was clearly better for no more processor time (racing: Maron and Moore, "Hoeffding races",
NIPS 1993, with a margin instead of a bound: all meet the same start, goal and noise).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.plan_contestants import PEERS, Contestant
from benchmarks.plan_figures import Point, front, points_of
from benchmarks.plan_rows import Row

FINALISTS = 5
"""Of one planner, at most: the cheapest, the best, and what lies evenly between them along its front."""
LEAST_GAIN = 0.02
"""By which a finalist has to be better than a cheaper one: two episodes tell no smaller difference. Of a peer the whole
front plays on: the least ratio along it is what counts, and fewer points could only raise that."""
CLEARLY, SAME_CPU = 1.25, 1.05
"""Ratio of costs in one episode beyond which a setting is out, and of processor times that count as equal."""
_SCREENING = 1_000_000
"""From the first seed that counts to the first of the screening."""

Turn = tuple[Contestant, list[int]]
"""A setting and the seeds that it plays in one go."""


def screening_seeds(first: int, count: int) -> range:
    """Of ``count`` episodes, where those that count begin with seed ``first``."""
    return range(first + _SCREENING, first + _SCREENING + count)


def pending(
    contestants: Sequence[Contestant], screened: range, counting: range, rows: Sequence[Row], task: str
) -> list[Turn]:
    """What comes next in a task: one episode of the screening, the others, the episodes that count; then nothing."""
    first, others = screened[:1], screened[1:]
    return (
        turns(contestants, first, rows, task)
        or turns(survivors(contestants, rows, task, first), others, rows, task)
        or turns(finalists(contestants, rows, task, screened), counting, rows, task)
    )


def survivors(contestants: Sequence[Contestant], rows: Sequence[Row], task: str, first: range) -> list[Contestant]:
    """Those that no other of their planner clearly beat in the ``first`` episode."""
    points = _points(rows, task, first)
    out = {one.setting for one in points if any(_beaten(one, other) for other in points)}
    return [one for one in contestants if str(one) not in out]


def _beaten(one: Point, other: Point) -> bool:
    """For no more processor time, clearly over the episode and not only there."""
    return bool(
        other.planner == one.planner
        and other.cpu_ms.mean() <= SAME_CPU * one.cpu_ms.mean()
        and CLEARLY * other.cost.mean() < one.cost.mean()
        and other.end.mean() <= one.end.mean()
    )


def finalists(contestants: Sequence[Contestant], rows: Sequence[Row], task: str, screened: range) -> list[Contestant]:
    """Who plays on in ``task``, of those that played the whole screening; everybody without one."""
    if not screened:
        return list(contestants)
    points = [point for point in _points(rows, task, screened) if len(point.cost) == len(screened)]
    chosen: set[str] = set()
    for planner in dict.fromkeys(one.planner for one in contestants):
        peer = planner in PEERS
        line = front([point for point in points if point.planner == planner], 0.0 if peer else LEAST_GAIN)
        most = len(line) if peer else min(FINALISTS, len(line))
        places = np.linspace(0, len(line) - 1, most).round().astype(int)
        chosen |= {line[place].setting for place in places}
    return [one for one in contestants if str(one) in chosen]


def turns(contestants: Sequence[Contestant], seeds: range, rows: Sequence[Row], task: str) -> list[Turn]:
    """Every setting twice, half of the episodes each, in opposite orders: a slow hour of the machine meets all.
    Without what ``rows`` holds already."""
    done = {(row.setting, row.seed) for row in rows if row.task == task}
    half = (len(seeds) + 1) // 2
    whole = [(one, seeds[:half]) for one in contestants] + [(one, seeds[half:]) for one in contestants[::-1]]
    left = [(one, [seed for seed in own if (str(one), seed) not in done]) for one, own in whole]
    return [(one, own) for one, own in left if own]


def comparable(
    contestants: Sequence[Contestant], screened: range, counting: range, rows: Sequence[Row], here: str
) -> list[Row]:
    """Of ``rows``, those that a run on machine ``here`` goes on with.

    Processor times of two machines do not compare: episodes that count are one machine's, per task. A finished task
    keeps those it was finished with; of an unfinished one only the screening, which decides who plays on and nothing
    else, and the episodes of ``here`` stay.
    """
    kept: list[Row] = []
    for task in dict.fromkeys(row.task for row in rows):
        own = [row for row in rows if row.task == task]
        others = {row.machine: None for row in own if row.seed in counting and row.machine != here}
        for machine in [*others, here]:
            chosen = [row for row in own if row.seed not in counting or row.machine == machine]
            if machine == here or not pending(contestants, screened, counting, chosen, task):
                break
        kept += chosen
    return kept


def _points(rows: Sequence[Row], task: str, seeds: range) -> list[Point]:
    return points_of([row for row in rows if row.seed in seeds], task)
