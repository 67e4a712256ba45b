"""What `bench plan` says of its episodes: fronts, ratios at equal cost, regret, with intervals over the episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from benchmarks.plan_contestants import ORACLE, PEERS
from benchmarks.plan_rows import Row
from mbrl_control.signals import Array

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the grid in one task; episodes in the order of their seeds."""

    planner: str
    setting: str
    cost: Array
    """[N]"""
    end: Array
    """[N]"""
    cpu_ms: Array
    """[N]"""
    optimizer_ms: Array
    """[N]"""
    evaluations: int
    """Sequences scored per plan."""


_MEASURED = ("cost", "end", "cpu_ms", "optimizer_ms")


def points_of(rows: Sequence[Row], task: str) -> list[Point]:
    """Of one task."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in sorted((row for row in rows if row.task == task), key=lambda row: row.seed):
        grouped.setdefault((row.planner, row.setting), []).append(row)
    return [
        Point(*key, *(np.array([getattr(row, name) for row in own]) for name in _MEASURED), own[0].evaluations)
        for key, own in grouped.items()
    ]


def front(points: Sequence[Point], least_gain: float = 0.0) -> list[Point]:
    """Those that no other beats in both means, by rising processor time; each costs more than ``least_gain``, a share,
    less than the one before."""
    best, kept = np.inf, []
    for point in sorted(points, key=lambda point: (point.cpu_ms.mean(), point.cost.mean())):
        if point.cost.mean() < (1.0 - least_gain) * best:
            best = point.cost.mean()
            kept.append(point)
    return kept


def cpu_ratio(points: Sequence[Point], peer: str, planners: Sequence[str]) -> dict[str, Any] | None:
    """The least, over the peer's front, of its processor time over the least of ``planners`` that costs no more, in the
    mean and at the end, and the ratios of both there.

    Settings are chosen on every second episode and compared on the others, then the other way round: the best of
    many noisy settings is not as good as it looks where it was chosen. A point of the peer's that no planner of
    ours matches counts as zero, without ratios of costs. ``evaluations_ratio``: theirs over ours in sequences scored,
    which no library and no processor has a part in. ``at_best``: the same at the peer's point of least cost alone;
    at the cheap end of its front stand settings that nobody would take. None where somebody did not take part, or
    with fewer than two episodes.
    """
    theirs = [point for point in points if point.planner == peer]
    ours = [point for point in points if point.planner in planners]
    if not theirs or not ours or len(theirs[0].cost) < 2:
        return None
    halves = np.arange(0, len(theirs[0].cost), 2), np.arange(1, len(theirs[0].cost), 2)

    def both_ways(one: Array, other: Array) -> list[list[_Compared | None]]:
        return [_along(theirs, ours, *order) for order in ((one, other), (other, one))]

    generator = np.random.default_rng(0)
    drawn = [both_ways(*(generator.choice(half, len(half)) for half in halves)) for _ in range(RESAMPLES)]
    found = both_ways(*halves)
    least = [_least(each) for each in found]
    compared = [each for each in least if each]
    means = {
        f"{name}_ratio": round(float(np.mean([getattr(each, name) for each in compared])), 3) if compared else None
        for name in ("cost", "end", "evaluations")
    }
    whole = _rounded(_mean_cpu(least), [_mean_cpu([_least(each) for each in ways]) for ways in drawn])
    at_best = _rounded(_mean_cpu([each[-1] for each in found]), [_mean_cpu([w[-1] for w in ways]) for ways in drawn])
    return whole | means | {"at_best": at_best}


@dataclass(frozen=True, slots=True, order=True)
class _Compared:
    """A point of the peer's front with what matches it: theirs over ours in processor time, ours over theirs in cost
    and at the end, theirs over ours in sequences."""

    cpu: float
    cost: float
    end: float
    evaluations: float


def _along(theirs: Sequence[Point], ours: Sequence[Point], choose: Array, compare: Array) -> list[_Compared | None]:
    """Every point of the peer's front, the best one last; None where it is not matched."""
    costs, ends, cpus_ms = (
        np.array([getattr(point, name)[choose].mean() for point in ours]) for name in ("cost", "end", "cpu_ms")
    )
    named = {point.setting: point for point in theirs}
    found: list[_Compared | None] = []
    for rival in front([_of(point, choose) for point in theirs]):
        matching = np.flatnonzero((costs <= rival.cost.mean()) & (ends <= rival.end.mean()))
        if not len(matching):
            found.append(None)
            continue
        left, right = named[rival.setting], ours[int(matching[np.argmin(cpus_ms[matching])])]
        ratios = (
            left.cpu_ms[compare].mean() / right.cpu_ms[compare].mean(),
            *(getattr(right, name)[compare].mean() / getattr(left, name)[compare].mean() for name in ("cost", "end")),
            left.evaluations / right.evaluations,
        )
        found.append(_Compared(*(float(ratio) for ratio in ratios)))
    return found


def _least(found: Sequence[_Compared | None]) -> _Compared | None:
    """None where one point is not matched."""
    matched = [each for each in found if each]
    return min(matched) if len(matched) == len(found) else None


def _mean_cpu(found: Sequence[_Compared | None]) -> float:
    return float(np.mean([each.cpu if each else 0.0 for each in found]))


def _of(point: Point, episodes: Array) -> Point:
    return replace(point, **{name: getattr(point, name)[episodes] for name in _MEASURED})


def of_optimizers(points: Sequence[Point]) -> list[Point]:
    """With the optimizer's processor time in the cycle's place."""
    return [replace(point, cpu_ms=point.optimizer_ms) for point in points]


def regret(points: Sequence[Point], planner: str = "deployed") -> dict[str, Any] | None:
    """Sum of its episodes' costs over that with the plant for a model; ``end``: the same at the end of the episodes."""
    found = {point.planner: point for point in points if point.planner in (planner, ORACLE)}
    if len(found) < 2:
        return None
    own, best = found[planner], found[ORACLE]
    whole = _with_interval(lambda of: float(own.cost[of].sum() / best.cost[of].sum()), len(own.cost))
    return whole | {"end": _with_interval(lambda of: float(own.end[of].sum() / best.end[of].sum()), len(own.end))}


def _with_interval(figure: Callable[[Array], float], episodes: int) -> dict[str, Any]:
    """And the middle 95 % over resampled episodes, the same ones for everybody."""
    generator = np.random.default_rng(0)
    drawn = [figure(generator.integers(episodes, size=episodes)) for _ in range(RESAMPLES)]
    return _rounded(figure(np.arange(episodes)), drawn)


def _rounded(value: float, drawn: Sequence[float]) -> dict[str, Any]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": round(value, 3), "interval": [round(float(low), 3), round(float(high), 3)]}


def best_of(points: Sequence[Point], planner: str) -> Point | None:
    """Its point of least cost."""
    own = [point for point in points if point.planner == planner]
    return min(own, key=lambda point: float(point.cost.mean()), default=None)


def table(points: Sequence[Point]) -> dict[str, list[dict[str, Any]]]:
    """Every planner's front."""
    planners = dict.fromkeys(point.planner for point in points)
    return {
        planner: [
            {name: round(float(getattr(p, name).mean()), 3) for name in ("cpu_ms", "cost", "end")}
            | {"evaluations": p.evaluations, "setting": p.setting}
            for p in front([point for point in points if point.planner == planner])
        ]
        for planner in planners
    }


def picture(rows: Sequence[Row], units: dict[str, str], path: Path) -> None:
    """Cost against processor time, every planner's front; peers black. No bars: how far the way is differs from episode
    to episode, and is the same for all."""
    figure, axes = plt.subplots(1, len(units), figsize=(7.4 * len(units), 5.0), squeeze=False, layout="constrained")
    for axis, (task, unit) in zip(axes[0], units.items(), strict=True):
        points = points_of(rows, task)
        axis.set(title=task, xscale="log", yscale="log", xlabel="processor time per plan, ms", ylabel=f"cost, {unit}")
        for number, planner in enumerate(dict.fromkeys(point.planner for point in points)):
            line = front([point for point in points if point.planner == planner])
            style = {"linestyle": "--", "color": "black"} if planner in PEERS else {"color": f"C{number % 10}"}
            where = [point.cpu_ms.mean() for point in line], [point.cost.mean() for point in line]
            axis.plot(*where, marker=_MARKERS[number % len(_MARKERS)], markersize=5, label=planner, **style)
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            side.set_major_formatter(FormatStrFormatter("%g"))
            side.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=110)
    plt.close(figure)


_MARKERS = "osD^v<>PX"
"""As many as have no factor in common with ten colours: no two planners look the same."""
