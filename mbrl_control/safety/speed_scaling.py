"""The robot's own speed scaling (UR: speed slider, pause, protective stop), as told on a topic in percent.

Below 100 % the guard's speed cap shrinks with it. At 0, at nonsense and in silence the arm is held: a robot that
pauses itself, or of which nobody knows, is not to be commanded. The hold is an operator's hold: when the robot carries
on, only an operator's start brings motion, as after any other hold of unknown length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mbrl_control.safety.guard_core import GuardCore
from mbrl_control.safety.state_machine import Event

STALE_NS = 500_000_000
"""Longest silence. ur_robot_driver publishes it at 100 Hz; a few lost messages are no news, half a second is."""
LEAST = 0.01
"""Share of the speed below which the robot counts as paused; the guard's cap has to be positive."""


@dataclass(frozen=True, slots=True)
class SpeedScaling:
    """Newest word of the robot."""

    percent: float = 0.0
    received_ns: int | None = None
    """None: nothing heard yet."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the robot lets us do now."""

    share: float
    """Of the guard's own speed cap, above 0 and at most 1."""
    pause: str
    """Why the arm has to be held; empty: it has not."""


def impose(core: GuardCore, scaling: SpeedScaling, own_scale: float, now_ns: int) -> None:
    """Cap the guard's speed at ``own_scale`` times the robot's share; hold where it pauses. Before every tick.

    Where the drives are off or the arm is held already, holding again changes nothing.
    """
    allowed = judge(scaling, now_ns)
    core.set_speed_scale(own_scale * allowed.share)
    if allowed.pause:
        core.raise_severity(Event.REQUEST_HOLD, allowed.pause, now_ns)


def judge(scaling: SpeedScaling, now_ns: int) -> Allowed:
    """Share of the speed, or the reason for a pause; in a pause the share is the least one."""
    if scaling.received_ns is None:
        return Allowed(LEAST, "speed scaling: nothing heard yet")
    silent_ns = now_ns - scaling.received_ns
    if silent_ns > STALE_NS:
        return Allowed(LEAST, f"speed scaling: silent for more than {STALE_NS * 1e-9:g} s")
    if not math.isfinite(scaling.percent) or scaling.percent < 0.0:
        return Allowed(LEAST, f"speed scaling: {scaling.percent} is no percentage")
    if scaling.percent < 100.0 * LEAST:
        return Allowed(LEAST, "speed scaling: the robot pauses")
    return Allowed(min(1.0, scaling.percent / 100.0), "")
