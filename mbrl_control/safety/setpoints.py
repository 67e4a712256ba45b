"""Position setpoints made from safe velocities: integrated from the measured position, never far from it.

A velocity controller needs no memory; a position controller does, and what is remembered may run away from the arm
(blocked, stopped by its own controller, not listening). So the integral starts at the measured position, is kept within
a leash of it, and starts anew after every silence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.safety.config import GuardLimits
from mbrl_control.signals import Array

LEASH_S = 0.08
"""The leash as time at the rated velocity: a drive whose position lags by twice this still gets to half the speed."""
FRESH_NS = 100_000_000
"""A measured position older than this moves no setpoint."""
SILENCE_NS = 100_000_000
"""After this long without a setpoint the next one begins anew. Longer than the watchdog's 20 ms, after which its
ramp still goes on from where the setpoint is."""
STEP_NS = 10_000_000
"""Most that one setpoint makes up for: after a pause the arm goes on, it does not catch up."""
AHEAD_S = 0.05
"""How far ahead the point of a trajectory lies: ten safe commands, and as long as the arm goes on when no more come."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Newest measured position; None: none yet."""

    position: Array | None = None
    """[J] rad."""
    received_ns: int = 0


@dataclass(frozen=True, slots=True)
class Setpoint:
    """Integral of the velocities; None: to be anchored at the measured position."""

    position: Array | None = None
    """[J] rad."""
    stamp_ns: int = 0


def advance(
    setpoint: Setpoint, velocity: Array, measured: Measured, limits: GuardLimits, now_ns: int
) -> tuple[Setpoint, Array | None]:
    """The setpoint [J] rad after following ``velocity`` [J] rad/s since the last one; None: nothing may be sent.

    The first one, and the first after a silence, is the measured position. Without a fresh measurement none is begun,
    and one that was begun stays where it is: holding still is safe.
    """
    fresh = measured.position is not None and now_ns - measured.received_ns <= FRESH_NS
    elapsed_ns = now_ns - setpoint.stamp_ns
    if setpoint.position is None or elapsed_ns > SILENCE_NS:
        if measured.position is None or not fresh:
            return Setpoint(), None
        return Setpoint(measured.position, now_ns), measured.position
    position = setpoint.position
    if measured.position is not None and fresh:
        leash = limits.velocity * LEASH_S
        wanted = position + velocity * (min(elapsed_ns, STEP_NS) * 1e-9)
        position = within(np.clip(wanted, measured.position - leash, measured.position + leash), measured, limits)
    return Setpoint(position, now_ns), position


def point_ahead(position: Array, velocity: Array, measured: Measured, limits: GuardLimits) -> Array:
    """End [J] rad of a trajectory that begins at ``position`` with ``velocity`` and is at rest `AHEAD_S` later.

    The cubic from (p, v) to (p + 2/3 v T, 0) in T is the one that begins without acceleration: while points keep coming
    the arm goes on at v, and when they stop it comes to rest by itself. Its end velocity is zero because
    joint_trajectory_controller refuses any other by default.
    """
    return within(position + velocity * (2.0 / 3.0 * AHEAD_S), measured, limits)


def within(position: Array, measured: Measured, limits: GuardLimits) -> Array:
    """Inside the joint limits; where the arm is beyond one, no further out than it is."""
    if measured.position is None:
        return np.clip(position, limits.lower, limits.upper)
    lower, upper = np.minimum(limits.lower, measured.position), np.maximum(limits.upper, measured.position)
    return np.clip(position, lower, upper)
