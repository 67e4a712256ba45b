"""What rows of an older regime (another payload) are worth beside the newest."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mbrl_control.replay.blocks import newest_regime
from mbrl_control.replay.transitions import select
from mbrl_control.signals import Array, Transitions

OLDER_SHARE = 0.1
"""Of the total row weight for all older regimes: mixed evenly, old rows pull the model back to the old payload."""
SAME_PAYLOAD = 0.1
"""Of the payload: what counts as the same one."""


def thin_older_regimes(rows: Transitions) -> Transitions:
    """Keep at most half as many rows of all older regimes as of the newest, evenly spread.

    Together they weigh OLDER_SHARE, so most of them would cost time on the arm's computer and change nothing.
    """
    newest = newest_regime(rows)
    older = np.flatnonzero(~newest)
    allowed = int(newest.sum()) // 2
    if len(older) <= allowed:
        return rows
    kept = older[np.linspace(0, len(older) - 1, allowed).astype(np.int64)]
    return select(rows, np.sort(np.concatenate([np.flatnonzero(newest), kept])))


def regime_weights(rows: Transitions) -> Array:
    """[N] row weights of mean 1: the newest session carries 90 % of the total, all older ones 10 %."""
    newest = newest_regime(rows)
    older = len(rows) - int(newest.sum())
    if older == 0:
        return np.ones(len(rows))
    share = np.where(newest, (1.0 - OLDER_SHARE) / newest.sum(), OLDER_SHARE / older)
    return np.asarray(share * len(rows), dtype=np.float64)


def same_regime(payload_kg: float, newest_kg: float) -> bool:
    """Is a declared payload that of the newest regime? Within a tenth, as the guard takes a payload for known."""
    return abs(payload_kg - newest_kg) <= SAME_PAYLOAD * newest_kg


def other_payloads(payloads_kg: Iterable[float], newest_kg: float) -> tuple[float, ...]:
    """Those of other regimes, increasing; of payloads that are one regime the heaviest stands for all."""
    found: list[float] = []
    for payload in sorted({each for each in payloads_kg if not same_regime(each, newest_kg)}, reverse=True):
        if not found or not same_regime(payload, found[-1]):
            found.append(payload)
    return tuple(reversed(found))
