"""The last layer's posterior is that of Bayesian linear regression, computed another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from mbrl_control.learning.last_layer import moments, posterior

ROWS, SIZE, OUTPUTS, PRIOR_PRECISION = 40, 4, 2, 0.7


@pytest.fixture
def problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    regressors = torch.randn(ROWS, SIZE, generator=generator, dtype=torch.float64)
    targets = torch.randn(ROWS, OUTPUTS, generator=generator, dtype=torch.float64)
    variance = 0.2 + torch.rand(ROWS, OUTPUTS, generator=generator, dtype=torch.float64)
    return regressors, targets, variance


def test_it_is_the_gaussian_conditioned_on_the_rows_one_after_the_other(
    problem: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    """Recursive least squares (Kalman's update of a constant), and the evidence as the joint density of all rows."""
    regressors, targets, variance = (part.numpy() for part in problem)
    found = posterior(moments(problem[0], problem[1], 1.0 / problem[2]), PRIOR_PRECISION)
    evidence = 0.0
    for output in range(OUTPUTS):
        mean, covariance = np.zeros(SIZE), np.eye(SIZE) / PRIOR_PRECISION
        for f, y, v in zip(regressors, targets[:, output], variance[:, output], strict=True):
            gain = covariance @ f / (f @ covariance @ f + v)
            mean, covariance = mean + gain * (y - f @ mean), covariance - np.outer(gain, f @ covariance)
        np.testing.assert_allclose(found.mean[output], mean, atol=1e-10)
        precision = (found.factor[output] @ found.factor[output].T).numpy()
        np.testing.assert_allclose(np.linalg.inv(precision), covariance, atol=1e-10)
        joint = regressors @ regressors.T / PRIOR_PRECISION + np.diag(variance[:, output])
        evidence += multivariate_normal(np.zeros(ROWS), joint).logpdf(targets[:, output])
    assert found.log_evidence == pytest.approx(evidence, rel=1e-9)


def test_draws_have_the_posteriors_moments(problem: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    found = posterior(moments(problem[0], problem[1], 1.0 / problem[2]), PRIOR_PRECISION)
    drawn = found.draw(20_000, torch.Generator().manual_seed(1))
    for output in range(OUTPUTS):
        covariance = torch.linalg.inv(found.factor[output] @ found.factor[output].T)
        torch.testing.assert_close(drawn[:, output].mean(0), found.mean[output], atol=0.01, rtol=0.0)
        torch.testing.assert_close(torch.cov(drawn[:, output].T), covariance, atol=0.003, rtol=0.05)


def test_rows_counted_in_parts_count_the_same(problem: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    regressors, targets, variance = problem
    whole = moments(regressors, targets, 1.0 / variance)
    parts = [moments(regressors[rows], targets[rows], 1.0 / variance[rows]) for rows in (slice(15), slice(15, None))]
    for name in ("gram", "cross", "square", "log_noise"):
        torch.testing.assert_close(getattr(parts[0] + parts[1], name), getattr(whole, name))
