"""The fit on systems whose answer is known."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.learning.errors import DataError
from mbrl_control.learning.fit_ensemble import FitResult, FitSettings, fit
from mbrl_control.learning.model_rows import model_tensors
from mbrl_control.learning.score import coverage_90, k_step_errors
from mbrl_control.signals import Transitions
from tests.patience import UNCUT_S

PRIOR = NominalPrior(0.02, (0.03,))
SETTINGS = FitSettings(trained_members=3, elites=2, width=32, epochs=100, batch_size=128, max_seconds=UNCUT_S)
NOISE = 0.01


def _friction_arm(rows: int) -> Transitions:
    """Prior plus dry friction, with Gaussian noise of NOISE rad/s that enters the state."""
    generator = np.random.default_rng(0)
    commands = np.cumsum(generator.normal(size=rows + 3)) * 0.05
    commands = np.sin(commands) * 0.5
    q, dq = np.zeros(rows + 1), np.zeros(rows + 1)
    alpha, gain = PRIOR.alpha.item(), PRIOR.gain.item()
    for row in range(rows):
        command, friction = commands[row + 3], 0.05 * np.tanh(dq[row] / 0.02)
        q[row + 1] = q[row] + 0.02 * command + gain * (dq[row] - command) - 0.01 * friction
        dq[row + 1] = dq[row] - alpha * (dq[row] - command) - friction + NOISE * generator.normal()
    history = np.stack([commands[index : index + rows] for index in range(3)], axis=1)[..., None]
    zeros = np.zeros(rows, dtype=np.int64)
    column = [value[:, None] for value in (q[:-1], dq[:-1], commands[3:], q[1:], dq[1:], 2.0 * np.tanh(dq[:-1] / 0.02))]
    return Transitions(column[0], column[1], history, *column[2:], np.arange(rows) * 20_000_000, zeros, zeros)


@pytest.fixture(scope="module")
def rows() -> Transitions:
    return _friction_arm(1500)


@pytest.fixture(scope="module")
def result(rows: Transitions) -> FitResult:
    return fit(rows, PRIOR, torch.Generator().manual_seed(0), SETTINGS)


def test_one_step_error_falls_to_the_noise(result: FitResult, rows: Transitions) -> None:
    (one,) = k_step_errors(result.ensemble, rows, result.holdout_rows, (1,))
    assert one.velocity < 1.25 * NOISE
    assert one.velocity < 0.5 * one.nominal_velocity


def test_predicted_variance_is_the_noise(result: FitResult, rows: Transitions) -> None:
    state = torch.tensor([0.0, 0.3, 0.3, 0.3, 0.3]).expand(2, 1, -1)
    with torch.no_grad():
        _, _, variance = result.ensemble(state, torch.tensor([[0.3]]))
    assert float(variance[..., 1].mean()) == pytest.approx(NOISE**2, rel=0.5)
    assert 0.8 < coverage_90(result.ensemble, rows, result.holdout_rows) <= 1.0


def test_members_disagree_more_far_from_the_data(result: FitResult) -> None:
    near = torch.tensor([0.0, 0.2, 0.2, 0.2, 0.2]).expand(2, 1, -1)
    with torch.no_grad():
        spreads = [float(result.ensemble(x, x[0, :, -1:])[1][..., 1].std(0)) for x in (near, near * 20.0)]
    assert spreads[1] > 3.0 * spreads[0]


def test_same_seed_same_weights_and_warm_start_begins_where_the_parent_ended(rows: Transitions) -> None:
    settings = FitSettings(trained_members=2, elites=2, width=8, epochs=2, max_seconds=UNCUT_S)
    first, second = (fit(rows, PRIOR, torch.Generator().manual_seed(5), settings) for _ in range(2))
    for name, value in first.ensemble.state_dict().items():
        assert torch.equal(value, second.ensemble.state_dict()[name])
    warm = fit(rows, PRIOR, torch.Generator().manual_seed(5), settings, warm_start=first.ensemble)
    assert warm.holdout_nll < first.holdout_nll


TINY = FitSettings(trained_members=2, elites=2, width=8, epochs=2, max_seconds=UNCUT_S)


@pytest.fixture(scope="module")
def parent(rows: Transitions) -> ProbabilisticEnsemble:
    return fit(rows, PRIOR, torch.Generator().manual_seed(5), TINY).ensemble


def _rms_of(parent: ProbabilisticEnsemble, rows: Transitions) -> float:
    """Largest of the outputs, in the parent's units."""
    scaled = (model_tensors(rows, PRIOR).residual - parent.target_mean.double()) / parent.target_std.double()
    return float(scaled.square().mean(0).sqrt().max())


@pytest.mark.parametrize("output", ["next_position", "next_velocity", "next_effort"])
@pytest.mark.parametrize("far", [7.0, 100.0])
def test_a_parent_in_whose_scaling_one_output_lies_far_out_is_left_aside(
    rows: Transitions, parent: ProbabilisticEnsemble, output: str, far: float
) -> None:
    """The fit is then the one without a parent, to the bit."""
    index = ("next_position", "next_velocity", "next_effort").index(output)
    shift = far * float(parent.target_std[index])
    new = replace(rows, **{output: getattr(rows, output) + shift})
    assert _rms_of(parent, new) > 6.0
    warm, cold = (fit(new, PRIOR, torch.Generator().manual_seed(6), TINY, warm_start=p) for p in (parent, None))
    for name, value in cold.ensemble.state_dict().items():
        assert torch.equal(value, warm.ensemble.state_dict()[name]), name
    np.testing.assert_array_equal(warm.holdout_rows, cold.holdout_rows)
    assert not torch.equal(warm.ensemble.target_mean, parent.target_mean)


def test_a_parent_whose_scaling_still_fits_is_continued_with_it(
    rows: Transitions, parent: ProbabilisticEnsemble
) -> None:
    new = replace(rows, next_effort=3.5 * rows.next_effort)
    assert 3.0 < _rms_of(parent, new) < 5.0
    warm = fit(new, PRIOR, torch.Generator().manual_seed(6), TINY, warm_start=parent).ensemble
    for name in ("feature_mean", "feature_std", "target_mean", "target_std"):
        assert torch.equal(getattr(warm, name), getattr(parent, name)), name
    with torch.no_grad():
        moved = (warm.w0 - parent.w0).abs().mean() / parent.w0.std()
    assert moved < 0.2, "two epochs away from the parent, not from fresh weights"


def test_a_parent_of_another_shape_is_refused_with_both(rows: Transitions, parent: ProbabilisticEnsemble) -> None:
    with pytest.raises(DataError, match="warm_start: made for J=1, K=3, rows have J=1, K=2"):
        fit(replace(rows, history=rows.history[:, 1:]), PRIOR, torch.Generator(), TINY, warm_start=parent)


def test_the_best_epochs_weights_are_kept_not_the_last_ones(rows: Transitions) -> None:
    settings = FitSettings(
        trained_members=2, elites=2, width=16, epochs=500, patience=3, learning_rate=0.05, max_seconds=UNCUT_S
    )
    seen: list[float] = []
    generator = torch.Generator().manual_seed(1)
    fitted = fit(rows, PRIOR, generator, settings, progress=lambda _, nll: seen.append(nll))
    assert len(seen) - 1 - int(np.argmin(seen)) == 3
    assert seen[-1] > min(seen) + 1e-3
    assert fitted.holdout_nll == pytest.approx(min(seen), abs=1e-5)


def test_rows_of_little_weight_decide_neither_weights_nor_the_held_out_score(rows: Transitions) -> None:
    """Old rows of another arm (its effort turned around) beside new ones: weighted away, they leave no trace."""
    count = len(rows)
    old = replace(rows, next_effort=-rows.next_effort)
    both = Transitions(*(np.concatenate([getattr(part, f.name) for part in (old, rows)]) for f in fields(rows)))
    weights = np.repeat([1e-6, 1.0], count)
    settings = FitSettings(trained_members=2, elites=2, width=32, epochs=25, batch_size=128, max_seconds=UNCUT_S)
    mixed, weighted = (fit(both, PRIOR, torch.Generator().manual_seed(0), settings, given) for given in (None, weights))
    alone = fit(rows, PRIOR, torch.Generator().manual_seed(0), settings)
    assert weighted.holdout_nll < alone.holdout_nll + 1.0
    assert mixed.holdout_nll > weighted.holdout_nll + 2.0


def test_bad_rows_are_refused(rows: Transitions) -> None:
    with pytest.raises(DataError, match="row_weights"):
        fit(rows, PRIOR, torch.Generator(), SETTINGS, row_weights=np.zeros(len(rows)))
    with pytest.raises(DataError, match="at least"):
        fit(_friction_arm(20), PRIOR, torch.Generator(), SETTINGS)


def test_variance_bounds_are_the_softplus_bounds_of_pets() -> None:
    ensemble = ProbabilisticEnsemble(EnsembleShape(1, 1, 1, 4), PRIOR, torch.Generator().manual_seed(0))
    raw = torch.linspace(-30.0, 30.0, 61)[:, None].expand(-1, 3)
    softplus = torch.nn.functional.softplus
    bounded = ensemble.max_log_variance - softplus(ensemble.max_log_variance - raw)
    bounded = ensemble.min_log_variance + softplus(bounded - ensemble.min_log_variance)
    torch.testing.assert_close(ensemble.bounded_variance(raw), bounded.exp())
