"""Stages that judge: finite, shape and order of a plan; age of plan and state. Pure; worst action wins."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from mbrl_control.safety.config import GuardConfig, GuardLimits
from mbrl_control.signals import Plan, PlanOutcome, SensorSample, Stage


class Action(IntEnum):
    """What a verdict asks for, mildest first."""

    PASS = 0
    BRAKE = 1
    """Brake now; carry on by itself when the cause is gone."""
    HOLD = 2
    LATCH = 3
    """Protective stop."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``malformed`` marks a plan no sound publisher sends; three of them latch."""

    action: Action
    stage: Stage = Stage.NONE
    reason: str = ""
    malformed: bool = False

    @property
    def ok(self) -> bool:
        return self.action == Action.PASS


OK = Verdict(Action.PASS)


def worst(*verdicts: Verdict) -> Verdict:
    """The verdict with the severest action; the first of equals."""
    return max(verdicts, key=lambda verdict: verdict.action)


def check_plan_content(plan: Plan, limits: GuardLimits, config: GuardConfig) -> Verdict:
    """Stages 1 and 2 as far as the plan alone tells: shapes, joint names, finite numbers, no large excess."""
    count, joints = len(plan.times), len(limits.joint_names)
    if plan.interface is not limits.interface:
        return _refuse(Stage.SHAPE, f"holds {plan.interface} knots, the arm takes {limits.interface}", malformed=True)
    if plan.joint_names != limits.joint_names:
        return _refuse(Stage.SHAPE, f"joint names {list(plan.joint_names)} are not the arm's", malformed=True)
    shapes = {"knots": joints, "position": joints, "velocity": joints, "effort": joints, "variance": 3 * joints}
    for name, columns in shapes.items():
        if getattr(plan, name).shape != (count, columns):
            return _refuse(Stage.SHAPE, f"{name} is not [{count}, {columns}]", malformed=True)
    if count < 2 or plan.times.shape != (count,) or plan.epistemic.shape != (count,):
        return _refuse(Stage.SHAPE, "times and epistemic need the same length, at least 2", malformed=True)
    for name in ("times", "epistemic", *shapes):
        if not np.isfinite(getattr(plan, name)).all():
            return _refuse(Stage.FINITE, f"{name} is not finite", malformed=True)
    if plan.times[0] != 0.0 or (plan.times[1:] <= plan.times[:-1]).any():
        return _refuse(Stage.SHAPE, "times must start at 0 and increase", malformed=True)
    if plan.outcome == PlanOutcome.FAILED:
        return _refuse(Stage.SHAPE, "a failed plan must not be published", malformed=True)
    excess = np.abs(plan.knots).max(axis=0) / limits.command
    if excess.max() > config.excess_factor:
        name = limits.joint_names[int(excess.argmax())]
        return _refuse(Stage.VELOCITY, f"{name}: {excess.max():.2f} x the largest command", malformed=True)
    return OK


def check_plan_order(plan: Plan, newest: Plan | None, frozen: bool, now_ns: int, config: GuardConfig) -> Verdict:
    """Stage 2 in the stream: epoch and sequence against the newest plan, stamps against now.

    ``frozen``: the epoch may not change now (RUNNING, HOLD). These refusals are no malice: a late or
    replayed plan costs freshness, which the age stage judges.
    """
    if newest is not None and plan.epoch < newest.epoch:
        return _refuse(Stage.SHAPE, f"epoch {plan.epoch} is older than {newest.epoch}")
    if newest is not None and plan.epoch > newest.epoch and frozen:
        return _refuse(Stage.SHAPE, f"new epoch {plan.epoch} while running {newest.epoch}")
    if newest is not None and plan.epoch == newest.epoch and plan.sequence <= newest.sequence:
        return _refuse(Stage.SHAPE, f"sequence {plan.sequence} after {newest.sequence}")
    latest = now_ns + round(config.future_s * 1e9)
    for name in ("stamp_ns", "belief_stamp_ns", "optimized_stamp_ns"):
        if getattr(plan, name) > latest:
            return _refuse(Stage.SHAPE, f"{name} lies in the future")
    early = plan.start_ns - now_ns
    if not -round(config.start_late_s * 1e9) <= early <= round(config.start_early_s * 1e9):
        return _refuse(Stage.SHAPE, f"start is {early * 1e-6:.1f} ms from now, outside the window")
    return OK


def check_plan_age(plan: Plan | None, received_ns: int, fallbacks: int, now_ns: int, config: GuardConfig) -> Verdict:
    """Stage 3 for the newest accepted plan; ``fallbacks``: plans in a row that are none of their cycle's making."""
    if plan is None:
        return Verdict(Action.BRAKE, Stage.AGE, "no plan")
    period = config.plan_period_s * 1e9
    received = (now_ns - received_ns) / period
    belief = (now_ns - plan.belief_stamp_ns) / period
    optimized = (now_ns - plan.optimized_stamp_ns) / period
    text = f"plan age in periods: received {received:.2f}, belief {belief:.2f}, optimized {optimized:.2f}"
    if max(received, belief, optimized) > config.plan_latch_periods:
        return Verdict(Action.LATCH, Stage.AGE, text)
    if fallbacks > config.fallback_limit:
        return Verdict(Action.HOLD, Stage.AGE, f"{fallbacks} fallback plans in a row")
    if received > config.plan_brake_periods or max(belief, optimized) > config.plan_brake_periods + 1.0:
        return Verdict(Action.BRAKE, Stage.AGE, text)
    return OK


def check_state_age(stamp_ns: int, received_ns: int, now_ns: int, config: GuardConfig) -> Verdict:
    """Stage 3 for the measured state, by its own stamp and by receive time, whichever is older."""
    age = (now_ns - min(stamp_ns, received_ns)) / (config.state_period_s * 1e9)
    if age > config.state_latch_periods:
        return Verdict(Action.LATCH, Stage.AGE, f"state is {age:.1f} periods old")
    if age > config.state_hold_periods:
        return Verdict(Action.HOLD, Stage.AGE, f"state is {age:.1f} periods old")
    return OK


def check_state(sample: SensorSample, limits: GuardLimits) -> Verdict:
    """The measured state itself: shape, finite, inside the position limits. Effort may be absent (NaN)."""
    joints = (len(limits.joint_names),)
    if sample.position.shape != joints or sample.velocity.shape != joints:
        return Verdict(Action.LATCH, Stage.SHAPE, f"state needs {joints[0]} positions and velocities")
    if not (np.isfinite(sample.position).all() and np.isfinite(sample.velocity).all()):
        return Verdict(Action.LATCH, Stage.FINITE, "measured state is not finite")
    beyond = (sample.position < limits.lower) | (sample.position > limits.upper)
    if beyond.any():
        name = limits.joint_names[int(beyond.argmax())]
        return Verdict(Action.LATCH, Stage.POSITION, f"{name} measured beyond its position limit")
    return OK


def _refuse(stage: Stage, reason: str, malformed: bool = False) -> Verdict:
    return Verdict(Action.BRAKE, stage, reason, malformed)
