"""Which stretches of the logs are the newest regime: what is learned for, and what judges a candidate.

A stretch is a log, or the part of one with one declared payload. All that were declared with the payload of the last
one are one regime, wherever they lie: five short runs are worth one long run, and a load that was on in between ends
nothing. Except for those during which the arm was another all the same (a worn gear, a load that nobody declared):
what tells them is asked elsewhere (`learning.regimes`), and said in the dataset card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mbrl_control.signals import Transitions

SAME_PAYLOAD = 0.1
"""Of the payload: what counts as the same one."""


@dataclass(frozen=True, slots=True)
class Changed:
    """An older stretch of the same declared payload that is left out: the active model was right about the arm in one
    of both, and not in the other."""

    stretch: int
    quantity: str
    """Of the innovation: position, velocity or effort."""
    factor: float
    """Its geometric mean over windows in the newer stretches, over that of this one."""

    @property
    def said(self) -> str:
        """In words."""
        return f"another arm: innovation of {self.quantity} since then x {self.factor:.3g}"


@dataclass(frozen=True, slots=True)
class NewestRegime:
    """Stretches by their numbers in the logs that were read, oldest first."""

    stretches: tuple[int, ...]
    """Increasing; the last stretch of the logs is always the last of them."""
    changed: tuple[Changed, ...] = ()

    @property
    def number(self) -> int:
        """Of the last stretch, and so of the regime."""
        return self.stretches[-1]

    def holds(self, stretch: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[N] whether rows of these stretches [N] are of the newest regime."""
        return np.isin(stretch, self.stretches)


def same_regime(payload_kg: float, newest_kg: float) -> bool:
    """Is a declared payload that of the newest regime? Within a tenth, as the guard takes a payload for known."""
    return abs(payload_kg - newest_kg) <= SAME_PAYLOAD * newest_kg


def as_declared(payloads_kg: Sequence[float]) -> NewestRegime:
    """By the declared payload of every stretch alone."""
    same = [number for number, payload in enumerate(payloads_kg) if same_regime(payload, payloads_kg[-1])]
    return NewestRegime(tuple(same))


def with_regimes(rows: Transitions, newest: NewestRegime) -> Transitions:
    """Rows whose ``session`` is their stretch -> the same with one session, the highest, for the newest regime.

    Segments stay as they are: no window reaches from one stretch into another.
    """
    return replace(rows, session=np.where(newest.holds(rows.session), newest.number, rows.session))
