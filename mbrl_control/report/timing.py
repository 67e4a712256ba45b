"""Rates, late and missed cycles, stalls, and their excess over what the machine itself does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from mbrl_control.report.run_data import Cycles, GoalEvent, Plans, Ticks

STALL_NS = 20_000_000
SWAP_WINDOW_NS = 1_000_000_000
MAX_BOUND_SHARE = 0.01
CONFIDENCE = 0.95

Bools = NDArray[np.bool_]
Stamps = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Excess:
    """Raw count against the reference's upper bound, scaled to equal cycles."""

    raw: int
    cycles: int
    reference_late: int
    reference_cycles: int
    bound: float
    excess: float
    valid: bool
    """False: the bound exceeds 1 % of the cycles, so the machine was too noisy to tell."""


def goal_windows(stamp_ns: Stamps, goals: tuple[GoalEvent, ...]) -> Bools:
    """[N] which stamps lie in the window of a target."""
    ordered = sorted(goals, key=lambda goal: goal.stamp_ns)
    starts = np.array([goal.stamp_ns for goal in ordered], dtype=np.int64)
    lengths = np.array([round(goal.window_s * 1e9) for goal in ordered], dtype=np.int64)
    if len(starts) == 0:
        return np.zeros(len(stamp_ns), dtype=np.bool_)
    before = np.searchsorted(starts, stamp_ns, side="right") - 1
    latest = np.maximum(before, 0)
    return np.asarray((before >= 0) & (stamp_ns - starts[latest] <= lengths[latest]))


def rate_hz(stamp_ns: Stamps, inside: Bools) -> float | None:
    """Mean rate of consecutive stamps that both lie inside; None with fewer than two."""
    both = inside[1:] & inside[:-1]
    duration = float(np.diff(stamp_ns)[both].sum()) * 1e-9
    return float(both.sum()) / duration if duration > 0.0 else None


def skipped(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N] deadline numbers missing before each one; a smaller number is a restart of the node and misses none."""
    steps = np.diff(index, prepend=index[:1])
    return np.where(steps > 1, steps - 1, 0)


def late_cycles(cycles: Cycles, inside: Bools) -> tuple[int, int]:
    """(late, all) planner cycles inside: skipped ones and those without a newly optimized plan in time."""
    gaps = int(skipped(cycles.index)[inside].sum())
    return gaps + int((~cycles.on_time[inside]).sum()), gaps + int(inside.sum())


def off_grid(cycles: Cycles, period_ns: int) -> int:
    """Deadlines that do not lie whole periods after the one before, as their numbers say (restarts aside)."""
    steps = np.diff(cycles.index)
    moved = np.diff(cycles.deadline_ns) != steps * period_ns
    return int(np.sum(moved & (steps > 0)))


def missed_ticks(ticks: Ticks, inside: Bools | None = None) -> tuple[int, int]:
    """(missed, all) guard ticks inside; None: of the whole log."""
    chosen = np.ones(len(ticks.index), dtype=np.bool_) if inside is None else inside
    gaps = int(skipped(ticks.index)[chosen].sum())
    return gaps, gaps + int(chosen.sum())


def stalls(tick_ns: Stamps, sensor_ns: Stamps) -> int:
    """Gaps over 20 ms of the guard's ticks during which the joint states had a gap over 20 ms too."""
    first, last = _gap_edges(tick_ns)
    sensor_first, sensor_last = _gap_edges(sensor_ns)
    return sum(bool(np.any((sensor_first < b) & (sensor_last > a))) for a, b in zip(first, last, strict=True))


def excess_over_reference(raw: int, cycles: int, reference_late: int, reference_cycles: int) -> Excess:
    """Excess over the exact one-sided 95 % Poisson bound of the reference (Garwood 1936: chi-square quantile)."""
    upper = float(chi2.ppf(CONFIDENCE, 2 * (reference_late + 1))) / 2.0
    bound = upper * cycles / reference_cycles
    return Excess(
        raw, cycles, reference_late, reference_cycles, bound, max(0.0, raw - bound), bound <= MAX_BOUND_SHARE * cycles
    )


def poisson_lower(count: int) -> float:
    """The exact one-sided 95 % lower bound of the mean of what was counted (Garwood 1936: chi-square quantile)."""
    return float(chi2.ppf(1.0 - CONFIDENCE, 2 * count)) / 2.0 if count else 0.0


def swap_times(plans: Plans) -> Stamps:
    """[W] stamps of the first plan of another model."""
    return swap_spans(plans)[1]


def swap_spans(plans: Plans) -> tuple[Stamps, Stamps]:
    """[W] stamps of the last plan of a model, and of the first one of the next."""
    changed = [i for i in range(1, len(plans.model_id)) if plans.model_id[i] != plans.model_id[i - 1]]
    return plans.stamp_ns[[i - 1 for i in changed]], plans.stamp_ns[changed]


def at_swaps(stamp_ns: Stamps, spans: tuple[Stamps, Stamps]) -> Bools:
    """[N] which stamps lie after the last plan of a model and no later than the first one of the next."""
    before, after = spans
    if len(before) == 0:
        return np.zeros(len(stamp_ns), dtype=np.bool_)
    latest = np.searchsorted(before, stamp_ns, side="left") - 1
    return np.asarray((latest >= 0) & (stamp_ns <= after[np.maximum(latest, 0)]))


def late_near(cycles: Cycles, moments: Stamps) -> int:
    """Planner cycles within 1 s of any of the moments that were skipped or had no newly optimized plan in time."""
    near = _near(cycles.stamp_ns, moments)
    return int(skipped(cycles.index)[near].sum()) + int((~cycles.on_time[near]).sum())


def missed_near(index: NDArray[np.int64], stamp_ns: Stamps, moments: Stamps) -> int:
    """Deadline numbers missing within 1 s of any of the moments."""
    return int(skipped(index)[_near(stamp_ns, moments)].sum())


def _near(stamp_ns: Stamps, moments: Stamps) -> Bools:
    """[N] which stamps lie within 1 s of any moment."""
    near = np.zeros(len(stamp_ns), dtype=np.bool_)
    for moment in moments:
        near |= np.abs(stamp_ns - moment) <= SWAP_WINDOW_NS
    return near


def _gap_edges(stamp_ns: Stamps) -> tuple[Stamps, Stamps]:
    gap = np.flatnonzero(np.diff(stamp_ns) > STALL_NS)
    return stamp_ns[gap], stamp_ns[gap + 1]
