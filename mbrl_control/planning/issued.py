"""The plans that a planner has given out in one epoch: their numbers, and what goes on when a cycle finds none."""

from __future__ import annotations

from mbrl_control.planning.fallback import Stopping, fallback_plan
from mbrl_control.signals import Plan

_KEPT = 4
"""Plans that the guard may still be following: those whose successor has not started a while ago."""


class Issued:
    """Of one epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.in_force: tuple[Plan, ...] = ()
        """By rising start."""
        self._sequence = 0
        self._fallbacks = 0

    @property
    def next_sequence(self) -> int:
        """Of the plan that is given out next."""
        return self._sequence + 1

    def add(self, plan: Plan) -> None:
        """A newly optimized one."""
        self._fallbacks = 0
        self._remember(plan)

    def fall_back(self, deadline_ns: int, now_ns: int, dt_s: float, stopping: Stopping) -> Plan | None:
        """See `fallback_plan`, under a new sequence."""
        last = self.in_force[-1] if self.in_force else None
        times = (max(now_ns, deadline_ns), now_ns)
        self._fallbacks += 1
        plan = fallback_plan(last, self._fallbacks - 1, *times, self.next_sequence, dt_s, stopping)
        if plan is not None:
            self._remember(plan)
        return plan

    def _remember(self, plan: Plan) -> None:
        self._sequence = plan.sequence
        self.in_force = (*self.in_force, plan)[-_KEPT:]
