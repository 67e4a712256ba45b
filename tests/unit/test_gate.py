"""What lets a candidate through: the bound on the difference of block losses, and what is refused whatever it says."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_control.learning.judge import Judged, RetrainRefused, Score, Verdict, gate
from mbrl_control.learning.losses import BlockLosses
from mbrl_control.signals import Array

HARD = np.linspace(0.5, 1.5, 12)
"""Losses of the reference."""


def judged(
    candidate: Score = Score(0.9, 1.0),
    losses: Array = 0.9 * HARD,
    nll: float = -5.0,
    reference_id: str = "planar/1",
) -> Judged:
    """Beside a reference whose score is 1 and whose losses are HARD."""
    blocks = np.arange(len(HARD))
    ours, theirs = BlockLosses(blocks, losses, 0.0 * HARD - 5.0), BlockLosses(blocks, HARD, 0.0 * HARD - 4.0)
    return Judged(candidate, Score(1.0, 1.0), reference_id, ours, theirs, (), nll, 0.9, (), (), ())


def decided(case: Judged) -> Verdict:
    return gate(case, np.random.default_rng(0))


def test_a_candidate_within_the_margin_passes_and_the_numbers_are_kept() -> None:
    found = decided(judged(losses=1.01 * HARD))
    assert found.blocks == len(HARD)
    assert found.limit == pytest.approx(0.02 * HARD.mean())
    assert found.lower < found.difference == pytest.approx(0.01 * HARD.mean())
    assert found.difference < found.upper < found.limit
    assert (found.nll_difference, found.confidence) == (pytest.approx(-1.0), 0.95)


def test_the_first_model_has_to_be_better_than_the_prior() -> None:
    assert decided(judged(losses=0.99 * HARD, reference_id="nominal")).limit == 0.0
    with pytest.raises(RetrainRefused, match=r"below 0\.000e"):
        decided(judged(losses=1.001 * HARD, reference_id="nominal"))


def test_better_on_the_mean_of_blocks_that_disagree_is_not_enough() -> None:
    """One block carries the mean; the bound says that another log might have said otherwise."""
    losses = HARD + 0.1 * np.array([1, -1] * 6)
    losses[-1] -= 0.1
    assert losses.mean() < HARD.mean()
    with pytest.raises(RetrainRefused, match=r"12 held-out blocks .* 95% sure to be below"):
        decided(judged(losses=losses))


@pytest.mark.parametrize(
    "case",
    [
        judged(losses=1.1 * HARD),
        judged(candidate=Score(0.9, 1.1)),
        judged(candidate=Score(float("nan"), 1.0)),
        judged(losses=np.where(HARD > 1.49, np.nan, HARD)),
        judged(losses=np.where(HARD > 1.49, np.inf, HARD)),
        judged(nll=float("nan")),
        judged(nll=float("inf")),
    ],
)
def test_worse_or_non_finite_candidates_never_pass(case: Judged) -> None:
    decided(judged())
    with pytest.raises(RetrainRefused, match="refused"):
        decided(case)
