"""Which episodes `bench plan` plays: every setting a few, the front of each planner all that count.

The whole grid in every episode would take a day. The screening's episodes have seeds of their own and count for
nothing else: a setting that was lucky there gains nothing by it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.plan_contestants import Contestant
from benchmarks.plan_figures import Row, front, points_of

FINALISTS = 5
"""Of one planner, at most: the cheapest, the best, and what lies evenly between them along its front."""
_SCREENING = 1_000_000
"""From the first seed that counts to the first of the screening."""

Turn = tuple[Contestant, list[int]]
"""A setting and the seeds that it plays in one go."""


def screening_seeds(first: int, count: int) -> range:
    """Of ``count`` episodes, where those that count begin with seed ``first``."""
    return range(first + _SCREENING, first + _SCREENING + count)


def finalists(contestants: Sequence[Contestant], rows: Sequence[Row], task: str, screened: range) -> list[Contestant]:
    """Who plays on in ``task``; everybody without a screening."""
    if not screened:
        return list(contestants)
    points = points_of([row for row in rows if row.seed in screened], task)
    chosen: set[str] = set()
    for planner in dict.fromkeys(one.planner for one in contestants):
        line = front([point for point in points if point.planner == planner])
        places = np.linspace(0, len(line) - 1, min(FINALISTS, len(line))).round().astype(int)
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
