"""Two scores of "the model does not know here", kept apart because they answer different questions.

`unfamiliarity`, the members' disagreement, says that a state is unlike the rows learned from; it needs no outcome: it
speaks before the arm goes there. It cannot tell that the arm itself has changed: at known states the members agree, and
are wrong together. `innovation`, the prediction's error in units of its own spread, tells that and nothing else: it
needs the outcome. Both are averaged over windows; how well they separate is their AUROC (Hanley, McNeil, Radiology 143,
1982).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.errors import DataError
from mbrl_control.learning.open_loop import Predicted
from mbrl_control.signals import Array

WINDOWS_NS = (500_000_000, 1_000_000_000, 2_000_000_000)


@dataclass(frozen=True, slots=True)
class Windowed:
    """Means over whole windows that do not overlap."""

    begin_ns: NDArray[np.int64]
    """[n]"""
    mean: Array
    """[n, D]"""


def unfamiliarity(predicted: Predicted, unit: Array) -> Array:
    """[W] root mean over outputs of the members' variance, in ``unit`` [3J] (std of the learned residual)."""
    return _root_mean(predicted.epistemic, unit)


def unfamiliar_pose(ensemble: ProbabilisticEnsemble, position: Array, unit: Array) -> Array:
    """[N] as `unfamiliarity` after one step, of poses [N, J] in which the arm rests, whatever it did there.

    Members disagree about fast motion within the excited range more than about slow motion beyond it; asked about the
    same motion, rest, they tell the regions apart.
    """
    still = np.zeros((len(position), (1 + ensemble.shape.history) * ensemble.shape.joints))
    state = torch.from_numpy(np.concatenate([position, still], axis=1)).float()
    with torch.inference_mode():
        action = torch.zeros(len(position), ensemble.shape.joints)
        _, mean, _ = ensemble(state.expand(ensemble.shape.members, -1, -1), action)
    return _root_mean(mean.double().var(0, unbiased=False).numpy(), unit)


def innovation(predicted: Predicted, scale: Array) -> Array:
    """[W, 3] mean over joints of the squared error of position, velocity and effort, in the predicted variance.

    ``scale`` [3J] of `learning.calibration`: what is judged is the calibrated spread. 1 is expected of each.
    """
    squared = (predicted.error / (predicted.std * scale)) ** 2
    return np.asarray(squared.reshape(len(squared), 3, -1).mean(axis=2), dtype=np.float64)


def windowed(stamp_ns: NDArray[np.int64], values: Array, window_ns: int, dt_ns: int) -> Windowed:
    """Values [W, D] at stamps [W] -> means over the windows of ``window_ns`` of the clock that lack no row."""
    numbers, place, counts = np.unique(stamp_ns // window_ns, return_inverse=True, return_counts=True)
    sums = np.zeros((len(numbers), values.shape[1]))
    np.add.at(sums, place, values)
    whole = counts == window_ns // dt_ns
    return Windowed(numbers[whole] * window_ns, sums[whole] / counts[whole, None])


def auroc(null: Array, changed: Array) -> float:
    """Probability that a score [m] of what changed exceeds one [n] of the null, ties half; 0.5 tells nothing.

    DataError where either is empty or a score is not finite.
    """
    if not len(null) or not len(changed):
        raise DataError(f"scores: {len(null)} of the null and {len(changed)} changed; both are needed, log more motion")
    scores = np.concatenate([changed, null])
    if not np.isfinite(scores).all():
        raise DataError("scores: hold non-finite numbers; such a score tells nothing")
    above = rankdata(scores)[: len(changed)].sum() - len(changed) * (len(changed) + 1) / 2.0
    return float(above / (len(changed) * len(null)))


def _root_mean(variance: Array, unit: Array) -> Array:
    return np.asarray(np.sqrt(np.mean(variance / unit**2, axis=1)), dtype=np.float64)
