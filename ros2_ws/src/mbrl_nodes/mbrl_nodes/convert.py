"""Message <-> value type. The only place that knows the layout of the messages; joints go by name."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from builtin_interfaces.msg import Time
from mbrl_msgs.msg import BeliefState as BeliefMsg
from mbrl_msgs.msg import Goal as GoalMsg
from mbrl_msgs.msg import Plan as PlanMsg
from mbrl_msgs.msg import PlannerReport as ReportMsg
from mbrl_msgs.msg import SafeCommand as SafeCommandMsg
from numpy.typing import NDArray
from sensor_msgs.msg import JointState

from mbrl_control.command_interface import ON_WIRE
from mbrl_control.signals import (
    Array,
    BeliefState,
    CommandInterface,
    Goal,
    GoalKind,
    Plan,
    PlanOutcome,
    PlanReport,
    SafeCommand,
    SensorSample,
    Stage,
)


def interface_of(number: int, field: str) -> CommandInterface:
    """ValueError for a number that stands for none."""
    if number >= len(ON_WIRE):
        raise ValueError(f"{field}.interface: {number} is unknown; send VELOCITY or EFFORT")
    return ON_WIRE[number]


class JointNameError(ValueError):
    """A message names other joints than the arm."""


def stamp_from_ns(stamp_ns: int) -> Time:
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def ns_from_stamp(stamp: Time) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def doubles(values: Array) -> array[float]:
    """Flat float64[] field; an array.array is copied by rclpy without looking at each element."""
    flat = array("d")
    flat.frombytes(np.ascontiguousarray(values, dtype=np.float64).tobytes())
    return flat


def vector(field: array[float]) -> Array:
    """Flat float64[] field as a NumPy array (own copy)."""
    return np.array(field, dtype=np.float64)


def joint_order(names: Sequence[str], wanted: Sequence[str], field: str) -> NDArray[np.intp]:
    """Indices that bring ``names`` into the order of ``wanted``."""
    return _joint_order(tuple(names), tuple(wanted), field)


@lru_cache(maxsize=64)
def _joint_order(names: tuple[str, ...], wanted: tuple[str, ...], field: str) -> NDArray[np.intp]:
    """Cached: a topic's names hardly ever change, and a fast node asks hundreds of times a second."""
    missing = [name for name in wanted if name not in names]
    if missing:
        raise JointNameError(f"{field}: joints {missing} are missing; it has {list(names)}")
    order = np.array([names.index(name) for name in wanted], dtype=np.intp)
    order.flags.writeable = False
    return order


def sample_from_joint_state(msg: JointState, joint_names: Sequence[str]) -> SensorSample:
    """By name, in the arm's order. An absent effort reads as NaN; an absent velocity is an error."""
    order = joint_order(msg.name, joint_names, "joint_states.name")
    count = len(msg.name)
    if len(msg.position) != count or len(msg.velocity) != count:
        raise JointNameError(
            f"joint_states: {count} names, {len(msg.position)} positions and {len(msg.velocity)} velocities must "
            "agree; let joint_state_broadcaster publish position and velocity of every joint"
        )
    effort = vector(msg.effort)[order] if len(msg.effort) == count else np.full(len(order), np.nan)
    return SensorSample(
        ns_from_stamp(msg.header.stamp), vector(msg.position)[order], vector(msg.velocity)[order], effort
    )


def sample_to_joint_state(sample: SensorSample, joint_names: Sequence[str], frame_id: str) -> JointState:
    msg = JointState(name=list(joint_names))
    msg.header.stamp = stamp_from_ns(sample.stamp_ns)
    msg.header.frame_id = frame_id
    msg.position, msg.velocity, msg.effort = doubles(sample.position), doubles(sample.velocity), doubles(sample.effort)
    return msg


def belief_to_msg(belief: BeliefState, joint_names: Sequence[str]) -> BeliefMsg:
    packed = belief.covariance.reshape(-1, 4)[:, [0, 1, 3]]
    msg = BeliefMsg(stamp=stamp_from_ns(belief.stamp_ns), joint_names=list(joint_names))
    msg.position, msg.velocity = doubles(belief.position), doubles(belief.velocity)
    msg.effort, msg.covariance = doubles(belief.effort), doubles(packed)
    return msg


def belief_from_msg(msg: BeliefMsg, joint_names: Sequence[str]) -> BeliefState:
    order = joint_order(msg.joint_names, joint_names, "belief.joint_names")
    packed = vector(msg.covariance).reshape(-1, 3)[order]
    covariance = packed[:, [0, 1, 1, 2]].reshape(-1, 2, 2)
    return BeliefState(
        ns_from_stamp(msg.stamp),
        vector(msg.position)[order],
        vector(msg.velocity)[order],
        covariance,
        vector(msg.effort)[order],
    )


def goal_to_msg(goal: Goal, joint_names: Sequence[str], frame_id: str, label: str) -> GoalMsg:
    msg = GoalMsg(stamp=stamp_from_ns(goal.stamp_ns), kind=int(goal.kind), frame_id=frame_id, label=label)
    msg.position = [float(value) for value in goal.position]
    msg.joint_names, msg.joint, msg.sequence = list(joint_names), doubles(goal.joint), goal.sequence
    if goal.times is not None and goal.trajectory is not None:
        msg.trajectory_times, msg.trajectory = doubles(goal.times), doubles(goal.trajectory)
    return msg


def goal_from_msg(msg: GoalMsg, joint_names: Sequence[str]) -> Goal:
    order = joint_order(msg.joint_names, joint_names, "goal.joint_names")
    if len(msg.joint) != len(msg.joint_names):
        raise ValueError(
            f"goal.joint: {len(msg.joint)} values for {len(msg.joint_names)} joint names; send one each, of a goal for "
            "the tool the preferred posture"
        )
    return Goal(
        ns_from_stamp(msg.stamp),
        GoalKind(msg.kind),
        np.array(msg.position, dtype=np.float64),
        vector(msg.joint)[order],
        msg.sequence,
        *_trajectory(msg, order),
    )


def _trajectory(msg: GoalMsg, order: list[int]) -> tuple[Array | None, Array | None]:
    """Times [T] and rows [T, J or 3] of a moving goal; None of other goals and of a wrong number of rows."""
    kind, times, rows = GoalKind(msg.kind), vector(msg.trajectory_times), vector(msg.trajectory)
    columns = order if kind is GoalKind.TRAJECTORY else [0, 1, 2]
    if not kind.moving or rows.size != times.size * len(columns):
        return None, None
    return times, rows.reshape(len(times), len(columns))[:, columns]


def plan_to_msg(plan: Plan) -> PlanMsg:
    msg = PlanMsg(
        stamp=stamp_from_ns(plan.stamp_ns),
        start=stamp_from_ns(plan.start_ns),
        belief_stamp=stamp_from_ns(plan.belief_stamp_ns),
        optimized_stamp=stamp_from_ns(plan.optimized_stamp_ns),
        epoch=plan.epoch,
        sequence=plan.sequence,
        outcome=int(plan.outcome),
        model_id=plan.model_id,
        joint_names=list(plan.joint_names),
        interface=ON_WIRE.index(plan.interface),
    )
    msg.times, msg.knots = doubles(plan.times), doubles(plan.knots)
    msg.position, msg.velocity, msg.effort = doubles(plan.position), doubles(plan.velocity), doubles(plan.effort)
    msg.variance, msg.epistemic = doubles(plan.variance), doubles(plan.epistemic)
    return msg


def plan_from_msg(msg: PlanMsg) -> Plan:
    """Only the layout is read here; names, shapes and numbers are the guard's to judge."""
    if msg.interpolation != PlanMsg.LINEAR:
        raise ValueError(f"plan.interpolation: {msg.interpolation} is unknown; send LINEAR")
    count, joints = len(msg.times), max(1, len(msg.joint_names))
    return Plan(
        stamp_ns=ns_from_stamp(msg.stamp),
        start_ns=ns_from_stamp(msg.start),
        belief_stamp_ns=ns_from_stamp(msg.belief_stamp),
        optimized_stamp_ns=ns_from_stamp(msg.optimized_stamp),
        epoch=msg.epoch,
        sequence=msg.sequence,
        outcome=PlanOutcome(msg.outcome),
        model_id=msg.model_id,
        joint_names=tuple(msg.joint_names),
        times=vector(msg.times),
        knots=_rows(msg.knots, count, joints),
        position=_rows(msg.position, count, joints),
        velocity=_rows(msg.velocity, count, joints),
        effort=_rows(msg.effort, count, joints),
        variance=_rows(msg.variance, count, 3 * joints),
        epistemic=vector(msg.epistemic),
        interface=interface_of(msg.interface, "plan"),
    )


def _rows(field: array[float], rows: int, columns: int) -> Array:
    values = vector(field)
    return values.reshape(rows, columns) if values.size == rows * columns else values


def report_to_msg(
    report: PlanReport, plan: Plan | None, stamp_ns: int, skipped: int = 0, reason: str = ""
) -> ReportMsg:
    """``plan``: the one published in this cycle, if any."""
    msg = ReportMsg(
        stamp=stamp_from_ns(stamp_ns),
        deadline=stamp_from_ns(report.deadline_ns),
        cycle=report.cycle,
        plan_epoch=0 if plan is None else plan.epoch,
        plan_sequence=0 if plan is None else plan.sequence,
        outcome=int(report.outcome),
        model_id=report.model_id,
        iterations=report.iterations,
        refined=report.refined,
        lateness=report.lateness_s,
        rollforward=report.rollforward_s,
        optimize=report.optimize_s,
        total=report.total_s,
        slack=report.slack_s,
        best_cost=report.best_cost,
        method=report.method,
        rollouts=report.rollouts,
        delay=report.delay_s,
        goal_gap=report.goal_gap_m,
        skipped=skipped,
        reason=reason,
    )
    msg.term_names = [name for name, _ in report.terms]
    msg.terms = doubles(np.array([value for _, value in report.terms]))
    msg.disturbance = doubles(np.zeros(0) if report.disturbance is None else report.disturbance)
    return msg


def safe_command_to_msg(command: SafeCommand, joint_names: Sequence[str], tick: int, state: int) -> SafeCommandMsg:
    msg = SafeCommandMsg(
        stamp=stamp_from_ns(command.stamp_ns),
        tick=tick,
        epoch=command.epoch,
        sequence=command.sequence,
        joint_names=list(joint_names),
        plan_sequence=command.plan_sequence,
        limiting_stage=int(command.limiting_stage),
        state=state,
        reason=command.reason,
        drives_enabled=command.drives_enabled,
        interface=ON_WIRE.index(command.interface),
    )
    msg.requested, msg.applied = doubles(command.requested), doubles(command.applied)
    return msg


def safe_command_from_msg(msg: SafeCommandMsg, joint_names: Sequence[str]) -> SafeCommand:
    order = joint_order(msg.joint_names, joint_names, "safe_command.joint_names")
    return SafeCommand(
        ns_from_stamp(msg.stamp),
        msg.epoch,
        msg.sequence,
        vector(msg.requested)[order],
        vector(msg.applied)[order],
        msg.plan_sequence,
        Stage(msg.limiting_stage),
        msg.reason,
        msg.drives_enabled,
        interface_of(msg.interface, "safe_command"),
    )
