"""What `bench fit` says of its epochs.

A run's held-out NLL after so many epochs depends on its optimizer and schedule; the seconds of an epoch on threads and
matrix products (the NLL does not, beyond rounding). The two are measured apart and put together: the time to an NLL is
the number of epochs that a run needs to it, times the median seconds of an epoch in the fastest way that its library
was run in. So a lucky epoch of a slow way cannot be charged to a library as its time.

Of a peer that was run with several schedules, each one's best NLL is a target, and to every target the fastest of these
runs counts. A `speedup` is the least over the targets: 0 where ours never gets to one of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LIMITS = {"speedup": 3.0, "speedup_step": 1.25, "speedup_step_plain": 1.25}
_SHARES = (1 / 3, 2 / 3)


@dataclass(frozen=True, slots=True)
class Way:
    """How a library computes."""

    library: str
    """`ours` or `mbrl`."""
    threads: int
    onednn: bool

    def __str__(self) -> str:
        return f"{self.library} {'onednn' if self.onednn else 'plain'}/{self.threads}"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One measured epoch."""

    seconds: float
    cpu_s: float
    steps: int
    nll: float
    """Held out, after it; nats per row, mean over members."""


Run = Sequence[Epoch]


@dataclass(frozen=True, slots=True)
class Contest:
    """Our run and the peer's runs that it is measured against, all from the same seed."""

    ours: str
    peers: tuple[str, ...]


def figures(
    paces: Mapping[Way, Run], runs: Mapping[str, Run], default: Contest, tuned: Contest, onednn: bool
) -> dict[str, Any]:
    """Top-level keys of the JSON line. ``onednn``: whether our fits use it on this processor when nobody says."""
    seconds = _epoch_seconds(paces)
    steps = {way: _median([epoch.seconds / epoch.steps for epoch in run]) for way, run in paces.items()}
    as_run, plain = _only(seconds, onednn), _only(seconds, False)
    values = {
        "speedup": _speedup(runs, default, as_run),
        "speedup_tuned": _speedup(runs, tuned, as_run),
        "speedup_plain": _speedup(runs, default, plain),
        "speedup_one_thread": _speedup(runs, default, {way: s for way, s in as_run.items() if way.threads == 1}),
        "speedup_step": _rate(_only(steps, onednn)),
        "speedup_step_plain": _rate(_only(steps, False)),
    }
    values = {name: round(value, 3) for name, value in values.items()}
    return {
        **values,
        "targets_reached": {name: _told(runs, each, as_run) for name, each in _named(default, tuned).items()},
        "speedup_along": [_along(runs, default, share, as_run) for share in _SHARES],
        "epoch_s": {str(way): round(value, 3) for way, value in seconds.items()},
        "step_ms": {str(way): round(1e3 * value, 3) for way, value in steps.items()},
        "best_nll": {name: round(best(run), 4) if _finite(run) else None for name, run in runs.items()},
        "limits": LIMITS,
        "misses": _misses(values),
    }


def fastest(paces: Mapping[Way, Run], library: str, onednn: bool) -> Way:
    """Of the ways that count for a library when our fits are run with or without oneDNN."""
    seconds = _only(_epoch_seconds(paces), onednn)
    return min((way for way in seconds if way.library == library), key=lambda way: seconds[way])


def best(run: Run) -> float:
    """Least finite NLL; ValueError where none is: such a run is no contestant."""
    finite = _finite(run)
    if not finite:
        raise ValueError("epochs: the held-out NLL of a run was never finite; look at its rows and its learning rate")
    return min(finite)


def epochs_to(run: Run, nll: float) -> float:
    """Number of epochs after which the held-out NLL was first as low; infinite when it never was, or not finite."""
    reached = (n for n, epoch in enumerate(run, 1) if math.isfinite(epoch.nll) and epoch.nll <= nll)
    return next(reached, math.inf)


def is_over(run: Run, epochs: int, patience: int) -> bool:
    """As `learning.train.train` ends: after all epochs, or without a better NLL for ``patience``."""
    least, at = math.inf, 0
    for number, epoch in enumerate(run, 1):
        if epoch.nll < least:
            least, at = epoch.nll, number
    return len(run) >= epochs or len(run) - at >= patience


def _named(default: Contest, tuned: Contest) -> dict[str, Contest]:
    return {"speedup": default, "speedup_tuned": tuned}


def _only(values: Mapping[Way, float], onednn: bool) -> dict[Way, float]:
    """Ours with or without oneDNN; the peer in every way that ours has: its better one counts."""
    return {way: value for way, value in values.items() if way.onednn == onednn or (way.library == "mbrl" and onednn)}


def _speedup(runs: Mapping[str, Run], contest: Contest, seconds: Mapping[Way, float]) -> float:
    """The least over the best NLLs of the peer's runs."""
    return min(_speedup_to(runs, contest, seconds, best(runs[peer])) for peer in contest.peers)


def _speedup_to(runs: Mapping[str, Run], contest: Contest, seconds: Mapping[Way, float], nll: float) -> float:
    theirs, ours = _seconds_to(runs, contest, seconds, nll)
    return theirs / ours


def _seconds_to(
    runs: Mapping[str, Run], contest: Contest, seconds: Mapping[Way, float], nll: float
) -> tuple[float, float]:
    """The peer's, by the fastest of its runs, and ours, infinite where it never gets there."""
    theirs = min(epochs_to(runs[peer], nll) for peer in contest.peers)
    return theirs * _fastest(seconds, "mbrl"), epochs_to(runs[contest.ours], nll) * _fastest(seconds, "ours")


def _told(runs: Mapping[str, Run], contest: Contest, seconds: Mapping[Way, float]) -> dict[str, Any]:
    """By the peer's run whose best NLL it is: the target and the seconds to it; None: never."""
    found = {}
    for peer in contest.peers:
        nll = best(runs[peer])
        theirs, ours = _seconds_to(runs, contest, seconds, nll)
        ours_s = round(ours, 2) if math.isfinite(ours) else None
        found[peer] = {
            "nll": round(nll, 4), "mbrl_s": round(theirs, 2), "ours_s": ours_s, "speedup": round(theirs / ours, 3)
        }  # fmt: skip
    return found


def _along(runs: Mapping[str, Run], contest: Contest, share: float, seconds: Mapping[Way, float]) -> dict[str, float]:
    """To what each of the peer's runs has reached after ``share`` of its epochs: the least speedup."""
    parts = [runs[peer][: max(1, round(share * len(runs[peer])))] for peer in contest.peers]
    least = min((_speedup_to(runs, contest, seconds, best(part)), best(part)) for part in parts)
    return {"share": round(share, 2), "speedup": round(least[0], 3), "nll": round(least[1], 4)}


def _rate(cost: Mapping[Way, float]) -> float:
    return _fastest(cost, "mbrl") / _fastest(cost, "ours")


def _fastest(cost: Mapping[Way, float], library: str) -> float:
    return min(value for way, value in cost.items() if way.library == library)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _finite(run: Run) -> list[float]:
    return [epoch.nll for epoch in run if math.isfinite(epoch.nll)]


def _epoch_seconds(paces: Mapping[Way, Run]) -> dict[Way, float]:
    return {way: _median([epoch.seconds for epoch in run]) for way, run in paces.items()}


def _misses(values: Mapping[str, float]) -> list[str]:
    """Not a number is one."""
    return [f"{name} {values[name]} below {least}" for name, least in LIMITS.items() if not values[name] >= least]
