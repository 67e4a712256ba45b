"""Conditions of the operator's requests: each function says why not, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.safety.config import GuardConfig
from mbrl_control.safety.hold_law import Hold
from mbrl_control.safety.plan_track import PlanTrack, interpolate
from mbrl_control.safety.verdicts import Verdict
from mbrl_control.signals import SensorSample

RELAY_GRACE_S = 0.2
"""The relay needs one command of the new epoch before its reports are about it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer to a request; nothing changed unless ``success``."""

    success: bool
    message: str


def arm_refusal(state: Verdict, sample: SensorSample | None, config: GuardConfig) -> str:
    """Self-tests before drives go on: a trusted state, inside limits, at rest."""
    if sample is None or not state.ok:
        return f"cannot arm: {state.reason}"
    if np.abs(sample.velocity).max() > config.standstill_speed:
        return "cannot arm: the arm moves"
    return ""


def reset_refusal(
    state: Verdict, sample: SensorSample | None, unclear_ns: int, now_ns: int, config: GuardConfig
) -> str:
    """At rest, and the cause clear for a while; ``unclear_ns``: when it was last seen."""
    if sample is None or not state.ok:
        return f"cannot reset: {state.reason}"
    if np.abs(sample.velocity).max() > config.standstill_speed:
        return "cannot reset: the arm moves"
    if now_ns - unclear_ns < round(config.clear_s * 1e9):
        return f"cannot reset: the cause must be clear for {config.clear_s:g} s"
    return ""


def start_refusal(
    state: Verdict, plans: PlanTrack, sample: SensorSample | None, hold: Hold, now_ns: int, config: GuardConfig
) -> str:
    """Enough fresh plans, and a first command made for the pose the arm is in."""
    if sample is None or not state.ok:
        return f"cannot start: {state.reason}"
    if hold.pose is None:
        return "cannot start: not at standstill yet"
    age = plans.age(now_ns)
    if plans.newest is None or not age.ok:
        return f"cannot start: {age.reason}"
    if plans.fresh < config.fresh_plans:
        return f"cannot start: {plans.fresh} of {config.fresh_plans} fresh plans"
    plan = plans.newest
    expected = interpolate(plan, plan.position, max(now_ns, plan.start_ns))
    if expected is None or np.abs(expected - sample.position).max() > config.pose_tolerance:
        return f"cannot start: plan expects another pose than measured (tolerance {config.pose_tolerance:g} rad)"
    return ""
