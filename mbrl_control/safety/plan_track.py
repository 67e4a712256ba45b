"""The plans the guard has accepted: which one is in force now, and how fresh the newest is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from mbrl_control.safety.config import GuardConfig, GuardLimits
from mbrl_control.safety.verdicts import OK, Action, Verdict, check_plan_age, check_plan_content, check_plan_order
from mbrl_control.signals import Array, Plan, Stage

WAITING = 8
"""Accepted plans whose start lies ahead; more than any start window holds."""


@dataclass(slots=True)
class PlanTrack:
    """Accepts plans and hands out the one in force: the newest whose start has been reached.

    A plan that starts later never displaces the one in force before its start, and never the one waiting
    before it: with starts further ahead than the period, no plan would ever begin otherwise. One that starts no later
    takes the place of those waiting.
    """

    limits: GuardLimits
    config: GuardConfig
    newest: Plan | None = None
    current: Plan | None = None
    received_ns: int = 0
    fresh: int = 0
    """Accepted plans in a row, none of them late."""
    fallbacks: int = 0
    """Plans in a row that were not optimized."""
    rejected: int = 0
    rejected_models: dict[str, str] = field(default_factory=dict)
    """Models whose plans are refused, with the reason."""
    moved_by: set[str] = field(default_factory=set)
    """Models of the plans accepted since they were last counted anew."""
    _waiting: deque[Plan] = field(default_factory=lambda: deque(maxlen=WAITING))
    _malformed_ns: deque[int] = field(default_factory=deque)

    def receive(self, plan: Plan, frozen: bool, now_ns: int) -> Verdict:
        """Judge and keep ``plan``; ``frozen``: its epoch must be the one known."""
        verdict = self._check_model(plan)
        if verdict.ok:
            verdict = check_plan_content(plan, self.limits, self.config)
        if verdict.ok:
            verdict = check_plan_order(plan, self.newest, frozen, now_ns, self.config)
        if not verdict.ok:
            self._reject(verdict, now_ns)
            return verdict
        if self.newest is not None and plan.epoch != self.newest.epoch:
            self._forget()
        late = now_ns - self.received_ns > self.config.plan_brake_periods * self.config.plan_period_s * 1e9
        self.fresh = 1 if late else self.fresh + 1
        self.fallbacks = self.fallbacks + 1 if plan.outcome.fallback else 0
        self.newest, self.received_ns = plan, now_ns
        self.moved_by.add(plan.model_id)
        while self._waiting and self._waiting[-1].start_ns >= plan.start_ns:
            self._waiting.pop()
        self._waiting.append(plan)
        return verdict

    def refuse(self, reason: str, now_ns: int) -> Verdict:
        """Count a message that could not even be read as a plan."""
        verdict = Verdict(Action.BRAKE, Stage.SHAPE, reason, malformed=True)
        self._reject(verdict, now_ns)
        return verdict

    def advance(self, now_ns: int) -> None:
        """Put the newest plan whose start has been reached in force."""
        while self._waiting and self._waiting[0].start_ns <= now_ns:
            self.current = self._waiting.popleft()

    def age(self, now_ns: int) -> Verdict:
        """Stage 3 for the newest plan."""
        return check_plan_age(self.newest, self.received_ns, self.fallbacks, now_ns, self.config)

    def sample(self, now_ns: int) -> Array | None:
        """Knots [J] rad/s of the plan in force at ``now_ns``; None without one or past its last knot."""
        if self.current is None:
            return None
        return interpolate(self.current, self.current.knots, now_ns)

    def malformed_recently(self, now_ns: int) -> int:
        """Malformed plans within the rejection window."""
        horizon = now_ns - round(self.config.rejection_window_s * 1e9)
        while self._malformed_ns and self._malformed_ns[0] < horizon:
            self._malformed_ns.popleft()
        return len(self._malformed_ns)

    def restart_count(self) -> None:
        """Ask for fresh plans anew, as after arming."""
        self.fresh = 0
        self.moved_by.clear()

    def _check_model(self, plan: Plan) -> Verdict:
        """No malice of the planner: it may not have heard yet."""
        reason = self.rejected_models.get(plan.model_id)
        if reason is None:
            return OK
        return Verdict(Action.BRAKE, Stage.SHAPE, f"model {plan.model_id} was rejected: {reason}")

    def _reject(self, verdict: Verdict, now_ns: int) -> None:
        self.rejected += 1
        if verdict.malformed:
            self.fresh = 0
            self._malformed_ns.append(now_ns)

    def _forget(self) -> None:
        """Another publisher took over: nothing of the former one may be sampled."""
        self.current, self.fresh, self.fallbacks = None, 0, 0
        self._waiting.clear()


def interpolate(plan: Plan, rows: Array, now_ns: int) -> Array | None:
    """Row [J] of ``rows`` [H+1, J] at ``now_ns``, linear between knots; None outside them."""
    elapsed = (now_ns - plan.start_ns) * 1e-9
    times = plan.times
    if not 0.0 <= elapsed <= times[-1]:
        return None
    index = min(int(np.searchsorted(times, elapsed, side="right")) - 1, len(times) - 2)
    part = (elapsed - times[index]) / (times[index + 1] - times[index])
    row: Array = rows[index] + part * (rows[index + 1] - rows[index])
    return row
