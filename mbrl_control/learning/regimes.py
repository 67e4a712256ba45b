"""Which rows are of the arm as it is now, and what rows of older regimes are worth beside them.

The declared payload says it (`replay.regimes`), but nobody declares a worn gear. So an older stretch of the same
payload is asked whether the model that is active was as right about the arm then as it is now: by its innovation, as
drift is told while it runs (`live.drift`), on held-out blocks, which it has not learned from. Both ways count: an arm
that the model knew and that has changed since, and one that was another for a while. Only the newest regime decides and
carries the weight; mixed evenly with it, rows of another arm pull the model back to that arm. A first model has nobody
to ask: its logs are taken as declared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mbrl_control.learning.promise import LEAST_WINDOWS
from mbrl_control.replay.blocks import newest_regime
from mbrl_control.replay.regimes import Changed, NewestRegime, as_declared, same_regime
from mbrl_control.replay.transitions import select
from mbrl_control.signals import Array, Transitions

OLDER_SHARE = 0.1
"""Of the total row weight for all older regimes: mixed evenly, old rows pull the model back to the old payload."""
QUANTITIES = ("position", "velocity", "effort")
ALLOWANCE = 1.0
"""Std between windows that two stretches may lie apart for ever: other motion is enough for that (`live.drift`)."""
_SURE = 2.0
"""Standard errors by which they have to lie farther apart."""
_LEAST_STD = 0.25
"""Of the logarithm of innovation, as `live.drift` has it."""


def newest_stretches(payloads_kg: Sequence[float], scores: Callable[[int], Array]) -> NewestRegime:
    """Of stretches with these declared payloads, those that are the newest regime.

    ``scores(stretch)`` [n, 3]: logarithm of the active model's innovation in windows of motion of a stretch. From the
    newest stretch backwards each is compared with all that count so far.
    """
    declared = as_declared(payloads_kg)
    if len(declared.stretches) == 1:
        return declared
    kept, changed, newer = [declared.number], [], scores(declared.number)
    for stretch in reversed(declared.stretches[:-1]):
        own = scores(stretch)
        told = difference(own, newer)
        if told is None:
            kept.append(stretch)
            newer = np.concatenate([newer, own])
        else:
            changed.append(Changed(stretch, *told))
    return NewestRegime(tuple(reversed(kept)), tuple(reversed(changed)))


def difference(older: Array, newer: Array) -> tuple[str, float] | None:
    """The quantity in which log innovations [n, 3] and [m, 3] lie farther apart than other motion explains, and the
    factor between them; None where none does, or where either has too few windows to tell.
    """
    if min(len(older), len(newer)) < LEAST_WINDOWS:
        return None
    between = newer.mean(axis=0) - older.mean(axis=0)
    squares = sum(((each - each.mean(axis=0)) ** 2).sum(axis=0) for each in (older, newer))
    std = np.maximum(np.sqrt(squares / (len(older) + len(newer) - 2)), _LEAST_STD)
    doubt = _SURE * np.sqrt(1.0 / len(older) + 1.0 / len(newer))
    apart = np.abs(between) / std - doubt - ALLOWANCE
    worst = int(apart.argmax())
    return None if apart[worst] <= 0.0 else (QUANTITIES[worst], float(np.exp(between[worst])))


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
    """[N] row weights of mean 1: the newest regime carries 90 % of the total, all older ones 10 %."""
    newest = newest_regime(rows)
    older = len(rows) - int(newest.sum())
    if older == 0:
        return np.ones(len(rows))
    share = np.where(newest, (1.0 - OLDER_SHARE) / newest.sum(), OLDER_SHARE / older)
    return np.asarray(share * len(rows), dtype=np.float64)


def other_payloads(payloads_kg: Iterable[float], newest_kg: float) -> tuple[float, ...]:
    """Those of other regimes, increasing; of payloads that are one regime the heaviest stands for all."""
    found: list[float] = []
    for payload in sorted({each for each in payloads_kg if not same_regime(each, newest_kg)}, reverse=True):
        if not found or not same_regime(payload, found[-1]):
            found.append(payload)
    return tuple(reversed(found))
