"""Brake to standstill, capture the pose, hold it closed on position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.safety.config import GuardConfig
from mbrl_control.signals import Array

AT_REST = 1e-3
"""rad/s; a command below this counts as zero."""


@dataclass(frozen=True, slots=True)
class Hold:
    """``pose`` [J] rad once captured; None while braking."""

    pose: Array | None = None


def advance_hold(hold: Hold, command: Array, position: Array, velocity: Array, config: GuardConfig) -> Hold:
    """Capture the measured pose when command and arm [J] have come to rest."""
    if hold.pose is not None or np.abs(command).max() > AT_REST:
        return hold
    if np.abs(velocity).max() > config.standstill_speed:
        return hold
    return Hold(position.copy())


def hold_request(hold: Hold, position: Array, config: GuardConfig) -> Array:
    """Velocity [J] rad/s: zero while braking, else proportional to the error."""
    if hold.pose is None:
        return np.zeros_like(position)
    request: Array = np.clip(config.hold_gain * (hold.pose - position), -config.hold_speed, config.hold_speed)
    return request


def standstill_lost(hold: Hold, position: Array, velocity: Array, config: GuardConfig) -> bool:
    """Whether a held arm moves although it must not."""
    if hold.pose is None:
        return False
    far = np.abs(position - hold.pose).max() > config.lost_distance
    return bool(far or np.abs(velocity).max() > config.lost_speed)
