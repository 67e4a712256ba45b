"""How long iterations take on this machine, from cycle to cycle: what decides whether a further one is begun."""

from __future__ import annotations

from dataclasses import replace

from mbrl_control.planning.optimize import Longest

TRIALS = 3
"""Cycles that refine whatever it takes, once a model is in use and nobody follows the plans. A refinement that is only
estimated may seem never to fit, and what never runs is never measured; the first ones load caches."""
_WHATEVER_NS = 1_000_000_000


class Pace:
    """Of one planner."""

    def __init__(self, refines: bool) -> None:
        self.longest = Longest()
        self.tried = False
        """The cycle whose deadline was asked for last was one of the trials: late on purpose, where it was."""
        self._refines, self._left, self._trying = refines, 0, False

    def begin_model(self) -> None:
        """Another model: the figures of the one before hold until the trials, and fade where plans are followed: this
        one's derivatives may be quicker."""
        self.longest = replace(self.longest, quickest=0)
        self._left = TRIALS if self._refines else 0

    def deadline_ns(self, deadline_ns: int, following: bool) -> int:
        """Until when a cycle that is due at ``deadline_ns`` may begin iterations."""
        self._trying, self.tried = self._left > 0 and not following, False
        return deadline_ns + (_WHATEVER_NS if self._trying else 0)

    def take(self, cycle: Longest) -> None:
        """Of the cycle whose deadline was asked for last. The least of the trials counts: the others were disturbed."""
        before, self.longest = self.longest, self.longest.after(cycle)
        if self._trying and cycle.refining > 0:
            least = cycle.refining if self._left == TRIALS else min(cycle.refining, before.refining)
            self.longest = Longest(self.longest.sampling, least, least)
            self._left, self.tried = self._left - 1, True
