"""Command delay of an arm that takes torques, estimated from its log by regression on its rigid body.

Over a short window the torque that the motion needed, ``M dv / w + b``, is what was commanded a delay earlier, less
friction: per joint ``gain * effort(t - delay) - viscous * v - dry * tanh(v / v0) + offset``. Of all whole milliseconds
the delay with the least residual is taken. In torques friction acts on its own joint alone; in accelerations not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mbrl_control.replay.delay import MAX_DELAY_MS, DelayEstimate, moving_stretches
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.streams import Streams
from mbrl_control.rigid_body import RigidBody
from mbrl_control.signals import Array

_WINDOW_MS = 20
_SAMPLE_EVERY_MS = 23
"""No multiple of a usual period of commands or measurements."""
_DRY_SPEED = 0.02
"""rad/s"""


@dataclass(frozen=True, slots=True)
class _Sample:
    needed: Array
    """[M, J] N m."""
    speed: Array
    """[M, J] rad/s."""
    commanded: Array
    """[D, M, J] N m, mean over the window, by delay."""


def estimate_effort_delay(streams: Sequence[Streams], body: RigidBody) -> DelayEstimate:
    """Delay in whole milliseconds, 0..40 ms. TooLittleData when the logs hold no moving stretch of 2 s."""
    parts = [_sample(streams_of, body) for streams_of in streams]
    found = [part for group in parts for part in group]
    if not found or max(float(np.ptp(part.needed)) for part in found) < 1e-3:
        raise TooLittleData(
            "logs: no 2 s with drives on and moving commands; the delay cannot be estimated: log a motion"
        )
    needed, speed = (np.concatenate([getattr(part, name) for part in found]) for name in ("needed", "speed"))
    commanded = np.concatenate([part.commanded for part in found], axis=1)
    total = np.array([_misfit(row, needed, speed) for row in commanded])
    joints = needed.shape[1]
    ratio = float(np.exp((total.min() - total.max()) / (2 * joints)))
    return DelayEstimate(int(np.argmin(total)) * 1e-3, np.zeros(joints), ratio)


def _sample(streams: Streams, body: RigidBody) -> list[_Sample]:
    samples = []
    for stretch in moving_stretches(streams):
        begin = np.arange(MAX_DELAY_MS, len(stretch.command) - _WINDOW_MS, _SAMPLE_EVERY_MS)
        end, middle = begin + _WINDOW_MS, begin + _WINDOW_MS // 2
        mass, bias = body.terms(stretch.position[middle], stretch.velocity[middle])
        acceleration = (stretch.velocity[end] - stretch.velocity[begin]) / (_WINDOW_MS * 1e-3)
        integral = np.vstack([np.zeros((1, body.joints)), np.cumsum(stretch.command, axis=0)])
        means = [(integral[end - d] - integral[begin - d]) / _WINDOW_MS for d in range(MAX_DELAY_MS + 1)]
        needed = (mass @ acceleration[..., None])[..., 0] + bias
        samples.append(_Sample(needed, stretch.velocity[middle], np.stack(means)))
    return samples


def _misfit(commanded: Array, needed: Array, speed: Array) -> float:
    """Log residual sum of squares, summed over joints."""
    total = 0.0
    for joint in range(needed.shape[1]):
        dry = np.tanh(speed[:, joint] / _DRY_SPEED)
        columns = np.stack([commanded[:, joint], speed[:, joint], dry, np.ones_like(dry)], axis=1)
        fitted, *_ = np.linalg.lstsq(columns, needed[:, joint])
        total += float(np.log(np.sum((needed[:, joint] - columns @ fitted) ** 2) + 1e-12))
    return total
