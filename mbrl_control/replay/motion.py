"""Which predictions are scored: from starts 0.1 s apart at which the arm moves, five in a row to a window of 0.5 s.

One rule for both sides: what a bundle promises of its held-out rows (`learning.promise`), and what its predictions are
held to while the arm runs (`live`). At rest every model is right, so rest counts neither for it nor against it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mbrl_control.signals import Array, Transitions

AHEAD = 15
"""Model steps of every prediction: the horizon that models are compared at and spreads are scaled for."""
SPACING = 5
"""Model steps between starts."""
STARTS = 5
"""Of a window."""
MOVES = 0.05
"""rad/s, RMS over the joints and steps of a prediction, from which the arm counts as moving."""

_Item = TypeVar("_Item")


@dataclass(slots=True)
class Filling(Generic[_Item]):
    """The window that is being filled: starts one after the other, given up where one is missing or at rest."""

    spacing: int
    """Between the places of starts."""
    _items: list[_Item] = field(default_factory=list)
    _next: int = 0

    def add(self, place: int, item: _Item | None) -> tuple[_Item, ...]:
        """A start, None where it does not count -> the `STARTS` of a full window, else nothing."""
        if place != self._next or item is None:
            self._items.clear()
        self._next = place + self.spacing
        if item is None:
            return ()
        self._items.append(item)
        if len(self._items) < STARTS:
            return ()
        full = tuple(self._items)
        self._items.clear()
        return full


def moves(velocity: Array) -> bool:
    """Whether velocities [`AHEAD`, J] rad/s of a prediction's steps are motion."""
    return bool(np.sqrt(np.mean(velocity**2)) >= MOVES)


def motion_windows(rows: Transitions) -> NDArray[np.int64]:
    """[n, `STARTS`] rows from which the predictions of each window start, of rows one model step apart."""
    filling, found = Filling[int](SPACING), []
    firsts = np.flatnonzero(np.diff(rows.segment, prepend=np.int64(-1))).tolist()
    for first, end in pairwise([*firsts, len(rows)]):
        for start in range(first, end - AHEAD + 1, SPACING):
            full = filling.add(start, start if moves(rows.velocity[start : start + AHEAD]) else None)
            if full:
                found.append(full)
        filling.add(-1, None)
    return np.array(found, dtype=np.int64).reshape(-1, STARTS)
