"""Which of two bundles predicts the same windows of motion better, asked while the windows come in.

Two questions, each with its own error bound:

`BetterSoFar`: is the other one better, at any time? A wager that doubles as evidence: each window in which the other is
better by more than the margin multiplies it by 1.8, any other by 0.2; it never falls below one. If the other wins a
window with probability 1/2 at most, whatever came before, it exceeds 1000 after 1000 windows on average or later (an
e-detector: Shin, Ramdas, Rinaldo, arXiv:2203.03532); twelve windows won in a row do it.

`looked`: is a candidate no worse than a margin? Asked at three numbers of windows that are fixed beforehand, each bound
at a third of the error that is allowed in all (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.block_bootstrap import paired_difference
from mbrl_control.signals import Array

MARGIN = 0.02
"""Of the active bundle's loss, as the gate has it (`learning.judge`)."""
BLOCK = 4
"""Windows that are drawn together: 2 s of motion, as the gate's blocks."""
LOOKS = 3
"""At N, 2 N and 4 N windows."""
CONFIDENCE = 1.0 - 0.05 / LOOKS
"""Of each look's bound: all of them together are right with 95 %."""
_STAKE = 0.8
_ENOUGH = 1000.0


class BetterSoFar:
    """Evidence that the other bundle is better than the active one."""

    def __init__(self) -> None:
        self._wealth, self._won, self._windows = 1.0, 0, 0

    @property
    def enough(self) -> bool:
        return self._wealth >= _ENOUGH

    @property
    def said(self) -> str:
        return f"better in {self._won} of the last {self._windows} windows"

    def add(self, other: float, active: float) -> None:
        """Losses of the next window."""
        won = other < (1.0 - MARGIN) * active
        if self._wealth <= 1.0:
            self._wealth, self._won, self._windows = 1.0, 0, 0
        self._wealth *= 1.0 + _STAKE if won else 1.0 - _STAKE
        self._won += won
        self._windows += 1


@dataclass(frozen=True, slots=True)
class Look:
    """Mean losses over the windows so far, and the bound on their difference."""

    windows: int
    candidate: float
    active: float
    upper: float
    """Of candidate minus active, one-sided, at `CONFIDENCE`."""

    @property
    def limit(self) -> float:
        return MARGIN * self.active

    @property
    def passes(self) -> bool:
        return self.upper < self.limit

    @property
    def said(self) -> str:
        return (
            f"position after 0.3 s on {self.windows} windows of live motion {self.candidate:.3e} rad against "
            f"{self.active:.3e}, difference {CONFIDENCE:.1%} sure to be below {self.upper:.3e} (limit {self.limit:.3e})"
        )


def looked(candidate: Array, active: Array, generator: np.random.Generator) -> Look:
    """Losses [n] of the same windows, n at least `registry.LEAST_WINDOWS` -> the bound, by resampling their blocks.

    The expanded percentile of `block_bootstrap`, of blocks of windows; LossesError where one is not finite.
    """
    blocks = len(candidate) // BLOCK
    ours, theirs = (each[: blocks * BLOCK].reshape(blocks, BLOCK).mean(axis=1) for each in (candidate, active))
    upper = paired_difference(ours, theirs, generator, confidence=CONFIDENCE).percentile.upper
    return Look(len(candidate), float(candidate.mean()), float(active.mean()), upper)
