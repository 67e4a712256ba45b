"""What of a log is a golden recording, and the log without it: nothing is learned from a yardstick.

The same recording may come as the log itself, a copy, an export read in again or a cut of it. What makes it the same is
that the arm was in the same place at the same time: two recordings whose clocks begin alike (imported ones, say) share
stamps, but not the measured positions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.blocks import MARGIN_NS
from mbrl_control.replay.held import interpolate
from mbrl_control.replay.streams import Streams

TOLERANCE_RAD = 1e-6
"""Of every joint: above the rounding of any table, far below the noise of an encoder."""


def coincident_ns(streams: Streams, golden: Streams) -> NDArray[np.int64]:
    """[M] stamps, increasing, of those beliefs of ``streams`` that lie on the golden recording; joints in one order."""
    span = golden.belief_ns[[0, -1]]
    inside = (streams.belief_ns >= span[0]) & (streams.belief_ns <= span[1])
    at = streams.belief_ns[inside]
    away = np.abs(streams.position[inside] - interpolate(golden.belief_ns, golden.position, at))
    return np.asarray(at[(away <= TOLERANCE_RAD).all(axis=1)], dtype=np.int64)


def without(streams: Streams, stamp_ns: NDArray[np.int64]) -> Streams:
    """The log as if the drives had been off around each of the stamps [M], increasing: no row reads any of it.

    Around: `MARGIN_NS` to both sides, the distance that training keeps from held-out blocks.
    """
    if not len(stamp_ns):
        return streams
    after = np.searchsorted(stamp_ns, streams.command_ns)
    beside = (stamp_ns[np.maximum(after - 1, 0)], stamp_ns[np.minimum(after, len(stamp_ns) - 1)])
    distance = np.minimum(*(np.abs(streams.command_ns - each) for each in beside))
    return replace(streams, drives_enabled=streams.drives_enabled & (distance > MARGIN_NS))
