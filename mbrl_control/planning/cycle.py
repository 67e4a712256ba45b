"""What one planner cycle gave, and its report for the log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from traceback import TracebackException

import numpy as np

from mbrl_control.planning.finite import NonFiniteBelief, NonFiniteStart
from mbrl_control.planning.optimize import AllScoresInvalid, Result
from mbrl_control.planning.problem import Best
from mbrl_control.planning.protocol import ModelFailed
from mbrl_control.planning.rollforward import StaleBelief, StartState
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, BeliefState, Plan, PlanOutcome, PlanReport


class BudgetEnded(Exception):
    """There was no time for a single iteration."""


class NotReady(Exception):
    """There was nothing to plan with, or from: no model or no belief."""


class Unexpected(Exception):
    """What nobody foresaw: a fault of the program, or of what it was given, in words. It costs a cycle, no process."""

    def __init__(self, error: Exception, after: Exception | None = None) -> None:
        """``after``: what had failed before, where it came of dealing with that."""
        # Holds no frames, and reads no source before somebody asks for the text.
        self._told = TracebackException.from_exception(error, lookup_lines=False)
        raised = self._told.stack[-1] if self._told.stack else None
        self.place = "nowhere" if raised is None else f"{Path(raised.filename).name}:{raised.lineno}"
        """File and line that raised it."""
        super().__init__(
            f"{type(error).__name__}: {error} ({self.place}); a fault of the program, its traceback is in the "
            f"planner's log{f'; before it: {after}' if after is not None else ''}"
        )

    def trace(self) -> str:
        """The traceback; reads source files."""
        return "".join(self._told.format())


FORESEEN = (NonFiniteBelief, NonFiniteStart, StaleBelief, AllScoresInvalid, ModelFailed, Unexpected)
"""Failures that say themselves what to do."""


def named(error: Exception) -> Exception:
    """The failure of a cycle that ``error`` has ended."""
    # Without its traceback: that would hold its frames, and one of those holds it, until the collector comes by.
    return error.with_traceback(None) if isinstance(error, FORESEEN) else Unexpected(error)


@dataclass(frozen=True, slots=True)
class Attempt:
    """To plan anew in one cycle."""

    plan: Plan | None
    result: Result | None
    rolled_ns: int
    optimized_ns: int
    failure: Exception | None
    """Why there is no plan."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """What one cycle gave; ``plan`` is None when nothing was left to go on with either."""

    plan: Plan | None
    report: PlanReport
    failure: Exception | None = None
    """Why it optimized nothing; None: it did."""
    trial: bool = False
    """It refined whatever that took, as nobody followed its plan (`Pace`): late on purpose, where it was."""

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


@dataclass(frozen=True, slots=True)
class Issue:
    """What tells one plan of a planner from its others."""

    stamp_ns: int
    epoch: int
    sequence: int
    complete: bool
    """All iterations were done, or the search has converged."""
    model_id: str
    dt_s: float


def optimized_plan(
    arm: Arm, issue: Issue, belief: BeliefState, start: StartState, result: Result, pushed: Array
) -> Plan:
    """From ``start``, which was rolled from ``belief``; its commands are without what acts besides, ``pushed`` [J]."""
    best, joints = result.best, arm.joints
    return Plan(
        stamp_ns=issue.stamp_ns,
        start_ns=start.start_ns,
        belief_stamp_ns=belief.stamp_ns,
        optimized_stamp_ns=result.finished_ns,
        epoch=issue.epoch,
        sequence=issue.sequence,
        outcome=PlanOutcome.OPTIMIZED if issue.complete else PlanOutcome.BUDGET_ENDED,
        model_id=issue.model_id,
        joint_names=arm.joint_names,
        times=np.arange(len(best.knots) + 1, dtype=np.float64) * issue.dt_s,
        knots=np.vstack([start.first_knot, best.knots]) - pushed,
        position=np.vstack([start.state[:joints], best.position]),
        velocity=np.vstack([start.state[joints : 2 * joints], best.velocity]),
        effort=np.vstack([best.effort[:1], best.effort]) - pushed,
        variance=np.vstack([_start_variance(belief, best), best.variance]),
        epistemic=np.concatenate([[0.0], best.epistemic]),
        interface=arm.interface,
    )


def _start_variance(belief: BeliefState, best: Best) -> Array:
    """Row 0 of a plan's variance [3J]: the belief's position and velocity, the first step's effort."""
    joints = len(belief.position)
    covariance = belief.covariance
    return np.concatenate([covariance[:, 0, 0], covariance[:, 1, 1], best.variance[0, 2 * joints :]])


def without_plan(
    cycle: int, deadline_ns: int, now_ns: int, lateness_s: float, method: str, failure: Exception
) -> Cycle:
    """Of a cycle that could not begin, or went wrong outside the planner; its report names no model."""
    timing = Timing(now_ns, now_ns, now_ns, now_ns, lateness_s)
    report = report_of(cycle, Source("", method, "", 0.0, 0.0), None, None, timing, deadline_ns, None)
    return Cycle(None, report, failure)
