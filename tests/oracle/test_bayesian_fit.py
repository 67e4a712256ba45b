"""Bayesian networks come out of the same fit, as models like any other; and what each structure is worth in a table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mbrl_control.dynamics.adapters import TorchDynamics
from mbrl_control.dynamics.delta_prior import DeltaPrior
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.learning.compare import RESIDUAL, Recorded, compare, nominal
from mbrl_control.learning.dropout import dropout_members, masked_heads
from mbrl_control.learning.fit_ensemble import FitSettings, fit
from mbrl_control.learning.judge import gaussian_nll
from mbrl_control.learning.method import Method
from mbrl_control.learning.score import k_step_errors
from tests.oracle.servo_rows import PRIOR, servo_rows
from tests.patience import UNCUT_S

NOISE = 0.01
SETTINGS = FitSettings(trained_members=3, elites=4, width=24, epochs=40, batch_size=64, max_seconds=UNCUT_S)


@pytest.mark.parametrize("method", [Method.DROPOUT, Method.LAPLACE])
def test_it_learns_the_servo_and_answers_as_a_dynamics_model(method: Method) -> None:
    fitted = fit(servo_rows(1500, 0, NOISE), PRIOR, torch.Generator().manual_seed(0), replace(SETTINGS, method=method))
    model, held = TorchDynamics(fitted.ensemble), servo_rows(400, 1, NOISE)
    assert model.members == SETTINGS.elites
    state = np.concatenate([held.position, held.velocity, held.history[..., 0]], axis=1)
    answer = model.predict(np.tile(state, (model.members, 1, 1)), held.action)
    assert answer.mean.shape == answer.variance.shape == (model.members, len(held), 3)
    assert (answer.variance > 0.0).all()
    assert (answer.mean.std(axis=0) > 0.0).all(), "members are draws, not copies"
    (error,) = k_step_errors(fitted.ensemble, held, np.arange(len(held)), (1,))
    assert error.velocity < 0.5 * error.nominal_velocity


def test_far_from_the_rows_members_of_the_laplace_posterior_disagree_more() -> None:
    settings = replace(SETTINGS, method=Method.LAPLACE, elites=20)
    model = fit(servo_rows(1500, 0, NOISE), PRIOR, torch.Generator().manual_seed(0), settings).ensemble
    near = torch.tensor([0.0, 0.2, 0.2, 0.2, 0.2]).expand(20, 1, -1)
    with torch.no_grad():
        spread = [float(model(x, x[0, :, -1:])[1][..., 1].std(0)) for x in (near, near * 20.0)]
    assert spread[1] > 3.0 * spread[0]


def test_a_fixed_mask_is_the_network_with_those_units_left_out() -> None:
    network = ProbabilisticEnsemble(EnsembleShape(1, 1, 3, 16, 2), PRIOR, torch.Generator().manual_seed(0))
    members = dropout_members(network, 0.25, 3, torch.Generator().manual_seed(1))
    features = torch.randn(1, 5, network.feature_mean.shape[0], generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        mean, variance = members.heads(features.expand(3, -1, -1))
        for member in range(3):
            hidden = features
            for (weights, biases), (masked, _) in zip(network.layers[:-1], members.layers[1:], strict=True):
                hidden = torch.nn.functional.silu(hidden @ weights + biases)
                kept = masked[member].any(1)
                hidden = hidden * kept / 0.75
            last, bias = network.layers[-1]
            wanted, raw = (hidden @ last + bias).chunk(2, dim=-1)
            torch.testing.assert_close(mean[member : member + 1], wanted)
            torch.testing.assert_close(variance[member : member + 1], network.bounded_variance(raw))
    assert not torch.equal(mean[0], mean[1])


def test_dropout_leaves_the_expected_sum_as_it_is() -> None:
    network = ProbabilisticEnsemble(EnsembleShape(1, 1, 3, 64, 1), PRIOR, torch.Generator().manual_seed(0))
    features = torch.ones(1, 20_000, network.feature_mean.shape[0])
    with torch.no_grad():
        mean, _ = masked_heads(network, features, 0.3, torch.Generator().manual_seed(0))
        torch.testing.assert_close(mean.mean(1), network.heads(features[:, :1])[0][:, 0], atol=0.01, rtol=0.01)


def test_a_pure_networks_targets_are_undone() -> None:
    prior, generator = DeltaPrior(0.02), torch.Generator().manual_seed(0)
    q, dq, a = (torch.randn(4, 2, generator=generator) for _ in range(3))
    outputs = torch.randn(4, 6, generator=generator)
    mean, _ = prior.compose(q[None], dq[None], a, prior.targets(q, dq, a, outputs)[None], torch.ones(1, 4, 6))
    torch.testing.assert_close(mean[0], outputs)


def test_the_table_has_every_structure_and_method_judged_on_rows_of_their_own() -> None:
    settings = replace(SETTINGS, epochs=20)
    rows = Recorded(*(servo_rows(count, seed, NOISE) for seed, count in enumerate((1200, 400, 400))))
    known = fit(rows.train, PRIOR, torch.Generator().manual_seed(0), settings).ensemble
    seen: list[tuple[str, str]] = []
    costs: list[int] = []

    def step_us(model: ProbabilisticEnsemble) -> float:
        costs.append(model.shape.members)
        return float(len(costs))

    once = compare(rows, PRIOR, 0, settings, step_us, {(RESIDUAL, "ensemble"): known}, seen.append)
    found = {(row.structure, row.method): row for row in once}
    assert list(found) == seen
    assert set(found) == {
        ("prior", "nominal"),
        *((structure, method.value) for structure in ("prior + residual", "network") for method in Method),
    }
    learned = found["prior + residual", "ensemble"]
    assert learned.nll < found["prior", "nominal"].nll
    assert learned.position_15 < found["prior", "nominal"].position_15
    (error,) = k_step_errors(known, rows.held, np.arange(len(rows.held)), (15,))
    assert (learned.position_15, learned.velocity_15) == pytest.approx((error.position, error.velocity), rel=1e-5)
    assert learned.nll == pytest.approx(gaussian_nll(known, rows.held), abs=0.05)
    assert [row.step_us for row in once] == list(range(1, 8))
    assert costs == [1, *2 * [SETTINGS.trained_members, SETTINGS.elites, SETTINGS.elites]]
    # What is given is what would have been fitted.
    assert compare(rows, PRIOR, 0, replace(settings, epochs=20), lambda model: 1.0)[1] == replace(learned, step_us=1.0)


def test_the_nominal_models_likelihood_is_that_of_its_residuals_variance() -> None:
    rows = servo_rows(500, 0, NOISE)
    (q, dq), effort = PRIOR.step(*(torch.from_numpy(a) for a in (rows.position, rows.velocity, rows.action))), 0.0
    off = [rows.next_position - q.numpy(), rows.next_velocity - dq.numpy(), rows.next_effort - effort]
    wanted = sum(0.5 * (1.0 + np.log(2.0 * np.pi * np.mean(e**2))) for e in off)
    assert gaussian_nll(nominal(PRIOR, rows), rows) == pytest.approx(wanted, abs=0.01)
