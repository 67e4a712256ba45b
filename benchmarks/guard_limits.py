"""Where the guard limited commands: by stage, and as interventions, those that begin right behind a swap apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rate_window import GUARD_PERIOD_MS
from mbrl_control.episode_log.reader import LogReader, stamp_ns
from mbrl_control.episode_log.schema import SAFE_COMMAND
from mbrl_control.report.timing import Bools, Stamps, excess_over_reference, poisson_lower
from mbrl_control.signals import Stage

Counted = tuple[int, int]
"""(interventions, ticks)"""
LIMITS = (Stage.POSITION, Stage.VELOCITY, Stage.ACCELERATION, Stage.JERK, Stage.EFFORT, Stage.EFFORT_RATE)
"""Stages that keep a limit of the arm: what a plan asks of them was too much."""
NEAR_NS = 200_000_000
"""From the first plan of a model on: what a step between two models' plans costs the guard shows within ten plans."""


@dataclass(frozen=True, slots=True)
class Limited:
    """The guard's commands of a log, in the order of their ticks."""

    stamp_ns: Stamps
    """[N]"""
    stage: NDArray[np.int64]
    """[N] `Stage` that changed it."""


def read_limited(log: Path) -> Limited:
    """All commands of a log."""
    found = [(stamp_ns(m.stamp), int(m.limiting_stage)) for _, _, m in LogReader(log).messages((SAFE_COMMAND,))]
    rows = np.array(found, dtype=np.int64).reshape(-1, 2)
    return Limited(rows[:, 0], rows[:, 1])


def by_stage(limited: Limited, inside: Bools) -> Counter[str]:
    """Commands inside that a stage changed, by its name."""
    return Counter(Stage(stage).name for stage in limited.stage[inside].tolist() if stage != Stage.NONE)


def interventions(limited: Limited) -> Bools:
    """[N] first ticks of runs that one limit changed: ticks of a run know each other, runs are counted."""
    before = np.concatenate([[int(Stage.NONE)], limited.stage])[:-1]
    return np.asarray(np.isin(limited.stage, LIMITS) & (limited.stage != before))


def behind_swaps(stamp: Stamps, moments: Stamps) -> Bools:
    """[N] which stamps lie within `NEAR_NS` from one of the ``moments`` [W], ascending, on."""
    if len(moments) == 0:
        return np.zeros(len(stamp), dtype=np.bool_)
    latest = np.searchsorted(moments, stamp, side="right") - 1
    return np.asarray((latest >= 0) & (stamp - moments[np.maximum(latest, 0)] <= NEAR_NS))


def counts(limited: Limited, inside: Bools) -> Counted:
    """Of the ticks inside."""
    return int((interventions(limited) & inside).sum()), int(inside.sum())


def compared(at_swaps: list[Counted], elsewhere: list[Counted], still: list[Counted]) -> dict[str, Any]:
    """JSON-ready, of the windows with swaps and of those without.

    Both numbers are chance: that behind swaps is told by the least mean that it is likely of, that of the windows
    without by the largest, scaled to as many ticks.
    """
    groups = {"at_swaps": at_swaps, "elsewhere": elsewhere, "still": still}
    sums = {name: (sum(n for n, _ in group), sum(ticks for _, ticks in group)) for name, group in groups.items()}
    excess = excess_over_reference(*sums["at_swaps"], *sums["still"])
    seconds = {name: 1e-3 * GUARD_PERIOD_MS * ticks for name, (_, ticks) in sums.items()}
    return {
        "interventions_at_swaps": excess.raw,
        "interventions_at_swaps_least": round(poisson_lower(excess.raw), 2),
        "interventions_bound": round(excess.bound, 2),
        "interventions_still": sums["still"][0],
        "interventions_per_s": {
            name: round(n / seconds[name], 3) if seconds[name] else None for name, (n, _) in sums.items()
        },
    }


def intervention_misses(found: dict[str, Any]) -> list[str]:
    """Of the same: the swaps make the guard keep limits more often than it does without."""
    least, bound = found["interventions_at_swaps_least"], found["interventions_bound"]
    if least <= bound:
        return []
    return [
        f"interventions_at_swaps {found['interventions_at_swaps']}: {least:.1f} or more in the mean, above {bound:.1f}"
    ]
