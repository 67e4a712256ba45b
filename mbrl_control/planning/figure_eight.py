"""A figure eight for the tool, as a joint trajectory: the field's usual test of tracking.

Lemniscate of Gerono, ``p = centre + a sin(phase) e1 + a/2 sin(2 phase) e2``, around the tool's place at home, in the
plane in which the arm moves most easily there: the first two left singular vectors of the tool's Jacobian.
"""

from __future__ import annotations

import math

import numpy as np

from mbrl_control.kinematics import forward_kinematics, jacobian
from mbrl_control.planning.kinematics import ToolKinematics
from mbrl_control.planning.proposals import goal_posture
from mbrl_control.robot import Arm, ArmError
from mbrl_control.signals import Array

STEP_S = 0.02
_RAMP_S = 1.0
"""From rest to the full pace, and back."""
_ROUNDS = 4
_TOLERANCE_M = 1e-4
_PULL = 0.02
_LEAST_STEPS = 50
"""Per lap: with fewer, straight lines between the points cut the figure's corners."""


def figure_eight(arm: Arm, amplitude: float, period_s: float, laps: int, speed_scale: float) -> tuple[Array, Array]:
    """Times [T] s from 0 and joint positions [T, J] rad, from rest at home to rest at home.

    Raises:
        ArmError: no figure at all, or one that the arm cannot follow within its position limits and
            ``speed_scale`` x its rated speeds.
    """
    _check(arm, amplitude, period_s, laps)
    times, phase = _phase(period_s, laps)
    centre = forward_kinematics(arm, arm.home)
    wide, high = _plane(arm)
    path = centre + amplitude * (np.sin(phase)[:, None] * wide + 0.5 * np.sin(2.0 * phase)[:, None] * high)
    joints = _follow(arm, path)
    error = np.linalg.norm(forward_kinematics(arm, joints) - path, axis=1).max()
    speed = np.abs(np.diff(joints, axis=0) / STEP_S / arm.velocity).max()
    if not (error <= _TOLERANCE_M and speed <= speed_scale):
        raise ArmError(
            f"{arm.name}: figure eight of {amplitude} m in {period_s} s: misses the path by {1e3 * error:.2f} mm, "
            f"takes {speed:.2f} of the rated speed ({speed_scale} allowed); ask for a smaller or slower one"
        )
    return times, joints


def _check(arm: Arm, amplitude: float, period_s: float, laps: int) -> None:
    """Else a figure of too few points would pass unseen, or arrays of a senseless size be made."""
    shortest = _LEAST_STEPS * STEP_S
    faults = {
        f"amplitude: {amplitude} m; give a finite one above 0": not 0.0 < amplitude < math.inf,
        f"period: {period_s} s; give at least {shortest:g} s": not shortest <= period_s < math.inf,
        f"laps: {laps}; give a whole number of at least 1": not (laps >= 1 and laps % 1 == 0),
    }
    for fault, found in faults.items():
        if found:
            raise ArmError(f"{arm.name}: figure eight: {fault}")


def _phase(period_s: float, laps: int) -> tuple[Array, Array]:
    """Times and phase [T] rad: the pace grows linearly from rest, and ends so; ``laps`` whole figures."""
    duration = laps * period_s + _RAMP_S
    times = np.arange(round(duration / STEP_S) + 1, dtype=np.float64) * STEP_S
    pace = np.clip(np.minimum(times, duration - times) / _RAMP_S, 0.0, 1.0)
    travelled = np.concatenate([[0.0], np.cumsum(0.5 * (pace[1:] + pace[:-1]))])
    return times, travelled * (2.0 * np.pi * laps / travelled[-1])


def _plane(arm: Arm) -> tuple[Array, Array]:
    left, _, _ = np.linalg.svd(jacobian(arm, arm.home))
    # A singular vector's sign is arbitrary: the largest component is made positive.
    wide, high = (axis * np.sign(axis[np.argmax(np.abs(axis))]) for axis in left.T[:2])
    return wide, high


def _follow(arm: Arm, path: Array) -> Array:
    kinematics, q = ToolKinematics(arm), arm.home
    rows = np.empty((len(path), arm.joints))
    for index, point in enumerate(path):
        q = goal_posture(kinematics, (arm.lower, arm.upper), q, point, arm.home, _ROUNDS, _PULL)
        rows[index] = q
    return rows
