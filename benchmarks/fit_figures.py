"""What `bench fit` says of its epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LIMITS = {"speedup": 3.0, "speedup_step": 1.25}
_MEMORY = 1.5
"""Of a fit, over the raw size of its rows."""
_SHARES = (1 / 3, 2 / 3, 1.0)
_LINEAR = 0.1
"""Largest departure of a time per epoch from the line through all, as a share of it."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One measured epoch."""

    seconds: float
    cpu_s: float
    steps: int
    nll: float
    """Held out, after it; nats per row, mean over members."""


Epochs = Mapping[str, Sequence[Epoch]]
"""By contestant, `ours/1` and the like: the number is of threads."""


def figures(epochs: Epochs) -> dict[str, Any]:
    """Top-level keys of the JSON line; a NLL that ours never reaches has a `speedup` of 0.

    The NLL to reach is the best that the peer has after any of its epochs, whatever its number of threads.
    """
    theirs = {name: run for name, run in epochs.items() if name.startswith("mbrl")}
    wanted = _best(theirs, 1.0)
    reached = {name: seconds_to(run, wanted) for name, run in epochs.items()}
    step_ms = {name: _step_ms(run) for name, run in epochs.items()}
    values = {}
    for kind, suffix in (("ours", ""), ("plain", "_plain")):
        values[f"speedup{suffix}"] = round(_ratio(reached, kind), 3)
        values[f"speedup_step{suffix}"] = round(_ratio(step_ms, kind), 3)
    return {
        **values,
        "speedup_along": [_along(epochs, theirs, share) for share in _SHARES],
        "nll_to_reach": round(wanted, 4),
        "seconds_to_it": {name: round(s, 2) if math.isfinite(s) else None for name, s in reached.items()},
        "step_ms": {name: round(ms, 3) for name, ms in step_ms.items()},
        "best_nll": {name: round(min(epoch.nll for epoch in run), 4) for name, run in epochs.items()},
        "targets": LIMITS,
        "misses": [
            f"{name} {value} below {LIMITS[name]}" for name, value in values.items() if value < LIMITS.get(name, 0.0)
        ],
    }


def beside(epoch_time: Mapping[str, Any], memory: Mapping[str, Any], rows: int) -> list[str]:
    """Misses of the other figures; ``memory`` of `replay_memory.figures`, of ``rows`` rows if it is what was asked."""
    found = [f"memory of {memory['rows']} rows: {miss}" for miss in memory["misses"]]
    if not memory["fit_ratio"] <= _MEMORY:
        found.append(f"memory of {memory['rows']} rows: fit_ratio {memory['fit_ratio']} above {_MEMORY}")
    if memory["rows"] != rows:
        found.append(f"memory was measured with {memory['rows']} rows of {rows}: no more is free here")
    if not epoch_time["linear"]:
        found.append(f"epoch_time departs from a line by {epoch_time['largest_departure']}")
    return found


def seconds_to(run: Sequence[Epoch], nll: float) -> float:
    """Training time until the held-out NLL was first as low; infinite when it never was, or was not finite."""
    total = 0.0
    for epoch in run:
        total += epoch.seconds
        if epoch.nll <= nll:
            return total
    return math.inf


def linear(rows: Sequence[int], seconds: Sequence[float]) -> dict[str, Any]:
    """Time per epoch against rows: the least-squares line and how far off it the points are."""
    slope, constant = np.polyfit(rows, seconds, 1)
    line = slope * np.array(rows) + constant
    off = float(np.abs(np.array(seconds) / line - 1.0).max())
    return {
        "rows": list(rows),
        "seconds": [round(value, 3) for value in seconds],
        "us_per_row": round(1e6 * float(slope), 3),
        "constant_s": round(float(constant), 4),
        "largest_departure": round(off, 4),
        "linear": off <= _LINEAR,
    }


def _best(runs: Epochs, share: float) -> float:
    """Least NLL in the first ``share`` of each run's epochs."""
    return min(epoch.nll for run in runs.values() for epoch in run[: max(1, round(share * len(run)))])


def _along(epochs: Epochs, theirs: Epochs, share: float) -> dict[str, float]:
    nll = _best(theirs, share)
    reached = {name: seconds_to(run, nll) for name, run in epochs.items()}
    return {"share": round(share, 2), "nll": round(nll, 4), "speedup": round(_ratio(reached, "ours"), 3)}


def _ratio(cost: Mapping[str, float], kind: str) -> float:
    """The peer's over that of ``kind``, each at its better number of threads; 0 where ``kind`` never gets there."""
    theirs, ours = (min(c for name, c in cost.items() if name.startswith(side)) for side in ("mbrl", kind))
    return theirs / ours


def _step_ms(run: Sequence[Epoch]) -> float:
    return 1e3 * float(np.median([epoch.seconds / epoch.steps for epoch in run]))
