"""A fit on rows of a narrow motion leaves alone what they say nothing of. About 20 s."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mbrl_control.learning.anchor as anchor_module
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.fit_ensemble import FitSettings, fit
from mbrl_control.signals import Array
from tests.oracle.torque_rows import NOTHING, prior_of_arm, rows_of
from tests.patience import UNCUT_S

SETTINGS = FitSettings(
    trained_members=2, elites=2, width=48, epochs=60, batch_size=64, patience=60, max_seconds=UNCUT_S
)
PRIOR = prior_of_arm("planar")
FRICTION = np.array([[1.0, 0.3], [0.5, 0.2]])
NARROW = {"span": np.array([0.1, 0.02]), "speed": np.array([0.5, 0.04])}
"""rad and rad/s: the second joint hardly moves."""
WIDE = rows_of(PRIOR, FRICTION, NOTHING, 99)


def ripple(position: Array) -> Array:
    """[N, J] N m: what neither friction nor a load explains."""
    return np.asarray(np.sin(2.0 * position) * [4.0, 2.0])


def fitted(parent: ProbabilisticEnsemble | None, seed: int, **motion: Array) -> ProbabilisticEnsemble:
    rows = rows_of(PRIOR, FRICTION, NOTHING, seed, 0.002, extra=ripple, **motion)
    return fit(rows, PRIOR, torch.Generator().manual_seed(seed), SETTINGS, warm_start=parent).ensemble


def residual(ensemble: ProbabilisticEnsemble) -> Array:
    """[N, J] N m that the networks put on the joints at motion all over their range, mean of the members."""
    position, velocity, commands = (
        torch.from_numpy(value).float() for value in (WIDE.position, WIDE.velocity, np.tile(WIDE.action, 2))
    )
    features = ensemble.scaled_features(position, velocity, commands)
    with torch.no_grad():
        mean, _ = ensemble.heads(features.expand(ensemble.shape.members, -1, -1))
    return np.asarray((mean.mean(0) * ensemble.target_std + ensemble.target_mean).double().numpy()[:, 2:4])


def rms(values: Array) -> float:
    return float(np.sqrt(np.square(values).mean()))


@pytest.fixture(scope="module")
def parent() -> ProbabilisticEnsemble:
    return fitted(None, 0)


def test_a_parent_knows_the_ripple(parent: ProbabilisticEnsemble) -> None:
    assert rms(residual(parent) + ripple(WIDE.position)) < 0.5 * rms(ripple(WIDE.position))


def test_relearned_from_a_narrow_motion_it_still_does(
    parent: ProbabilisticEnsemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And without the anchor it would not."""
    kept = rms(residual(fitted(parent, 1, **NARROW)) - residual(parent))
    monkeypatch.setattr(anchor_module, "ANCHOR_WEIGHT", 0.0)
    lost = rms(residual(fitted(parent, 1, **NARROW)) - residual(parent))
    assert kept < 0.7 * lost
    assert kept < 0.25 * rms(residual(parent))


def test_a_first_model_of_a_narrow_motion_makes_little_up(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded = rms(residual(fitted(None, 2, **NARROW)))
    monkeypatch.setattr(anchor_module, "ANCHOR_WEIGHT", 0.0)
    assert bounded < 0.2 * rms(residual(fitted(None, 2, **NARROW)))
