"""Recorded inputs of the planner and the guard, taken from a run's log for the reference runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.command_interface import ON_WIRE
from mbrl_control.episode_log import schema
from mbrl_control.episode_log.reader import LogReader, stamp_ns
from mbrl_control.signals import Array, BeliefState, Goal, GoalKind, Plan, PlanOutcome, SensorSample

PERIOD_NS = 20_000_000_000
"""Length of the recording that is repeated."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Streams of one stretch of the log, each in order of time; stamps as recorded."""

    begin_ns: int
    end_ns: int
    beliefs: tuple[BeliefState, ...]
    belief_ns: NDArray[np.int64]
    """[N] stamp of each."""
    commands: tuple[tuple[int, Array], ...]
    goals: tuple[Goal, ...]
    plans: tuple[Plan, ...]
    plan_ns: NDArray[np.int64]
    samples: tuple[SensorSample, ...]
    sample_ns: NDArray[np.int64]


def record(log: Path) -> Recording:
    """The last 20 s in which targets were given."""
    topics = (schema.BELIEF, schema.SAFE_COMMAND, schema.GOAL, schema.PLAN, schema.JOINT_STATES)
    found = LogReader(log).decoded(topics)
    streams = {topic: [(_stamp(topic, message), message) for message in found[topic]] for topic in topics}
    end = streams[schema.GOAL][-1][0]
    begin = end - PERIOD_NS

    def cut(topic: schema.Topic) -> list[tuple[int, Any]]:
        return [(stamp, message) for stamp, message in streams[topic] if begin <= stamp < end]

    beliefs, plans, samples = cut(schema.BELIEF), cut(schema.PLAN), cut(schema.JOINT_STATES)
    return Recording(
        begin,
        end,
        tuple(_belief(message) for _, message in beliefs),
        np.array([stamp for stamp, _ in beliefs]),
        tuple((stamp_ns(m.stamp), np.asarray(m.applied)) for _, m in cut(schema.SAFE_COMMAND)),
        tuple(_goal(message) for _, message in cut(schema.GOAL)),
        tuple(_plan(message) for _, message in plans),
        np.array([stamp for stamp, _ in plans]),
        tuple(_sample(message) for _, message in samples),
        np.array([stamp for stamp, _ in samples]),
    )


def shift_plan(plan: Plan, offset_ns: int, epoch: int, sequence: int) -> Plan:
    """The plan as if it were made ``offset_ns`` later."""
    return replace(
        plan,
        stamp_ns=plan.stamp_ns + offset_ns,
        start_ns=plan.start_ns + offset_ns,
        belief_stamp_ns=plan.belief_stamp_ns + offset_ns,
        optimized_stamp_ns=plan.optimized_stamp_ns + offset_ns,
        epoch=epoch,
        sequence=sequence,
    )


def _stamp(topic: schema.Topic, message: Any) -> int:
    """In the message itself: the logger's receive time is no finer than its polling."""
    return stamp_ns(message.header.stamp if topic is schema.JOINT_STATES else message.stamp)


def _belief(message: Any) -> BeliefState:
    packed = np.asarray(message.covariance).reshape(-1, 3)
    return BeliefState(
        stamp_ns(message.stamp),
        np.asarray(message.position),
        np.asarray(message.velocity),
        packed[:, [0, 1, 1, 2]].reshape(-1, 2, 2),
        np.asarray(message.effort),
    )


def _goal(message: Any) -> Goal:
    position, joint = np.asarray(message.position), np.asarray(message.joint)
    stamp, kind = stamp_ns(message.stamp), GoalKind(message.kind)
    if not kind.moving:
        return Goal(stamp, kind, position, joint, message.sequence)
    times = np.asarray(message.trajectory_times)
    return Goal(
        stamp, kind, position, joint, message.sequence, times, np.asarray(message.trajectory).reshape(len(times), -1)
    )


def _sample(message: Any) -> SensorSample:
    position, velocity = np.asarray(message.position), np.asarray(message.velocity)
    return SensorSample(stamp_ns(message.header.stamp), position, velocity, np.asarray(message.effort))


def _plan(message: Any) -> Plan:
    rows, joints = len(message.times), len(message.joint_names)

    def table(field: Any, columns: int) -> Array:
        return np.asarray(field, dtype=np.float64).reshape(rows, columns)

    return Plan(
        stamp_ns=stamp_ns(message.stamp),
        start_ns=stamp_ns(message.start),
        belief_stamp_ns=stamp_ns(message.belief_stamp),
        optimized_stamp_ns=stamp_ns(message.optimized_stamp),
        epoch=message.epoch,
        sequence=message.sequence,
        outcome=PlanOutcome(message.outcome),
        model_id=message.model_id,
        joint_names=tuple(message.joint_names),
        times=np.asarray(message.times),
        knots=table(message.knots, joints),
        position=table(message.position, joints),
        velocity=table(message.velocity, joints),
        effort=table(message.effort, joints),
        variance=table(message.variance, 3 * joints),
        epistemic=np.asarray(message.epistemic),
        interface=ON_WIRE[message.interface],
    )
