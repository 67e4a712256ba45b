"""What goes out when a cycle has optimized nothing: the last plan's rest, then deceleration, then holding still.

Every one of them keeps the last optimized stamp, by which the guard judges and brakes on its own; it holds after as
many fallbacks in a row as are shifted here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mbrl_control.planning.shifted import shifted_plan
from mbrl_control.signals import Array, CommandInterface, Plan, PlanOutcome

SHIFTED_LIMIT = 2
"""In a row: what was planned three cycles ago is followed no further."""
_AT_REST = 0.01
"""rad/s, of every joint."""


@dataclass(frozen=True, slots=True)
class Stop:
    """To rest, as nothing but the arm's description predicts it."""

    knots: Array
    """[H, J] rad/s or N m."""
    position: Array
    """[H, J] rad."""
    velocity: Array
    """[H, J] rad/s."""


Stopping = Callable[[Array, Array, Array], Stop]
"""From position, velocity and knot 0 [J]."""


def fallback_plan(
    last: Plan | None, count: int, start_ns: int, now_ns: int, sequence: int, dt_s: float, stopping: Stopping
) -> Plan | None:
    """After ``count`` fallbacks in a row, from ``start_ns`` on; None when nothing is left of the ``last`` plan: the
    guard then brakes alone."""
    rest = None if last is None else shifted_plan(last, start_ns, now_ns, sequence)
    if rest is None or count < SHIFTED_LIMIT:
        return rest
    stop = stopping(rest.position[0], rest.velocity[0], rest.knots[0])
    at_rest = bool(np.abs(rest.velocity[0]).max() < _AT_REST)
    steps = len(stop.knots)
    effort = stop.knots if rest.interface is CommandInterface.EFFORT else np.zeros_like(stop.knots)
    return replace(
        rest,
        outcome=PlanOutcome.HOLD if at_rest else PlanOutcome.DECELERATE,
        times=np.arange(steps + 1, dtype=np.float64) * dt_s,
        knots=np.vstack([rest.knots[:1], stop.knots]),
        position=np.vstack([rest.position[:1], stop.position]),
        velocity=np.vstack([rest.velocity[:1], stop.velocity]),
        effort=np.vstack([rest.effort[:1], effort]),
        # No model has predicted it: what the last one was sure of is all that is known.
        variance=np.repeat(rest.variance[:1], steps + 1, axis=0),
        epistemic=np.repeat(rest.epistemic[:1], steps + 1),
    )
