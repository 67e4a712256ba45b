"""What one planner cycle gave, and its report for the log."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.planning.optimize import Result
from mbrl_control.planning.problem import Best
from mbrl_control.signals import Array, BeliefState, Plan, PlanOutcome, PlanReport


class BudgetEnded(Exception):
    """There was no time for a single iteration."""


class NotReady(Exception):
    """There was nothing to plan with, or from: no model or no belief."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """What one cycle gave; ``plan`` is None when nothing was left to go on with either."""

    plan: Plan | None
    report: PlanReport
    failure: Exception | None = None
    """Why it optimized nothing; None: it did."""

    @property
    def reason(self) -> str:
        """The failure in words, empty without one."""
        return "" if self.failure is None else str(self.failure)


@dataclass(frozen=True, slots=True)
class Timing:
    """Moments of one cycle, ns of the planner's clock."""

    begun_ns: int
    rolled_ns: int
    optimized_ns: int
    ended_ns: int
    lateness_s: float
    """Wake-up after the deadline of the tick."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a cycle planned with."""

    model_id: str
    method: str
    rollouts: str
    delay_s: float
    goal_gap_m: float


def report_of(
    cycle: int,
    source: Source,
    plan: Plan | None,
    result: Result | None,
    timing: Timing,
    deadline_ns: int,
    disturbance: Array | None,
) -> PlanReport:
    """Of cycle number ``cycle``, whose plan was due at ``deadline_ns``; ``disturbance`` [J] N m it was made with."""
    refined = 0 if result is None else result.refined
    return PlanReport(
        cycle=cycle,
        deadline_ns=deadline_ns,
        outcome=PlanOutcome.FAILED if plan is None else plan.outcome,
        model_id=source.model_id,
        iterations=0 if result is None else result.iterations,
        lateness_s=timing.lateness_s,
        rollforward_s=(timing.rolled_ns - timing.begun_ns) * 1e-9,
        optimize_s=(timing.optimized_ns - timing.rolled_ns) * 1e-9,
        total_s=(timing.ended_ns - timing.begun_ns) * 1e-9,
        slack_s=(deadline_ns - timing.ended_ns) * 1e-9,
        best_cost=float("nan") if result is None else result.best.cost,
        terms=() if result is None else result.best.terms,
        method=source.method,
        rollouts=source.rollouts,
        delay_s=source.delay_s,
        goal_gap_m=source.goal_gap_m,
        disturbance=disturbance,
        refined=refined,
    )


def start_variance(belief: BeliefState, best: Best) -> Array:
    """Row 0 of a plan's variance [3J]: the belief's position and velocity, the first step's effort."""
    joints = len(belief.position)
    covariance = belief.covariance
    return np.concatenate([covariance[:, 0, 0], covariance[:, 1, 1], best.variance[0, 2 * joints :]])


def not_ready(cycle: int, deadline_ns: int, now_ns: int, lateness_s: float, method: str, reason: str) -> Cycle:
    """Of a cycle that could not begin; its report names no model."""
    timing = Timing(now_ns, now_ns, now_ns, now_ns, lateness_s)
    report = report_of(cycle, Source("", method, "", 0.0, 0.0), None, None, timing, deadline_ns, None)
    return Cycle(None, report, NotReady(reason))
