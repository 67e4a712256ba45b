"""Stamps that are not uniform onto a uniform grid, stretch by stretch; nothing is made up across a gap.

State: linear between the two neighbouring samples. Commands: held until the next one (zero-order hold), and
averaged over each step of the grid; a held value read at the grid's instants alone would come up to a step late, half a
step in the mean, which a fit would take for delay of the arm. Both leave a uniform recording as it is.
A state is interpolated across a row that was left out; a command is not held across one: whatever it said was in force.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mbrl_control.episode_log.errors import LogError
from mbrl_control.replay.held import HeldSignal, interpolate
from mbrl_control.replay.importing.mapping import GridMap
from mbrl_control.replay.importing.series import UNCUT, BadRows, Series, left_out
from mbrl_control.signals import Array

GAP_PERIODS = 3.0
_LEAST_SAMPLES = 3
"""Of a stretch: two sides and a middle, for a derivative."""
_MOST_STEPS = 50_000_000
METHODS = {
    "state": "linear between neighbouring samples",
    "command": "held until the next command (zero-order hold), averaged over each step of the grid",
}


@dataclass(frozen=True, slots=True)
class Grid:
    """Of one stream, ns."""

    usual_ns: int
    """Median interval of the source."""
    period_ns: int
    bound_ns: int
    """A longer interval is a gap."""


@dataclass(frozen=True, slots=True)
class Gap:
    """An interval that splits the recording."""

    where: str
    after_row: int
    before_row: int
    start_ns: int
    length_ns: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Gapless samples on the grid."""

    stamp_ns: NDArray[np.int64]
    """[M], ``period_ns`` apart."""
    values: dict[str, Array]
    """[M, J]."""
    end_ns: int
    """Up to here the values say something."""


@dataclass(frozen=True, slots=True)
class Resampled:
    """One stream on its grid, and what was done to it."""

    grid: Grid
    stretches: tuple[Stretch, ...]
    gaps: tuple[Gap, ...]
    bridged: int
    """Intervals longer than one and a half usual periods that were interpolated or held across."""
    longest_bridged_ns: int
    bad: tuple[BadRows, ...]
    """Rows of stretches too short to be of use."""


def grid_of(series: Series, wanted: GridMap, source: str, kind: str) -> Grid:
    """Usual period, grid and bound; LogError for a stream too short to have one, or settings that contradict it."""
    interval = np.diff(series.stamp_ns)[np.diff(series.part) == 0]
    if len(series) < _LEAST_SAMPLES or len(interval) == 0:
        raise LogError(source, kind, f"has {len(series)} usable rows", "see the bad rows, or give a longer recording")
    usual = max(1, round(float(np.median(interval))))
    period = usual if wanted.period_ms is None else round(wanted.period_ms * 1e6)
    bound = round(GAP_PERIODS * usual) if wanted.max_gap_ms is None else round(wanted.max_gap_ms * 1e6)
    if bound < 1.5 * max(usual, period):
        problem = f"{bound * 1e-6:g} ms is hardly longer than a period ({max(usual, period) * 1e-6:g} ms)"
        raise LogError(source, f"{kind}.max_gap_ms", problem, "leave it out, or state a longer one in the map")
    return Grid(usual, period, bound)


def resample_state(series: Series, grid: Grid) -> Resampled:
    """Linear; a velocity that was not recorded is derived from the positions at the source's own stamps first."""

    def onto_grid(part: Series) -> Stretch:
        first, last = int(part.stamp_ns[0]), int(part.stamp_ns[-1])
        moment = _moments(first, last + 1, grid.period_ns)
        values = dict(part.values)
        if "velocity" not in values:
            seconds = (part.stamp_ns - first) * 1e-9
            values["velocity"] = np.asarray(np.gradient(values["position"], seconds, axis=0, edge_order=2))
        onto = {name: interpolate(part.stamp_ns, array, moment) for name, array in values.items()}
        return Stretch(moment, onto, int(moment[-1]))

    return _resample(series, grid, onto_grid, np.zeros(len(series), dtype=np.bool_))


def resample_command(series: Series, grid: Grid) -> Resampled:
    """Held; the last command before a gap for one usual period more, but not beyond a row that was left out."""

    def onto_grid(part: Series) -> Stretch:
        end = int(part.until_ns[-1])
        moment = _moments(int(part.stamp_ns[0]), end - grid.period_ns + 1, grid.period_ns)
        mean = HeldSignal(part.stamp_ns, part.values["command"]).mean(moment, moment + grid.period_ns)
        return Stretch(moment, {"command": mean}, int(moment[-1]) + grid.period_ns)

    cut = series.until_ns != UNCUT
    following = np.append(series.stamp_ns[1:], UNCUT)
    until = np.minimum(series.stamp_ns + grid.usual_ns, np.where(cut, np.minimum(series.until_ns, following), UNCUT))
    return _resample(replace(series, until_ns=np.maximum(series.stamp_ns, until)), grid, onto_grid, cut)


def _resample(series: Series, grid: Grid, onto_grid: Callable[[Series], Stretch], cut: NDArray[np.bool_]) -> Resampled:
    """``cut`` [N]: samples that the next one is not joined to, however near it is."""
    interval = np.diff(series.stamp_ns)
    split = (interval > grid.bound_ns) | (np.diff(series.part) != 0) | cut[:-1]
    gaps = tuple(
        Gap(series.where(i), int(series.row[i]), int(series.row[i + 1]), int(series.stamp_ns[i]), int(interval[i]))
        for i in np.flatnonzero(split).tolist()
    )
    bridged = interval[~split & (interval > 1.5 * grid.usual_ns)]
    edges = [0, *(np.flatnonzero(split) + 1).tolist(), len(series)]
    stretches: list[Stretch] = []
    short: list[BadRows] = []
    for begin, end in pairwise(edges):
        part = np.arange(begin, end, dtype=np.int64)
        duration = int(series.stamp_ns[end - 1] - series.stamp_ns[begin])
        if len(part) < _LEAST_SAMPLES or duration < grid.period_ns:
            short += left_out(series.select(part), np.ones(len(part), dtype=np.bool_), "too few rows between two gaps")
        else:
            stretches.append(onto_grid(series.select(part)))
    longest = int(bridged.max()) if len(bridged) else 0
    return Resampled(grid, tuple(stretches), gaps, len(bridged), longest, tuple(short))


def _moments(first_ns: int, behind_ns: int, period_ns: int) -> NDArray[np.int64]:
    if (behind_ns - first_ns) // period_ns > _MOST_STEPS:
        problem = f"{(behind_ns - first_ns) * 1e-9:.3g} s in steps of {period_ns * 1e-6:g} ms"
        raise LogError("map", "period_ms", problem, "check the time unit, or choose a longer period")
    return np.arange(first_ns, behind_ns, period_ns, dtype=np.int64)


def common_spans(state: Resampled, command: Resampled) -> tuple[tuple[int, int], ...]:
    """[start, end] ns in which there are both; the stretches of each stand in the order of their time."""
    found: list[tuple[int, int]] = []
    states, commands = list(state.stretches[::-1]), list(command.stretches[::-1])
    while states and commands:
        one, other = states[-1], commands[-1]
        start, end = max(int(one.stamp_ns[0]), int(other.stamp_ns[0])), min(one.end_ns, other.end_ns)
        if end > start:
            found.append((start, end))
        (states if one.end_ns < other.end_ns else commands).pop()
    return tuple(found)
