"""Command delay of an arm, estimated from its log: output-error fit of a delayed first-order velocity lag.

Model of joint j: v_j = gain_j * LAG(tau_j)[u_j(t - delay)] + offset_j, one delay for the arm. The lag is
simulated on a 1 ms grid (exact for a held input), so measurement noise does not bias the fit as it would
in a one-step regression (output error against equation error: Ljung, System Identification, 2nd ed., 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.held import interpolate
from mbrl_control.replay.streams import Streams
from mbrl_control.signals import Array

MAX_DELAY_MS = 40
_STEP_NS = 1_000_000
_WARM_UP_MS = 500
"""Of each stretch: the lag starts from rest in the fit, not in the arm."""
_MIN_STRETCH_MS = 2_000
_SAMPLE_EVERY_MS = 7
"""Velocities are compared at this spacing: denser ones are correlated and only cost time."""
_ROUNDS = 4
_MAX_SAMPLES_MS = 120_000


@dataclass(frozen=True, slots=True)
class DelayEstimate:
    """What was found, and how clearly."""

    delay_s: float
    lag_s: Array
    """[J] time constant of the velocity lag; zero for torques."""
    residual_ratio: float
    """Residual RMS of the best delay over that of the worst candidate; near 1: the log does not tell."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A gapless piece of a log with the drives on."""

    command: Array
    """[T, J] rad/s or N m on the 1 ms grid."""
    position: Array
    """[T, J] rad on the same grid."""
    velocity: Array
    """[T, J] rad/s on the same grid."""


def estimate_delay(streams: Streams | Sequence[Streams]) -> DelayEstimate:
    """Delay in whole milliseconds, 0..40 ms. TooLittleData when the logs hold no moving stretch of 2 s."""
    logs = [streams] if isinstance(streams, Streams) else list(streams)
    stretches = [part for log in logs for part in moving_stretches(log)]
    if not stretches or max(float(np.ptp(part.command)) for part in stretches) < 1e-3:
        raise TooLittleData(
            "logs: no 2 s with drives on and moving commands; the delay cannot be estimated: log a motion"
        )
    joints = stretches[0].command.shape[1]
    low, high = np.full(joints, 2.0), np.full(joints, 300.0)
    for _ in range(_ROUNDS):
        lags = np.geomspace(low, high, 9)
        scores = _scores(stretches, lags)
        total = scores.min(axis=0).sum(axis=1)
        delay = int(np.argmin(total))
        best = np.argmin(scores[:, delay], axis=0)
        columns = np.arange(joints)
        low, high = lags[np.maximum(best - 1, 0), columns], lags[np.minimum(best + 1, 8), columns]
    ratio = float(np.exp((total.min() - total.max()) / (2 * joints)))
    return DelayEstimate(delay * 1e-3, lags[best, columns] * 1e-3, ratio)


def _scores(stretches: list[Stretch], lags: Array) -> Array:
    """[L, D, J] log residual sum of squares after the best gain and offset; lags [L, J] ms."""
    candidates, joints = lags.shape
    scores = np.empty((candidates, MAX_DELAY_MS + 1, joints))
    delays = np.arange(MAX_DELAY_MS + 1)[:, None]
    samples = [_samples(part.velocity) for part in stretches]
    for j in range(joints):
        measured = np.concatenate([part.velocity[s, j] for part, s in zip(stretches, samples, strict=True)])
        for k in range(candidates):
            decay = float(np.exp(-1.0 / lags[k, j]))
            lagged = [lfilter([0.0, 1.0 - decay], [1.0, -decay], part.command[:, j]) for part in stretches]
            model = np.concatenate([y[s - delays] for y, s in zip(lagged, samples, strict=True)], axis=1)
            scores[k, :, j] = np.log(_residuals(model, measured))
    return scores


def _samples(values: Array) -> NDArray[np.int64]:
    return np.arange(_WARM_UP_MS, len(values), _SAMPLE_EVERY_MS, dtype=np.int64)


def _residuals(model: Array, measured: Array) -> Array:
    """Residual sum of squares of ``measured`` [M] on each row of ``model`` [D, M], [D]."""
    x = model - model.mean(axis=1, keepdims=True)
    y = measured - measured.mean()
    power = np.maximum(np.einsum("dm,dm->d", x, x), 1e-300)
    total = max(float(y @ y), 1e-12)
    return np.asarray(np.maximum(total - (x @ y) ** 2 / power, 1e-12 * total))


def moving_stretches(streams: Streams) -> list[Stretch]:
    """Gapless stretches with drives on and the relay publishing, on the 1 ms grid, newest first, up to two minutes."""
    told = np.searchsorted(streams.relay_ns, streams.command_ns, side="right") - 1
    alive = streams.drives_enabled & (told >= 0) & streams.publishing[np.maximum(told, 0)]
    alive[:-1] &= np.diff(streams.command_ns) <= 3 * np.median(np.diff(streams.command_ns))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], alive, [False]]).astype(np.int8)))
    found: list[Stretch] = []
    budget = _MAX_SAMPLES_MS
    for first, last in reversed(list(zip(edges[::2], edges[1::2], strict=True))):
        start = max(int(streams.command_ns[first]), int(streams.belief_ns[0]))
        end = min(int(streams.command_ns[last - 1]), int(streams.belief_ns[-1]))
        start = max(start, end - budget * _STEP_NS)
        if end - start < _MIN_STRETCH_MS * _STEP_NS:
            continue
        moment = np.arange(start, end, _STEP_NS, dtype=np.int64)
        held = np.searchsorted(streams.command_ns, moment, side="right") - 1
        position, velocity = (
            interpolate(streams.belief_ns, values, moment) for values in (streams.position, streams.velocity)
        )
        found.append(Stretch(streams.applied[held], position, velocity))
        budget -= len(moment)
    return found
