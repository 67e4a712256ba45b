"""The last layer's posterior is that of Bayesian linear regression, computed another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.learning.anchor import ANCHOR_WEIGHT, Anchor
from mbrl_control.learning.fit_rows import ScaledRows
from mbrl_control.learning.last_layer import laplace_members, moments, posterior
from mbrl_control.learning.train import gaussian_nll
from tests.oracle.servo_rows import PRIOR

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


def test_the_draws_are_of_the_likelihood_of_weighted_rows_and_the_anchor_beside_it() -> None:
    """As the training adds them up, without its beta: the minimum is the draws' mean, the curvature their spread."""
    generator = torch.Generator().manual_seed(0)
    network = ProbabilisticEnsemble(EnsembleShape(1, 1, 3, 6, 1), PRIOR, generator)
    features = torch.randn(20_000, network.feature_mean.shape[0], generator=generator)
    targets = features[:, :3] + 0.5 * torch.randn(len(features), 3, generator=generator)
    weights = 0.5 + torch.rand(len(features), generator=generator)
    rows = ScaledRows(features, targets, weights / weights.mean())
    point = torch.randn(1, features.shape[1], generator=generator)
    anchor = Anchor(point.expand(64, -1), torch.full((1, 64, 3), 4.0))
    made = laplace_members(network, rows, anchor, 4000, generator)
    drawn = torch.cat([tensor.detach()[..., :3] for tensor in made.layers[-1]], dim=1).double()

    def units(inputs: torch.Tensor) -> torch.Tensor:
        first, biases = (tensor.detach()[0] for tensor in network.layers[0])
        hidden = torch.nn.functional.silu(inputs @ first + biases)
        return torch.cat([hidden, torch.ones(len(hidden), 1)], dim=1).double()

    regressors, at_point, variance = units(features), units(point), network.heads(features[None])[1][0].detach()

    def loss(last: torch.Tensor) -> torch.Tensor:
        nll = gaussian_nll(regressors @ last, variance.double(), targets.double()).mean(-1)
        return (nll * rows.weights).mean() + ANCHOR_WEIGHT * (at_point @ last - 4.0).square().mean()

    nowhere = torch.zeros(7, 3, dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(loss, nowhere).flatten()
    curvature = torch.autograd.functional.hessian(loss, nowhere).reshape(21, 21)
    torch.testing.assert_close(drawn.mean(0), -torch.linalg.solve(curvature, slope).reshape(7, 3), atol=0.05, rtol=0.0)
    covariance = torch.linalg.inv(3 * len(features) * curvature)
    for output in range(3):
        own = torch.arange(7) * 3 + output
        wanted = covariance[own][:, own]
        torch.testing.assert_close(torch.cov(drawn[..., output].T), wanted, atol=0.1 * float(wanted.max()), rtol=0.0)
