"""Scales, calibration errors and scores on errors whose distribution is known, and predictions several steps ahead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.learning.calibration import Errors, calibrate, calibration_error, fit_scale, judged
from mbrl_control.learning.detection import innovation, unfamiliar_pose, unfamiliarity, windowed
from mbrl_control.learning.errors import DataError
from mbrl_control.learning.losses import losses_of, paired, prior_losses
from mbrl_control.learning.open_loop import Predicted, predictions
from mbrl_control.replay.blocks import BLOCK_NS
from tests.unit.noisy_arm import DT_S, LAG_S, knowing, noisy_arm

ROWS = 4000


def drawn(seed: int, truth: tuple[float, ...] = (0.2, 3.0)) -> Errors:
    """Errors whose std is the stated one, which varies by row, times ``truth``."""
    generator = np.random.default_rng(seed)
    std = np.exp(generator.normal(0.0, 0.5, (ROWS, len(truth))))
    return Errors(std * np.array(truth) * generator.normal(size=std.shape), std)


def test_the_scale_is_the_factor_between_stated_and_true_spread() -> None:
    np.testing.assert_allclose(fit_scale(drawn(0)), [0.2, 3.0], rtol=0.05)


def test_a_scaled_spread_is_calibrated_on_rows_it_was_not_fitted_to_and_sharper_than_a_constant() -> None:
    found = judged(15, drawn(0), drawn(1))
    assert found.steps == 15
    assert found.ece < found.ece_worst < 0.02
    assert found.ece_raw > 0.1
    assert found.nll < found.nll_constant < found.nll_raw
    # A constant std of the same coverage of the middle is narrower than the mean of a log-normal one, but not by much.
    assert 0.8 < found.sharpness_ratio < 1.2


def test_a_spread_that_knows_nothing_is_the_constant() -> None:
    errors = Errors(np.random.default_rng(2).normal(size=(ROWS, 3)), np.full((ROWS, 3), 0.1))
    assert judged(1, errors, errors).sharpness_ratio == pytest.approx(1.0, rel=1e-6)


def test_calibration_error_is_the_mean_distance_of_the_shares() -> None:
    """A mean that is far off puts all truths above every quantile: the distance is the mean of the levels."""
    errors = Errors(np.full((50, 1), 100.0), np.ones((50, 1)))
    assert calibration_error(errors)[0] == pytest.approx(0.5)


def test_an_arm_that_mostly_stood_still_has_a_scale() -> None:
    error = np.zeros((100, 1))
    error[::4] = np.random.default_rng(3).normal(size=(25, 1))
    assert 0.05 < fit_scale(Errors(error, np.ones((100, 1))))[0] < 2.0


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        (Errors(np.ones((5, 1)), np.ones((5, 1))), "5 rows"),
        (Errors(np.full((50, 1), np.nan), np.ones((50, 1))), "non-finite"),
        (Errors(np.ones((50, 1)), np.zeros((50, 1))), "not positive"),
        (Errors(np.zeros((50, 1)), np.ones((50, 1))), "output 0 has none"),
    ],
)
def test_errors_without_a_scale_are_refused(errors: Errors, words: str) -> None:
    with pytest.raises(DataError, match=words):
        fit_scale(errors)


def test_noise_is_carried_on_as_it_moves_the_arm() -> None:
    """After 15 steps the stated spread of position and velocity is that of the errors: a scale of one."""
    one, far = predictions(knowing(0.05), noisy_arm(0.05, 3), (1, 15))
    assert np.all(far.epistemic == 0.0)
    for predicted in (one, far):
        ratio = predicted.error.std(axis=0) / predicted.std.mean(axis=0)
        np.testing.assert_allclose(ratio[1:], 1.0, rtol=0.1)
    np.testing.assert_allclose(far.error[:, 0].std() / far.std[:, 0].mean(), 1.0, rtol=0.15)


def test_held_out_halves_judge_each_other() -> None:
    """A spread stated three times too narrow gets the factor three, and is calibrated with it."""
    found = calibrate(knowing(0.05 / 3.0), noisy_arm(0.05, 4, 12_000))
    assert [each.steps for each in found] == [1, 15]
    for each in found:
        assert each.scale[1] == pytest.approx(3.0, rel=0.12)
        assert each.ece < each.ece_raw


def test_the_figures_of_a_half_are_of_the_scale_that_the_other_half_gave() -> None:
    """Nats add up over rows: those of both halves apart are the whole. A scale that had seen its rows gives others."""
    rows, ensemble = noisy_arm(0.05, 7, 4_000), knowing(0.05)
    found = calibrate(ensemble, rows)
    for each, predicted in zip(found, predictions(ensemble, rows, (1, 15)), strict=True):
        odd = (rows.stamp_ns[predicted.starts] // BLOCK_NS) % 2 == 1
        one, other = (Errors(predicted.error[half], predicted.std[half]) for half in (odd, ~odd))
        apart = [(judged(each.steps, other, one), odd.mean()), (judged(each.steps, one, other), 1.0 - odd.mean())]
        for name in ("nll", "nll_raw", "nll_constant"):
            wanted = sum(share * getattr(half, name) for half, share in apart)
            assert getattr(each, name) == pytest.approx(wanted, rel=1e-9), name


def test_losses_are_of_blocks_and_pair_by_number() -> None:
    rows, ensemble = noisy_arm(0.05, 5, 600), knowing(0.05)
    ours, prior = losses_of(ensemble, rows), prior_losses(ensemble.prior, rows)
    np.testing.assert_array_equal(ours.blocks, np.arange(6))
    np.testing.assert_allclose(ours.position, prior.position, rtol=1e-3)
    assert prior.nll is None
    (far,) = predictions(ensemble, rows, (15,))
    first = rows.stamp_ns[far.starts] < BLOCK_NS
    assert ours.position[0] == pytest.approx(np.sqrt(np.mean(far.error[first, 0] ** 2)))
    later = replace(ours, blocks=ours.blocks + 2)
    both = paired(ours, later)
    np.testing.assert_array_equal(both[0].blocks, [2, 3, 4, 5])
    np.testing.assert_array_equal(both[1].position, ours.position[:4])
    with pytest.raises(DataError, match="no block"):
        paired(ours, replace(ours, blocks=ours.blocks + 100))


def test_windows_lack_no_row_and_keep_to_the_clock() -> None:
    stamps = np.delete(np.arange(100, dtype=np.int64) * 20_000_000, 60)
    found = windowed(stamps, stamps[:, None] * 1e-9, 500_000_000, 20_000_000)
    np.testing.assert_array_equal(found.begin_ns, [0, 500_000_000, 1_500_000_000])
    np.testing.assert_allclose(found.mean[:, 0], [0.24, 0.74, 1.74])


def test_disagreement_and_innovation_are_kept_apart() -> None:
    """One is of the members' variance alone, the other of the error in the calibrated spread, by quantity."""
    shape = (10, 6)
    error = np.tile([2.0, 2.0, 0.0, 0.0, 6.0, 0.0], (10, 1))
    said = Predicted(15, np.arange(10), error, np.full(shape, 0.04), np.ones(shape))
    np.testing.assert_allclose(unfamiliarity(said, np.full(6, 0.1)), 2.0)
    np.testing.assert_allclose(innovation(said, np.full(6, 2.0)), np.tile([1.0, 0.0, 4.5], (10, 1)))
    np.testing.assert_allclose(unfamiliarity(replace(said, error=9.0 * error), np.full(6, 0.1)), 2.0)


def test_a_pose_is_as_unfamiliar_as_the_members_disagree_there_at_rest() -> None:
    shape = EnsembleShape(3, 1, 1, 8)
    ensemble = ProbabilisticEnsemble(shape, NominalPrior(DT_S, (LAG_S,)), torch.Generator().manual_seed(1)).eval()
    rows = noisy_arm(0.05, 6, 40)
    still = replace(rows, velocity=0.0 * rows.velocity, history=0.0 * rows.history, action=0.0 * rows.action)
    (one,) = predictions(ensemble, still, (1,))
    unit = np.array([0.1, 1.0, 10.0])
    found = unfamiliar_pose(ensemble, rows.position, unit)
    np.testing.assert_allclose(found, unfamiliarity(one, unit), rtol=1e-5)
    assert found.max() > 0.01
