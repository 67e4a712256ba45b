"""What a bundle promises: how large the innovation of its held-out windows of motion was, and how much it varied.

A bundle that runs is held to it (`mbrl_control.live`). Logarithms, because an innovation is a mean of squares: its
windows scatter by factors, to one side. Held-out windows come from the same logs as the training rows, so a promise is
made for motion like theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.calibration import Calibrated
from mbrl_control.learning.detection import innovation
from mbrl_control.learning.open_loop import predictions
from mbrl_control.replay.motion import AHEAD, motion_windows
from mbrl_control.signals import Array, Transitions

LEAST_WINDOWS = 8
"""Fewer tell no scatter: nothing is promised then."""
_LEAST = 1e-9
"""Innovation of an output that does not move at all; its logarithm has to be a number."""


@dataclass(frozen=True, slots=True)
class Promised:
    """Of position, velocity and effort, each: innovation of windows, mean over them and of its natural logarithm."""

    steps: int
    """That each prediction looks ahead."""
    windows: int
    innovation: tuple[float, ...]
    """[3] mean."""
    log_mean: tuple[float, ...]
    log_std: tuple[float, ...]


def promise(ensemble: ProbabilisticEnsemble, rows: Transitions, calibrated: tuple[Calibrated, ...]) -> Promised | None:
    """Of held-out ``rows`` one model step apart, in the calibrated spread; None where they hold too little motion.

    DataError where no prediction is whole.
    """
    scale = next(np.array(each.scale) for each in calibrated if each.steps == AHEAD)
    scores = window_innovation(ensemble, rows, scale)
    return None if len(scores) < LEAST_WINDOWS else promised(scores)


def window_innovation(ensemble: ProbabilisticEnsemble, rows: Transitions, scale: Array) -> Array:
    """[n, 3] of the windows of motion in ``rows`` one model step apart, in the spread times ``scale`` [3J].

    DataError where no prediction is whole.
    """
    (ahead,) = predictions(ensemble, rows, (AHEAD,))
    windows = motion_windows(rows)
    scores = innovation(ahead, scale)[np.searchsorted(ahead.starts, windows)]
    return np.asarray(scores.mean(axis=1), dtype=np.float64)


def promised(scores: Array) -> Promised:
    """Innovations [n, 3] of the windows -> what they let expect of another."""
    logs = logarithm(scores)
    return Promised(
        steps=AHEAD,
        windows=len(scores),
        innovation=tuple(scores.mean(axis=0).tolist()),
        log_mean=tuple(logs.mean(axis=0).tolist()),
        log_std=tuple(logs.std(axis=0, ddof=1).tolist()),
    )


def logarithm(scores: Array) -> Array:
    """Natural, of innovations of any shape."""
    return np.asarray(np.log(np.maximum(scores, _LEAST)), dtype=np.float64)
