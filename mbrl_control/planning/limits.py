"""Limits of a plan's knots and of their change: what passes here, the guard passes unaltered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class KnotLimits:
    """Limits of knots that are linear between each other."""

    bound: Array
    """[J] rad/s, speed cap included; or N m."""
    step: Array
    """[J] rad/s or N m, largest change from knot to knot (acceleration, or torque rate, times dt)."""
    middle: float | Array = 0.0
    """[J] what the bound lies about: a torque that acts besides the command, where knots are the sum of both."""


TORQUE_SPEED_SHARE = 0.8
"""Of the cap on speed, what plans of torques aim at: the guard lets torques give way before the cap."""


def project(knots: Array, first: Array, limits: KnotLimits) -> Array:
    """Nearest-by-step feasible knots u_1..u_H [B, H, J] after knot 0 ``first`` [J].

    The change per knot is always kept; the bound is kept too, once knot 0 lies inside it (from
    outside, the knots come back at the acceleration limit).
    """
    wanted = np.clip(knots, limits.middle - limits.bound, limits.middle + limits.bound)
    feasible = np.empty_like(wanted)
    previous = np.broadcast_to(first, wanted[:, 0].shape)
    for k in range(wanted.shape[1]):
        previous = np.minimum(np.maximum(wanted[:, k], previous - limits.step), previous + limits.step)
        feasible[:, k] = previous
    return feasible


def mean_actions(knots: Array, first: Array) -> Array:
    """Mean command of each step, a_k = (u_{k-1} + u_k) / 2, [B, H, J]."""
    actions = 0.5 * knots
    actions[:, 1:] += 0.5 * knots[:, :-1]
    actions[:, 0] += 0.5 * first
    return actions
