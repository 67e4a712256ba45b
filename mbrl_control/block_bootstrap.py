"""Paired block bootstrap: how sure the mean difference of two models' losses is, from blocks that both were judged on.

Rows within a block know each other, so whole blocks are drawn (Kuensch, Annals of Statistics 17, 1989; here the blocks
do not overlap and lie apart). Both models' losses of a block stay together, so what makes a block hard for both falls
out. Bounds by percentile, as far out as Student's t where blocks are few (the expanded percentile interval, Hesterberg,
The American Statistician 69, 2015), and by BCa (Efron, Journal of the American Statistical Association 82, 1987).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from mbrl_control.signals import Array

_DRAWN_AT_ONCE = 1 << 22
"""Numbers; bounds the memory where there are thousands of blocks."""
_LEAST_BLOCKS = 3


class LossesError(ValueError):
    """Losses of which no difference can be told; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Two one-sided bounds, each of which the true mean is beyond with probability 1 - confidence."""

    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean over blocks of candidate minus reference: negative is better."""

    mean: float
    percentile: Interval
    bca: Interval
    blocks: int
    resamples: int
    confidence: float

    @property
    def cautious(self) -> Interval:
        """The wider side of both: the one knows that blocks are few, the other that they are skewed.

        Of 95 % meant, 8 normal blocks have 94 (without the expansion 92); 8 exponential ones 86 on their long side.
        """
        return Interval(min(self.percentile.lower, self.bca.lower), max(self.percentile.upper, self.bca.upper))


def block_means(values: Array, block: NDArray[np.int64]) -> tuple[NDArray[np.int64], Array]:
    """Values [N] and the number of the block of each [N] -> numbers [n], increasing, and means [n]."""
    numbers, place, counts = np.unique(block, return_inverse=True, return_counts=True)
    return numbers, np.bincount(place, weights=values, minlength=len(numbers)) / counts


def paired_difference(
    candidate: Array,
    reference: Array,
    generator: np.random.Generator,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Difference:
    """Losses [n] of the same n blocks -> bounds of the mean difference.

    Raises LossesError for fewer than 3 blocks, blocks that do not pair, or losses that are not finite.
    """
    if candidate.shape != reference.shape or candidate.ndim != 1:
        raise LossesError(f"losses: {candidate.shape} and {reference.shape} do not pair; judge both on the same blocks")
    if len(candidate) < _LEAST_BLOCKS:
        raise LossesError(f"losses: {len(candidate)} blocks, at least {_LEAST_BLOCKS} are needed; log more motion")
    difference = candidate - reference
    if not np.isfinite(difference).all():
        raise LossesError("losses: hold non-finite numbers; such a model has no loss")
    mean, means = float(difference.mean()), _resampled_means(difference, generator, resamples)
    tails = np.array([1.0 - confidence, confidence])
    percentile = Interval(*np.quantile(means, _expanded(tails, len(difference))).tolist())
    bca = Interval(*np.quantile(means, _bca_levels(difference, means, tails)).tolist())
    return Difference(mean, percentile, bca, len(difference), resamples, confidence)


def _resampled_means(values: Array, generator: np.random.Generator, resamples: int) -> Array:
    """[R] means of as many blocks, drawn with replacement."""
    count = len(values)
    at_once = max(1, _DRAWN_AT_ONCE // count)
    parts = [
        values[generator.integers(count, size=(min(at_once, resamples - begun), count))].mean(axis=1)
        for begun in range(0, resamples, at_once)
    ]
    return np.concatenate(parts)


def _expanded(tails: Array, count: int) -> Array:
    """Levels beyond ``tails``: means of 8 resampled blocks spread 6 % less than means of 8 do, and like a normal."""
    wider = np.sqrt(count / (count - 1)) * t.ppf(tails, count - 1)
    return np.asarray(norm.cdf(wider), dtype=np.float64)


def _bca_levels(values: Array, means: Array, tails: Array) -> Array:
    """Levels of the resampled means at which the bounds lie, corrected for bias and skewness (Efron 1987, eq. 2.3)."""
    centred = values - values.mean()
    spread = float(np.sum(centred**2))
    if spread == 0.0:  # all blocks alike: all resampled means, too
        return tails
    mean = values.mean()
    below = float(np.mean(means < mean) + 0.5 * np.mean(means == mean))
    bias = float(norm.ppf(np.clip(below, 1.0 / len(means), 1.0 - 1.0 / len(means))))
    acceleration = float(np.sum(centred**3)) / (6.0 * spread**1.5)  # of the mean the jackknife in closed form
    shifted = bias + norm.ppf(tails)
    return np.asarray(norm.cdf(bias + shifted / (1.0 - acceleration * shifted)), dtype=np.float64)
