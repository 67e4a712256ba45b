"""Integrals and means of signals that hold their value until the next sample (zero-order hold)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.signals import Array


class HeldSignal:
    """A sampled signal, held between samples; the integral is piecewise linear and hence exact."""

    def __init__(self, stamp_ns: NDArray[np.int64], value: Array) -> None:
        """``stamp_ns`` [N] increasing, ``value`` [N, D]."""
        self._origin_ns = int(stamp_ns[0])
        self._time: Array = np.asarray((stamp_ns - self._origin_ns) * 1e-9, dtype=np.float64)
        self._integral = np.zeros((len(value), value.shape[1]))
        step = self._integral[1:]
        np.multiply(np.diff(self._time)[:, None], value[:-1], out=step)
        np.cumsum(step, axis=0, out=step)
        self._last = value[-1]

    def mean(self, start_ns: NDArray[np.int64], end_ns: NDArray[np.int64]) -> Array:
        """Mean over each [start, end], [M, D]; the last value holds on, before the first sample it is 0."""
        duration = (end_ns - start_ns)[:, None] * 1e-9
        return (self._integral_to(end_ns) - self._integral_to(start_ns)) / duration

    def _integral_to(self, moment_ns: NDArray[np.int64]) -> Array:
        moment: Array = np.asarray((moment_ns - self._origin_ns) * 1e-9, dtype=np.float64)
        near = _around(self._time, moment)
        beyond = np.maximum(moment - self._time[-1], 0.0)
        held: Array = beyond[:, None] * self._last
        return _between(self._time[near], self._integral[near], moment) + held


def interpolate(stamp_ns: NDArray[np.int64], value: Array, moment_ns: NDArray[np.int64]) -> Array:
    """Linear interpolation of ``value`` [N, D] at ``moment_ns`` [M], [M, D]."""
    near = _around(stamp_ns, moment_ns)
    time: Array = (stamp_ns[near] - stamp_ns[0]) * 1e-9
    moment: Array = (moment_ns - stamp_ns[0]) * 1e-9
    return _between(time, value[near], moment)


def _around(times: NDArray[Any], moments: NDArray[Any]) -> slice:
    """The samples that values at ``moments`` depend on: a few rows of a long log need few of its samples."""
    if not len(moments):
        return slice(0, 1)
    first = int(np.searchsorted(times, moments.min(), side="right")) - 1
    return slice(max(first, 0), int(np.searchsorted(times, moments.max())) + 1)


def _between(time: NDArray[Any], value: Array, moment: NDArray[Any]) -> Array:
    return np.stack([np.interp(moment, time, column) for column in value.T], axis=1)
