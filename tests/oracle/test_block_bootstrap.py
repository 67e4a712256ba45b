"""The bootstrap's bounds on losses whose mean is known, and the rank statistic against plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from mbrl_control.block_bootstrap import Difference, LossesError, block_means, paired_difference
from mbrl_control.learning.detection import auroc
from mbrl_control.learning.errors import DataError
from mbrl_control.signals import Array

BLOCKS, PER_BLOCK, REPEATS = 25, 40, 400
MEAN = -0.3
"""Of candidate minus reference."""


def losses(generator: np.random.Generator) -> tuple[Array, Array]:
    """Candidate and reference [blocks, rows]: a block is hard for both, its rows know each other, noise is skewed."""
    hard = generator.gamma(2.0, 2.0, (BLOCKS, 1))
    own = generator.gamma(1.0, 1.0, (BLOCKS, 1)) - 1.0
    rows = 0.3 * generator.normal(size=(2, BLOCKS, PER_BLOCK))
    return hard + own + MEAN + rows[0], hard + rows[1]


def bounds(candidate: Array, reference: Array, generator: np.random.Generator) -> Difference:
    return paired_difference(candidate, reference, generator, resamples=400)


def test_the_bounds_cover_the_known_mean_and_rows_alone_would_not() -> None:
    generator = np.random.default_rng(0)
    covered = {"upper": 0, "lower": 0, "rows": 0}
    for _ in range(REPEATS):
        candidate, reference = losses(generator)
        by_block = bounds(candidate.mean(axis=1), reference.mean(axis=1), generator)
        covered["upper"] += by_block.cautious.upper >= MEAN
        covered["lower"] += by_block.cautious.lower <= MEAN
        covered["rows"] += bounds(candidate.ravel(), reference.ravel(), generator).cautious.upper >= MEAN
    # 95 % is meant; a skewed mean of 25 falls a little short on its long side (Efron 1987, table 1).
    assert covered["upper"] / REPEATS > 0.89
    assert covered["lower"] / REPEATS > 0.93
    assert covered["rows"] / REPEATS < 0.75


@pytest.mark.parametrize("blocks", [8, 25])
def test_few_blocks_are_as_sure_as_they_say(blocks: int) -> None:
    """Eight are the least that a retraining is judged by; without the expansion 92 % of 95 would be covered."""
    generator = np.random.default_rng(9)
    covered = 0
    for values in generator.normal(size=(2000, blocks)):
        covered += bounds(values, np.zeros(blocks), generator).cautious.upper >= 0.0
    assert 0.935 < covered / 2000 < 0.975


def test_what_is_hard_for_both_falls_out() -> None:
    generator = np.random.default_rng(1)
    hard = 100.0 * generator.random(BLOCKS)
    found = paired_difference(hard + 1.0, hard, generator)
    assert found.mean == pytest.approx(1.0)
    assert found.cautious.lower == pytest.approx(1.0)
    assert found.cautious.upper == pytest.approx(1.0)


def test_bca_leans_where_the_skewness_is() -> None:
    """Of a long right tail the upper bound lies farther from the mean than the lower, and beyond the percentile's."""
    values = np.random.default_rng(2).exponential(size=40)
    found = paired_difference(values, np.zeros(40), np.random.default_rng(3))
    assert found.bca.upper > found.percentile.upper
    assert found.bca.lower > found.percentile.lower
    assert found.cautious.lower == found.percentile.lower
    assert found.cautious.upper == found.bca.upper


def test_bca_is_that_of_scipy() -> None:
    """Both are of resampled means that differ by chance, by less than a fiftieth of the interval."""
    for seed, blocks in ((10, 12), (11, 40)):
        values = np.random.default_rng(seed).gamma(0.7, size=blocks)
        ours = paired_difference(values, np.zeros(blocks), np.random.default_rng(seed), resamples=100_000).bca
        theirs = bootstrap(
            (values,), np.mean, n_resamples=100_000, confidence_level=0.9, method="BCa", rng=np.random.default_rng(seed)
        ).confidence_interval
        apart = theirs.high - theirs.low
        assert ours.lower == pytest.approx(theirs.low, abs=0.02 * apart)
        assert ours.upper == pytest.approx(theirs.high, abs=0.02 * apart)


def test_of_many_gaussian_blocks_the_bounds_are_the_normal_ones() -> None:
    values = np.random.default_rng(4).normal(size=400)
    found = paired_difference(values, np.zeros(400), np.random.default_rng(5))
    error = 1.6449 * values.std() / 20.0
    for interval in (found.percentile, found.bca):
        assert interval.upper == pytest.approx(values.mean() + error, abs=0.15 * error)
        assert interval.lower == pytest.approx(values.mean() - error, abs=0.15 * error)


def test_the_same_generator_gives_the_same_bounds() -> None:
    values = np.random.default_rng(6).normal(size=(2, 12))
    first, second = (paired_difference(*values, np.random.default_rng(7)) for _ in range(2))
    assert first == second


def test_losses_that_say_nothing_are_refused() -> None:
    generator, good = np.random.default_rng(8), np.ones(5)
    for bad, words in ((np.full(5, np.nan), "non-finite"), (np.ones(4), "do not pair")):
        with pytest.raises(LossesError, match=words):
            paired_difference(bad, good, generator)
    with pytest.raises(LossesError, match="2 blocks"):
        paired_difference(good[:2], good[:2], generator)


def test_block_means_are_of_each_block() -> None:
    numbers, means = block_means(np.array([1.0, 2.0, 10.0, 3.0]), np.array([7, 7, 9, 7]))
    np.testing.assert_array_equal(numbers, [7, 9])
    np.testing.assert_allclose(means, [2.0, 10.0])


SCORES = st.lists(st.integers(0, 6), min_size=1, max_size=25)


@settings(deadline=None)
@given(null=SCORES, changed=SCORES)
def test_auroc_is_the_share_of_pairs_in_order_with_ties_half(null: list[int], changed: list[int]) -> None:
    pairs = [1.0 if c > n else 0.5 if c == n else 0.0 for c in changed for n in null]
    found = auroc(np.array(null, dtype=np.float64), np.array(changed, dtype=np.float64))
    assert found == pytest.approx(np.mean(pairs))


def test_scores_that_tell_nothing_are_refused() -> None:
    with pytest.raises(DataError, match="0 of the null"):
        auroc(np.empty(0), np.ones(3))
    with pytest.raises(DataError, match="non-finite"):
        auroc(np.ones(3), np.array([1.0, np.nan]))
