"""The fallback of a cycle without a finished iteration: what is left of the last plan, nothing invented."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mbrl_control.signals import Array, Plan, PlanOutcome


def shifted_plan(plan: Plan, start_ns: int, now_ns: int, sequence: int) -> Plan | None:
    """The rest of ``plan`` from ``start_ns`` on, same step; it gets shorter, and keeps its optimized stamp.

    None when less than one step is left: the guard then brakes on its own.
    """
    step = float(plan.times[1] - plan.times[0])
    # A start before the old one would need a command that is not in the plan.
    begin = max(0.0, (start_ns - plan.start_ns) * 1e-9)
    count = int((plan.times[-1] - begin) / step + 1e-6) + 1
    if begin > plan.times[-1] or count < 2:
        return None
    at = np.minimum(begin + np.arange(count) * step, plan.times[-1])
    return replace(
        plan,
        stamp_ns=now_ns,
        start_ns=plan.start_ns + round(begin * 1e9),
        sequence=sequence,
        outcome=PlanOutcome.SHIFTED,
        times=np.arange(count, dtype=np.float64) * step,
        knots=_columns(at, plan.times, plan.knots),
        position=_columns(at, plan.times, plan.position),
        velocity=_columns(at, plan.times, plan.velocity),
        effort=_columns(at, plan.times, plan.effort),
        variance=_columns(at, plan.times, plan.variance),
        epistemic=np.interp(at, plan.times, plan.epistemic),
    )


def _columns(at: Array, times: Array, values: Array) -> Array:
    return np.stack([np.interp(at, times, values[:, j]) for j in range(values.shape[1])], axis=-1)
