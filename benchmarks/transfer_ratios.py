"""Arithmetic of the transfer report: ratios of medians, their spread over seeds, the baselines beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from mbrl_control.signals import Array


class Condition(StrEnum):
    """What the model meets in the other simulator."""

    PLAIN = "plain"
    """The arm as it is described."""
    RANDOMIZED = "randomized"
    """A plant that the model never saw."""


ERRORS = ("nominal_home", "own", "control", "again", "nominal", "before", "after", "scratch")
"""In the own simulator: prior, model, another seed's model, retrained there. In the other: prior, model, retrained,
from scratch."""
RATIOS = {
    "ratio_before": "before",
    "ratio_after": "after",
    "ratio_scratch": "scratch",
    "ratio_own": "control",
    "ratio_own_again": "again",
}
"""Each is the median of these errors over the median of ``own``."""


@dataclass(frozen=True, slots=True)
class Row:
    """One seed of one direction under one condition."""

    own: str
    """Simulator that was learned in."""
    condition: Condition
    seed: int
    mm: Mapping[str, Array]
    """Reach errors [N] by name (`ERRORS`)."""
    facts: Mapping[str, float]


def complete(rows: Sequence[Row]) -> list[Row]:
    """Plain rows with what the opposite direction has measured already: its own simulator is the other one.

    A model from the other simulator's record alone IS the opposite direction's own model, and the prior is one.
    """
    plain = {(row.own, row.seed): row for row in rows if row.condition is Condition.PLAIN}

    def opposite(row: Row) -> Row:
        return next(other for (own, seed), other in plain.items() if own != row.own and seed == row.seed)

    return [
        row
        if row.condition is Condition.RANDOMIZED
        else replace(
            row, mm={**row.mm, "nominal": opposite(row).mm["nominal_home"], "scratch": opposite(row).mm["own"]}
        )
        for row in rows
    ]


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """The report: the worst direction's ratios on top, those of the randomized plants under ``randomized``."""
    plain, randomized = (
        {
            own: _direction([row for row in rows if row.own == own and row.condition is condition])
            for own in sorted({row.own for row in rows})
        }
        for condition in (Condition.PLAIN, Condition.RANDOMIZED)
    )
    return {
        **_worst(plain),
        "directions": plain,
        "randomized": {**_worst(randomized), "directions": randomized},
    }


def ratio(errors: Array, own: Array) -> float:
    """Median over median; NaN when ``own`` has none above zero."""
    below = float(np.median(own))
    return float(np.median(errors)) / below if below > 0.0 else float("nan")


def _direction(rows: Sequence[Row]) -> dict[str, Any]:
    """Ratios over all seeds' targets together, and of each seed by itself."""
    pooled = {name: np.concatenate([row.mm[name] for row in rows]) for name in ERRORS}
    found: dict[str, Any] = {}
    for name, of in RATIOS.items():
        found[name] = _round(ratio(pooled[of], pooled["own"]))
        found[f"{name}_seeds"] = [_round(ratio(row.mm[of], row.mm["own"])) for row in rows]
    found |= {f"{name}_mm": spread(pooled[name]) for name in ERRORS}
    return found | {"gate_passed": [bool(row.facts["gate_passed"]) for row in rows]}


def spread(errors: Array) -> dict[str, float]:
    """Median, 95th percentile and maximum of errors [N] mm."""
    values = {"median": np.median(errors), "p95": np.percentile(errors, 95), "max": np.max(errors)}
    return {name: _round(float(value)) for name, value in values.items()}


def _worst(directions: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The largest of each ratio; NaN, an unknown one, is the worst."""
    return {name: float(np.max([found[name] for found in directions.values()])) for name in RATIOS}


def _round(value: float) -> float:
    return round(value, 3)
