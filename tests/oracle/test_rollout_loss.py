"""The multi-step loss against what it promises: less error after 15 steps where measured states are noisy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.learning.errors import DataError
from mbrl_control.learning.fit_ensemble import FitSettings, fit
from mbrl_control.learning.fit_settings import RolloutLoss
from mbrl_control.learning.rollout_loss import rollout_error, windows_of
from mbrl_control.learning.score import k_step_errors
from tests.oracle.servo_rows import DT_NS, PRIOR, servo_rows
from tests.patience import UNCUT_S

NOISE = 0.15
SETTINGS = FitSettings(
    trained_members=2, elites=2, width=24, epochs=25, batch_size=128, holdout_block=100, max_seconds=UNCUT_S
)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_lowers_the_error_of_15_steps_where_one_step_is_fitted_to_noisy_states(seed: int) -> None:
    """Noise in the measured speed flattens what one step says of it; truth is known without noise."""
    rows, truth = servo_rows(2000, seed, NOISE), servo_rows(600, 100 + seed)
    errors = []
    for rollout in (None, RolloutLoss(15, 1.0, 32)):
        model = fit(rows, PRIOR, torch.Generator().manual_seed(seed), replace(SETTINGS, rollout=rollout)).ensemble
        errors.append(k_step_errors(model, truth, np.arange(len(truth)), (15,))[0])
    assert errors[1].position < 0.9 * errors[0].position
    assert errors[1].velocity < 0.9 * errors[0].velocity


def test_a_model_without_residual_is_as_wrong_as_its_prior() -> None:
    rows = servo_rows(600, 0)
    windows, _ = windows_of(rows, np.arange(500, 600), PRIOR, 10)
    model = ProbabilisticEnsemble(EnsembleShape(2, 1, 3, 8), PRIOR, torch.Generator().manual_seed(0))
    model.silence()
    torch.testing.assert_close(rollout_error(model, windows, windows.start), torch.ones(2), atol=1e-3, rtol=0.0)


def test_the_gradient_is_that_of_the_whole_run() -> None:
    """Along some direction of all weights it is the difference quotient; were a step cut off, it would be another."""
    windows, _ = windows_of(servo_rows(600, 0), np.arange(500, 600), PRIOR, 10)
    exact = {name: getattr(windows, name).double() for name in ("state", "action", "after", "scale")}
    windows, start = replace(windows, **exact), windows.start[:20]
    generator = torch.Generator().manual_seed(0)
    model = ProbabilisticEnsemble(EnsembleShape(2, 1, 3, 8), PRIOR, generator).double()
    weights = [tensor for layer in model.layers for tensor in layer]
    towards = [torch.randn(tensor.shape, generator=generator, dtype=torch.float64) for tensor in weights]

    def error(step: float = 0.0) -> torch.Tensor:
        with torch.no_grad():
            for tensor, direction in zip(weights, towards, strict=True):
                tensor.add_(step * direction)
        return rollout_error(model, windows, start).sum()

    slopes = torch.autograd.grad(error(), weights)
    slope = sum(float((own * direction).sum()) for own, direction in zip(slopes, towards, strict=True))
    ahead, behind = error(1e-6).item(), error(-2e-6).item()
    assert slope == pytest.approx((ahead - behind) / 2e-6, rel=1e-5)


def test_no_run_holds_a_held_out_row_a_gap_or_an_older_regime() -> None:
    rows = servo_rows(300, 0)
    segment = (np.arange(300) >= 120).astype(np.int64)
    rows = replace(rows, segment=segment, session=segment)
    held = np.arange(200, 240)
    train, test = windows_of(rows, held, PRIOR, 10)
    runs = train.start.numpy()[:, None] + np.arange(10)
    assert runs.min() == 120
    assert not np.isin(runs, held).any()
    np.testing.assert_array_equal(test.start.numpy(), np.arange(200, 231))


def test_rows_of_half_a_step_are_taken_every_second() -> None:
    rows = servo_rows(300, 0)
    train, _ = windows_of(replace(rows, stamp_ns=rows.stamp_ns // 2), np.arange(250, 300), PRIOR, 5)
    assert train.stride == 2


def test_rows_without_a_run_are_refused_with_the_remedy() -> None:
    rows = servo_rows(300, 0)
    with pytest.raises(DataError, match=r"rollout\.steps: no gapless run of 15 steps"):
        windows_of(rows, np.arange(250, 260), PRIOR, 15)
    with pytest.raises(DataError, match="do not divide"):
        windows_of(replace(rows, stamp_ns=np.arange(300) * (DT_NS - 1)), np.arange(250, 300), PRIOR, 5)
