"""Rows that cannot be used, found before anything is interpolated: not finite, or stamps that do not grow."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.importing.series import UNCUT, UNKNOWN, BadRows, Series, left_out

_LAST_NS = (2**31 - 1) * 1_000_000_000
"""What a builtin_interfaces/Time can say."""


def clean(series: Series) -> tuple[Series, tuple[BadRows, ...]]:
    """The usable rows, stamps strictly growing, and the others with their reason; the row before each of these is cut
    (`Series.until_ns`), but for one that only says the same again."""
    bad: list[BadRows] = []
    outside = (series.stamp_ns < 0) | (series.stamp_ns > _LAST_NS)
    bad += left_out(series, outside, "stamp outside of 1970 to 2038")
    series = series.without(outside, np.where(outside, UNKNOWN, UNCUT))
    for name in series.values:
        broken = np.asarray(~np.isfinite(series.values[name]).all(axis=1))
        bad += left_out(series, broken, f"{name} is not finite")
        series = series.without(broken)
    kept = longest_growing(series.stamp_ns)
    repeated = np.isin(series.stamp_ns, series.stamp_ns[kept]) & ~kept
    bad += left_out(series, repeated, "stamp was there already")
    bad += left_out(series, ~kept & ~repeated, "stamp goes backward, or is ahead of those that follow")
    return series.without(~kept, _until(series, kept, repeated)), tuple(bad)


def _until(series: Series, kept: NDArray[np.bool_], repeated: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[N] what rows without a growing stamp say of others. Either their stamp is wrong or their place in the source:
    they end what is before them there, and what is before them in time."""
    place = np.flatnonzero(kept)
    other = ~kept
    twin = place[np.searchsorted(series.stamp_ns[place], series.stamp_ns[repeated])]
    same = [(values[repeated] == values[twin]).all(axis=1) for values in series.values.values()]
    other[repeated] = ~np.logical_and.reduce(same)
    until = np.where(other, UNKNOWN, UNCUT)
    stamps = series.stamp_ns[other]
    before = np.searchsorted(series.stamp_ns[place], stamps, side="right") - 1
    np.minimum.at(until, place[before[before >= 0]], stamps[before >= 0])
    return until


def longest_growing(stamp_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[N] a largest set of rows whose stamps strictly grow (patience sorting; Schensted, Canad. J. Math. 13, 1961).

    A single wild stamp costs its own row; to drop whatever is not later than the latest would cost all that follow it.
    """
    kept = np.ones(len(stamp_ns), dtype=np.bool_)
    if len(stamp_ns) < 2 or bool(np.all(np.diff(stamp_ns) > 0)):
        return kept
    tails: list[int] = []
    ends: list[int] = []
    before = np.empty(len(stamp_ns), dtype=np.int64)
    for index, stamp in enumerate(stamp_ns.tolist()):
        place = bisect_left(tails, stamp)
        if place < len(tails) and tails[place] == stamp:
            continue  # of equal stamps the first row counts
        before[index] = ends[place - 1] if place else -1
        tails[place : place + 1] = [stamp]
        ends[place : place + 1] = [index]
    kept[:] = False
    index = ends[-1]
    while index >= 0:
        kept[index] = True
        index = int(before[index])
    return kept
