"""Last-layer Laplace: the Gaussian posterior over the weights of the mean's last layer, draws of it as members.

With hidden units and predicted variances given, the likelihood is Gaussian and the mean linear in these weights, so the
Laplace approximation is exact: Bayesian linear regression with known noise (Bishop 2006, section 3.3). The precision of
the prior N(0, 1 / precision) is the one of greatest evidence on a grid (Daxberger et al. 2021, arXiv:2106.14806). As
the variance was learned with the mean, what the network did not fit counts as noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.anchor import ANCHOR_WEIGHT, Anchor
from mbrl_control.learning.fit_rows import ScaledRows

_PRECISIONS = tuple(10.0**power for power in range(-4, 7))
_CHUNK = 1 << 15


@dataclass(frozen=True, slots=True)
class Moments:
    """What Bayesian linear regression needs of the rows, per output; float64."""

    gram: torch.Tensor
    """[D, G, G] sum of p f f^T, f the G regressors of a row and p its inverse variance."""
    cross: torch.Tensor
    """[D, G] sum of p f y."""
    square: torch.Tensor
    """[D] sum of p y^2."""
    log_noise: torch.Tensor
    """[D] sum of log p / (2 pi)."""

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.gram + other.gram,
            self.cross + other.cross,
            self.square + other.square,
            self.log_noise + other.log_noise,
        )


@dataclass(frozen=True, slots=True)
class Posterior:
    """Gaussian over the weights of each output, independent of one another."""

    mean: torch.Tensor
    """[D, G]"""
    factor: torch.Tensor
    """[D, G, G] lower Cholesky factor of the precision."""
    log_evidence: float
    """Nats, summed over outputs."""

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """[count, D, G]"""
        unit = torch.randn(count, *self.mean.shape, generator=generator, dtype=torch.float64)
        shift: torch.Tensor = torch.linalg.solve_triangular(self.factor.mT, unit[..., None], upper=True)
        return self.mean + shift[..., 0]


def moments(regressors: torch.Tensor, targets: torch.Tensor, precision: torch.Tensor) -> Moments:
    """Regressors [N, G], targets and inverse noise variance [N, D]."""
    f, y, p = regressors.double(), targets.double(), precision.double()
    gram = torch.stack([f.T @ (f * column[:, None]) for column in p.T])
    cross = (p * y).T @ f
    return Moments(gram, cross, (p * y * y).sum(0), (p / (2.0 * math.pi)).log().sum(0))


def posterior(rows: Moments, prior_precision: float) -> Posterior:
    """Exact, of weights that are N(0, 1 / ``prior_precision``) before the rows."""
    size = rows.cross.shape[1]
    precision = rows.gram + prior_precision * torch.eye(size, dtype=torch.float64)
    factor = torch.linalg.cholesky(precision)
    mean = torch.cholesky_solve(rows.cross[..., None], factor)[..., 0]
    log_determinant = 2.0 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    left = rows.square - (rows.cross * mean).sum(-1)
    evidence = 0.5 * (rows.log_noise + size * math.log(prior_precision) - log_determinant - left)
    return Posterior(mean, factor, float(evidence.sum()))


def laplace_members(
    network: ProbabilisticEnsemble, rows: ScaledRows, anchor: Anchor | None, members: int, generator: torch.Generator
) -> ProbabilisticEnsemble:
    """The one ``network`` with as many last layers drawn from the posterior given the training ``rows``."""
    seen = _moments_of(network, rows)
    if anchor is not None:
        seen = seen + _moments_of_anchor(network, anchor, len(rows.weights))
    best = max((posterior(seen, precision) for precision in _PRECISIONS), key=lambda one: one.log_evidence)
    drawn = best.draw(members, generator).float()
    made, outputs = network.select([0] * members), network.shape.outputs
    weights, biases = made.layers[-1]
    with torch.no_grad():
        weights[..., :outputs] = drawn[..., :-1].mT
        biases[:, 0, :outputs] = drawn[..., -1]
    return made


def _moments_of(network: ProbabilisticEnsemble, rows: ScaledRows) -> Moments:
    parts = []
    for start in range(0, len(rows.weights), _CHUNK):
        part = slice(start, start + _CHUNK)
        regressors, variance = _regressors(network, rows.features[part])
        parts.append(moments(regressors, rows.targets[part], rows.weights[part, None] / variance))
    total = parts[0]
    for other in parts[1:]:
        total = total + other
    return total


def _moments_of_anchor(network: ProbabilisticEnsemble, anchor: Anchor, rows: int) -> Moments:
    """The anchor's loss is a Gaussian's of as much precision per point: it is added to a mean over ``rows``."""
    regressors, variance = _regressors(network, anchor.features)
    precision = torch.full_like(variance, 2.0 * ANCHOR_WEIGHT * rows / len(anchor.features))
    return moments(regressors, anchor.targets[0], precision)


def _regressors(network: ProbabilisticEnsemble, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled features [N, F] -> last hidden units and a one [N, H + 1], predicted variance [N, D]."""
    *hidden, _ = network.layers
    with torch.no_grad():
        units = features[None]
        for weights, biases in hidden:
            units = nn.functional.silu(torch.baddbmm(biases, units, weights))
        _, variance = network.heads(features[None])
    return torch.cat([units[0], torch.ones_like(units[0, :, :1])], dim=1), variance[0]
