"""What the figures need of a log, as arrays in the order of time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.cadence import plan_budget_ns
from mbrl_control.episode_log.reader import LogReader, stamp_ns
from mbrl_control.episode_log.schema import (
    BELIEF,
    GOAL,
    JOINT_STATES,
    MODEL_STATUS,
    PHASE,
    PLAN,
    PLANNER_REPORT,
    SAFE_COMMAND,
    SAFETY_STATUS,
    Topic,
)
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.report.errors import ReportError
from mbrl_control.report.stops import stops_of
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, GoalKind, PlanOutcome

PLAN_PERIOD_NS = 20_000_000
"""Of the demo's planner."""


@dataclass(frozen=True, slots=True)
class GoalEvent:
    """A goal of the demo: label `<phase>/<index>`."""

    stamp_ns: int
    phase: str
    index: int
    position: Array
    """[3] m, base frame."""
    window_s: float = 3.0
    """What is judged begins with the stamp and lasts so long."""
    times: Array | None = None
    path: Array | None = None
    """[T] s since the stamp and [T, 3] m: where the tool should be, of a goal that moves."""

    def place(self, elapsed: Array) -> Array:
        """[N, 3] m where the tool should be ``elapsed`` [N] s after the stamp."""
        if self.times is None or self.path is None:
            return np.broadcast_to(self.position, (len(elapsed), 3))
        return np.stack([np.interp(elapsed, self.times, column) for column in self.path.T], axis=1)


@dataclass(frozen=True, slots=True)
class Cycles:
    """[N] planner cycles."""

    stamp_ns: NDArray[np.int64]
    index: NDArray[np.int64]
    deadline_ns: NDArray[np.int64]
    slack_s: Array
    """From the publication of a plan with a newly finished iteration (the middleware's time, not the node's) to the
    deadline; NaN without such a plan."""

    @property
    def on_time(self) -> NDArray[np.bool_]:
        """A newly optimized plan was published by the deadline."""
        return self.slack_s >= 0.0


@dataclass(frozen=True, slots=True)
class Plans:
    """[N] plans of the planner (none of the collector)."""

    stamp_ns: NDArray[np.int64]
    model_id: tuple[str, ...]
    start_ns: NDArray[np.int64]
    step_s: Array
    """[N] s from knot 0 to knot 1."""
    velocity: Array
    """[N, J] rad/s predicted one step after knot 0."""
    epistemic: Array
    """[N] rad/s, mean over the horizon."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """[N] ticks of the guard."""

    stamp_ns: NDArray[np.int64]
    index: NDArray[np.int64]
    state: NDArray[np.int64]
    applied: Array
    """[N, J] rad/s."""
    drives_enabled: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RunData:
    """One run's log."""

    goals: tuple[GoalEvent, ...]
    cycles: Cycles
    plans: Plans
    ticks: Ticks
    sensor_ns: NDArray[np.int64]
    """Stamps of joint_states."""
    belief_ns: NDArray[np.int64]
    belief_velocity: Array
    """[B, J] rad/s."""
    delay_s: dict[str, float]
    """Command delay by model id."""
    stops: dict[str, list[str]]
    """Reasons of the guard's stops by phase."""


def read_run(path: Path, arm: Arm, plan_period_ns: int = PLAN_PERIOD_NS) -> RunData:
    """Read the log of a run of ``arm`` once. ReportError when a needed topic is empty, LogError when it is no log."""
    needed = (BELIEF, GOAL, JOINT_STATES, PLAN, PLANNER_REPORT, SAFE_COMMAND)
    topics = (*needed, MODEL_STATUS, PHASE, SAFETY_STATUS)
    found: dict[Topic, list[Any]] = {topic: [] for topic in topics}
    published: dict[Topic, list[int]] = {topic: [] for topic in topics}
    for topic, publish_ns, message in LogReader(path).messages(topics):
        found[topic].append(message)
        published[topic].append(publish_ns)
    for topic in needed:
        if not found[topic]:
            raise ReportError(f"{path}: {topic.name}: holds no message; give the log of a whole run")
    beliefs = found[BELIEF]
    return RunData(
        goals=tuple(goal for m in found[GOAL] if (goal := _goal(m, arm)) is not None),
        cycles=_cycles(
            [m for m in found[PLANNER_REPORT] if _began(m)],
            _optimized(found[PLAN], published[PLAN]),
            plan_budget_ns(plan_period_ns),
        ),
        plans=_plans([m for m in found[PLAN] if m.outcome != PlanOutcome.EXCITATION]),
        ticks=_ticks(found[SAFE_COMMAND]),
        sensor_ns=np.array([stamp_ns(m.header.stamp) for m in found[JOINT_STATES]], dtype=np.int64),
        belief_ns=_stamps(beliefs),
        belief_velocity=np.array([m.velocity for m in beliefs], dtype=np.float64),
        delay_s={m.model_id: float(m.delay) for m in found[MODEL_STATUS]},
        stops=stops_of(found[SAFETY_STATUS], list(zip(published[PHASE], [m.data for m in found[PHASE]], strict=True))),
    )


def _stamps(messages: list[Any]) -> NDArray[np.int64]:
    return np.array([stamp_ns(m.stamp) for m in messages], dtype=np.int64)


def _goal(message: Any, arm: Arm) -> GoalEvent | None:
    """A goal that the demo did not label (an operator's) is no target of a phase."""
    phase, separator, index = message.label.rpartition("/")
    if not separator or not index.isdecimal():
        return None
    stamp, position = stamp_ns(message.stamp), np.array(message.position, dtype=np.float64)
    if not GoalKind(message.kind).moving:
        return GoalEvent(stamp, phase, int(index), position)
    times = np.array(message.trajectory_times, dtype=np.float64)
    rows = np.array(message.trajectory, dtype=np.float64).reshape(len(times), -1)
    order = [list(message.joint_names).index(name) for name in arm.joint_names]
    path = rows if message.kind == GoalKind.TOOL_TRAJECTORY else forward_kinematics(arm, rows[:, order])
    return GoalEvent(stamp, phase, int(index), path[0], float(times[-1]), times, path)


def _began(report: Any) -> bool:
    """A cycle of a planner that had a model, and a belief: before, no plan is due."""
    return bool(report.model_id) or report.outcome != PlanOutcome.FAILED


def _optimized(plans: list[Any], published_ns: list[int]) -> dict[tuple[int, int], tuple[int, int]]:
    """(optimized, published) ns by (epoch, sequence) of the plans that say they come from a new optimization."""
    finished = (PlanOutcome.OPTIMIZED, PlanOutcome.BUDGET_ENDED)
    return {
        (plan.epoch, plan.sequence): (stamp_ns(plan.optimized_stamp), when)
        for plan, when in zip(plans, published_ns, strict=True)
        if plan.outcome in finished
    }


def _cycles(messages: list[Any], optimized: dict[tuple[int, int], tuple[int, int]], budget_ns: int) -> Cycles:
    """``budget_ns``: from a tick to its deadline."""
    deadline = [stamp_ns(m.deadline) for m in messages]
    plans = [optimized.get((m.plan_epoch, m.plan_sequence)) for m in messages]
    slack = [_slack_s(plan, due, budget_ns) for plan, due in zip(plans, deadline, strict=True)]
    return Cycles(
        stamp_ns=_stamps(messages),
        index=np.array([m.cycle for m in messages], dtype=np.int64),
        deadline_ns=np.array(deadline, dtype=np.int64),
        slack_s=np.array(slack, dtype=np.float64),
    )


def _slack_s(plan: tuple[int, int] | None, deadline_ns: int, budget_ns: int) -> float:
    """From publication to the deadline; NaN without a plan, or with one whose optimization is of an earlier cycle."""
    if plan is None or plan[0] < deadline_ns - budget_ns:
        return math.nan
    return (deadline_ns - plan[1]) * 1e-9


def _plans(messages: list[Any]) -> Plans:
    joints = len(messages[0].joint_names) if messages else 0
    return Plans(
        stamp_ns=_stamps(messages),
        model_id=tuple(m.model_id for m in messages),
        start_ns=np.array([stamp_ns(m.start) for m in messages], dtype=np.int64),
        step_s=np.array([m.times[1] for m in messages], dtype=np.float64),
        velocity=np.array([m.velocity[joints : 2 * joints] for m in messages], dtype=np.float64),
        epistemic=np.array([np.mean(m.epistemic) for m in messages], dtype=np.float64),
    )


def _ticks(messages: list[Any]) -> Ticks:
    return Ticks(
        stamp_ns=_stamps(messages),
        index=np.array([m.tick for m in messages], dtype=np.int64),
        state=np.array([m.state for m in messages], dtype=np.int64),
        applied=np.array([m.applied for m in messages], dtype=np.float64),
        drives_enabled=np.array([m.drives_enabled for m in messages], dtype=np.bool_),
    )
