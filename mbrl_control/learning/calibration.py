"""Whether a predicted spread is as wide as the errors are, and the factor per output that makes it so.

A predicted distribution is calibrated when a share p of the truths lies below its p-quantile, for every p (Kuleshov,
Fenner, Ermon, ICML 2018, arXiv:1807.00263). The calibration error here is the mean over 19 levels of the distance
between the share seen and p, per output (theirs squares it): 0.03 reads as three percent of the truths misplaced. They
fit any monotone map; one factor per output and horizon is enough here and cannot be overfitted by a short log.
Sharpness is judged beside the best constant: the same means with one std per output, fitted in the same way on the same
rows. A model that knows where it is sure is sharper than that; one that hides in a wide spread is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.errors import DataError
from mbrl_control.learning.losses import gaussian_nll
from mbrl_control.learning.open_loop import Predicted, predictions
from mbrl_control.replay.blocks import BLOCK_NS
from mbrl_control.signals import Array, Transitions

LEVELS = np.linspace(0.05, 0.95, 19)
CALIBRATED_STEPS = (1, 15)
_FACTORS = np.exp(np.linspace(-np.log(4.0), np.log(4.0), 241))
"""On the first guess; 1.2 % apart."""
_QUARTILES_STD = 1.3489795003921634
"""Distance of the quartiles of a unit Gaussian."""
_LEAST_ROWS = 20


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors and stated standard deviations of the same outputs, both [N, D]."""

    error: Array
    std: Array

    @staticmethod
    def of(predicted: Predicted) -> Errors:
        return Errors(predicted.error, predicted.std)

    def scaled(self, scale: Array) -> Errors:
        """With every std times ``scale`` [D]."""
        return Errors(self.error, self.std * scale)

    def constant(self) -> Errors:
        """The same errors with a std of one: what the scale of a constant spread is fitted to."""
        return Errors(self.error, np.ones_like(self.error))


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A scale, and what it is worth on rows that it was not fitted to."""

    steps: int
    """Ahead."""
    scale: tuple[float, ...]
    """[D] times the predicted std."""
    ece: float
    """Calibration error, mean over outputs."""
    ece_worst: float
    """Of the worst output."""
    ece_raw: float
    """Without the scale."""
    ece_constant: float
    """Of the best constant spread."""
    nll: float
    """Nats per row."""
    nll_raw: float
    nll_constant: float
    sharpness_ratio: float
    """Mean predicted std over that of the best constant spread, mean over outputs; below 1 is sharper."""


def calibrate(ensemble: ProbabilisticEnsemble, rows: Transitions) -> tuple[Calibrated, ...]:
    """The scale of all held-out ``rows``, with the figures of each half of their blocks scaled by the other half.

    One entry per horizon of `CALIBRATED_STEPS`; DataError where the rows are too few.
    """
    return tuple(_crosswise(each, rows) for each in predictions(ensemble, rows, CALIBRATED_STEPS))


def judged(steps: int, fitted_on: Errors, judged_on: Errors) -> Calibrated:
    """The scale from one set of errors ``steps`` ahead, its figures on another."""
    scale, constant = fit_scale(fitted_on), fit_scale(fitted_on.constant())
    return _figures(steps, scale, judged_on, judged_on.scaled(scale), judged_on.constant().scaled(constant))


def judged_as_scaled(steps: int, scale: Array, judged_on: Errors) -> Calibrated:
    """The figures of a ``scale`` [D] that is known already; the constant spread beside it is the best of these rows."""
    constant = judged_on.constant()
    return _figures(steps, scale, judged_on, judged_on.scaled(scale), constant.scaled(fit_scale(constant)))


def fit_scale(errors: Errors) -> Array:
    """[D] the factor on the std with the least calibration error; DataError for too few or unusable rows.

    Not the one of the highest likelihood: a few outliers widen that one until nine of ten intervals are too wide.
    """
    _check(errors)
    ratio = np.sort(errors.error / errors.std, axis=0)
    lower, upper = np.quantile(ratio, [0.25, 0.75], axis=0)
    # Of an arm that mostly stood most errors are one number; its motion alone tells the width then.
    guess = np.where(upper > lower, (upper - lower) / _QUARTILES_STD, np.sqrt(np.mean(ratio**2, axis=0)))
    if (guess <= 0.0).any():
        raise DataError(f"errors: output {int(np.argmin(guess))} has none at all; log motion that is measured")
    return np.array([_best_factor(*each) for each in zip(ratio.T, guess, strict=True)])


def shares_below(errors: Errors) -> Array:
    """[19, D] share of the truths below the quantile of each of `LEVELS`."""
    ratio = errors.error / errors.std
    return np.stack([(ratio <= quantile).mean(axis=0) for quantile in norm.ppf(LEVELS)])


def calibration_error(errors: Errors) -> Array:
    """[D] mean distance of `shares_below` from `LEVELS`."""
    return np.asarray(np.abs(shares_below(errors) - LEVELS[:, None]).mean(axis=0), dtype=np.float64)


def nll(errors: Errors) -> float:
    """Nats per row, mean over rows of the sum over outputs."""
    return float(gaussian_nll(errors.error, errors.std).sum(axis=1).mean())


def _crosswise(predicted: Predicted, rows: Transitions) -> Calibrated:
    whole = Errors.of(predicted)
    _, place = np.unique(rows.stamp_ns[predicted.starts] // BLOCK_NS, return_inverse=True)
    ours, constants = np.empty_like(whole.std), np.empty_like(whole.std)
    for half in (0, 1):
        inside = place % 2 == half
        other = Errors(whole.error[~inside], whole.std[~inside])
        ours[inside] = whole.std[inside] * fit_scale(other)
        constants[inside] = fit_scale(other.constant())
    fitted, constant = Errors(whole.error, ours), Errors(whole.error, constants)
    return _figures(predicted.steps, fit_scale(whole), whole, fitted, constant)


def _figures(steps: int, scale: Array, raw: Errors, fitted: Errors, constant: Errors) -> Calibrated:
    _check(raw)
    ece = calibration_error(fitted)
    return Calibrated(
        steps=steps,
        scale=tuple(scale.tolist()),
        ece=float(ece.mean()),
        ece_worst=float(ece.max()),
        ece_raw=float(calibration_error(raw).mean()),
        ece_constant=float(calibration_error(constant).mean()),
        nll=nll(fitted),
        nll_raw=nll(raw),
        nll_constant=nll(constant),
        sharpness_ratio=float(np.mean(fitted.std.mean(axis=0) / constant.std.mean(axis=0))),
    )


def _best_factor(ratio: Array, guess: float) -> float:
    """Sorted ratios [N] of error to std."""
    factors = guess * _FACTORS
    below = np.searchsorted(ratio, factors[:, None] * norm.ppf(LEVELS), side="right") / len(ratio)
    return float(factors[np.abs(below - LEVELS).mean(axis=1).argmin()])


def _check(errors: Errors) -> None:
    if len(errors.error) < _LEAST_ROWS:
        raise DataError(f"errors: {len(errors.error)} rows, a scale wants {_LEAST_ROWS}; log more motion")
    if not np.isfinite(errors.error).all() or not np.isfinite(errors.std).all() or (errors.std <= 0.0).any():
        raise DataError("errors: hold non-finite numbers, or a std that is not positive; such a spread has no scale")
