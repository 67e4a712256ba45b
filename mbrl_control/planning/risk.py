"""Risk over ensemble members: how [E, B] costs become [B] costs. A non-finite cost is the worst cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mbrl_control.signals import Array

RiskName = Literal["mean", "worst", "cvar", "mean_std"]


@dataclass(frozen=True, slots=True)
class Risk:
    """A named strategy and its one parameter."""

    name: RiskName
    cvar_fraction: float = 0.4
    """Share of the worst members that CVaR averages, 0 < share <= 1; where it is no whole number of members, the last
    of them counts in part."""
    std_weight: float = 1.0
    """k of mean + k std, not negative."""


def aggregate(cost: Array, risk: Risk) -> Array:
    """Member costs [E, B] -> costs [B]; a sequence with any non-finite member costs infinity."""
    finite = np.isfinite(cost).all(axis=0)
    safe = np.where(finite, cost, 0.0)
    return np.where(finite, _STRATEGIES[risk.name](safe, risk), np.inf)


def _mean(cost: Array, _: Risk) -> Array:
    return np.asarray(cost.mean(axis=0), dtype=np.float64)


def _worst(cost: Array, _: Risk) -> Array:
    return np.asarray(cost.max(axis=0), dtype=np.float64)


def _cvar(cost: Array, risk: Risk) -> Array:
    """min over t of t + mean(max(cost - t, 0)) / share (Rockafellar and Uryasev, J. Risk 2 (2000), theorem 1), which
    for members of equal weight is the mean of the worst share of them."""
    tail = risk.cvar_fraction * len(cost)
    weights = np.clip(tail - np.arange(len(cost)), 0.0, 1.0) / tail
    return np.asarray(weights @ np.sort(cost, axis=0)[::-1], dtype=np.float64)


def _mean_std(cost: Array, risk: Risk) -> Array:
    return np.asarray(cost.mean(axis=0) + risk.std_weight * cost.std(axis=0), dtype=np.float64)


_STRATEGIES: dict[str, Callable[[Array, Risk], Array]] = {
    "mean": _mean,
    "worst": _worst,
    "cvar": _cvar,
    "mean_std": _mean_std,
}
