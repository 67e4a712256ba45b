"""Brake to standstill, capture the pose, hold it closed on position, also under a load the servo gives way to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mbrl_control.safety.config import GuardConfig
from mbrl_control.signals import Array

AT_REST = 1e-3
"""rad/s; a command below this counts as zero."""


@dataclass(frozen=True, slots=True)
class Hold:
    """``pose`` [J] rad once captured; None while braking."""

    pose: Array | None = None
    bias: Array | None = None
    """[J] rad/s, the integral part of the hold: what the load takes."""
    waited_s: float = 0.0
    """At a zero command without having come to rest."""
    settling_s: float = 0.0
    """Left until a pose that was captured in motion counts as one that can be lost."""


def advance_hold(
    hold: Hold, command: Array, position: Array, velocity: Array, rated: Array, config: GuardConfig
) -> Hold:
    """Capture the measured pose when command and arm [J] have come to rest; then one tick of the integral.

    An arm that sinks under its load at a zero command never comes to rest: after a while it is caught in motion.
    """
    if hold.pose is not None:
        assert hold.bias is not None
        error = hold.pose - position
        most = config.hold_share * rated
        bias = hold.bias + config.hold_gain * config.hold_integral * error * config.tick_s
        return replace(hold, bias=np.clip(bias, -most, most), settling_s=max(0.0, hold.settling_s - config.tick_s))
    if np.abs(command).max() > AT_REST:
        return hold
    at_rest = np.abs(velocity).max() <= config.standstill_speed
    if at_rest or hold.waited_s >= config.capture_s:
        return Hold(position.copy(), np.zeros_like(position), settling_s=0.0 if at_rest else config.settle_s)
    return replace(hold, waited_s=hold.waited_s + config.tick_s)


def hold_request(hold: Hold, position: Array, rated: Array, config: GuardConfig) -> Array:
    """Velocity [J] rad/s: zero while braking, else proportional and integral, within a share of ``rated`` [J]."""
    if hold.pose is None or hold.bias is None:
        return np.zeros_like(position)
    most = config.hold_share * rated
    request: Array = np.clip(config.hold_gain * (hold.pose - position) + hold.bias, -most, most)
    return request


def standstill_lost(hold: Hold, position: Array, velocity: Array, config: GuardConfig) -> bool:
    """In a protective stop: whether a held arm moves although it must not."""
    if hold.pose is None or hold.settling_s > 0.0:
        return False
    far = np.abs(position - hold.pose).max() > config.lost_distance
    return bool(far or np.abs(velocity).max() > config.lost_speed)


def drifted(hold: Hold, position: Array, config: GuardConfig) -> bool:
    """Anywhere else: whether the hold does not keep the arm where it was."""
    return hold.pose is not None and bool(np.abs(position - hold.pose).max() > config.drift_distance)
