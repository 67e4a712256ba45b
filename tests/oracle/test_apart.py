"""Members of an ensemble disagree beyond the range of their rows, as the rows move, and cost nothing within it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import mbrl_control.learning.beginning as beginning_module
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.apart import OFFSET, balanced, held_apart, paired
from mbrl_control.learning.beginning import begin
from mbrl_control.learning.detection import auroc, unfamiliarity
from mbrl_control.learning.fit_ensemble import FitSettings, fit
from mbrl_control.learning.method import Method
from mbrl_control.learning.open_loop import open_loop, predictions
from mbrl_control.learning.score import k_step_errors
from mbrl_control.learning.session import velocity_unit
from mbrl_control.signals import Array, Transitions
from tests.oracle.servo_rows import PRIOR, servo_rows
from tests.patience import UNCUT_S

SETTINGS = FitSettings(trained_members=5, elites=5, width=48, epochs=40, batch_size=128, max_seconds=UNCUT_S)
ROWS, OTHERS = servo_rows(3000, 0, 0.01), servo_rows(3000, 1, 0.01)


def fitted() -> ProbabilisticEnsemble:
    return fit(ROWS, PRIOR, torch.Generator().manual_seed(0), SETTINGS).ensemble


@pytest.fixture(scope="module")
def apart() -> ProbabilisticEnsemble:
    return fitted()


@pytest.fixture(scope="module")
def left_alone() -> ProbabilisticEnsemble:
    """The same fit without it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beginning_module, "held_apart", lambda ensemble, rows, generator: None)
        return fitted()


def inside() -> Transitions:
    """Another session's rows within the range of those learned from."""
    low, high = ROWS.position.min(), ROWS.position.max()
    return replace(OTHERS, position=np.clip(OTHERS.position, low, high))


def outside() -> Transitions:
    """The same motion, 0.3 to 0.6 rad beyond the range."""
    beyond = np.linspace(0.3, 0.6, len(OTHERS))[:, None]
    return replace(OTHERS, position=ROWS.position.max() + beyond)


def spread(ensemble: ProbabilisticEnsemble, rows: Transitions) -> Array:
    """[N] one step ahead, as the deployed graph states it."""
    (one,) = predictions(ensemble, rows, (1,))
    return unfamiliarity(one, velocity_unit(ensemble))


def test_rows_beyond_the_range_are_told_as_they_move(
    apart: ProbabilisticEnsemble, left_alone: ProbabilisticEnsemble
) -> None:
    told, untold = (auroc(spread(each, inside()), spread(each, outside())) for each in (apart, left_alone))
    assert told > 0.98
    assert told > untold


def test_within_the_rows_it_costs_nothing(apart: ProbabilisticEnsemble, left_alone: ProbabilisticEnsemble) -> None:
    every = np.arange(len(OTHERS))
    (ours,), (theirs,) = (k_step_errors(each, OTHERS, every, (1,)) for each in (apart, left_alone))
    assert ours.velocity < 1.03 * theirs.velocity


def successors(first: ProbabilisticEnsemble, count: int) -> ProbabilisticEnsemble:
    """The last of them, each of its parent's weights, in other orders of the rows."""
    for number in range(count):
        first = fit(ROWS, PRIOR, torch.Generator().manual_seed(number), SETTINGS, warm_start=first).ensemble
    return first


def changed(child: ProbabilisticEnsemble, parent: ProbabilisticEnsemble) -> float:
    """Share by which the members' places about their mean differ, outside."""
    places = []
    for each in (child, parent):
        mean, _ = next(open_loop(each, outside(), np.arange(len(OTHERS)), 1))
        places.append((mean - mean.mean(0))[..., 1])  # velocity
    return float((places[0] - places[1]).norm() / places[1].norm())


def test_successors_stay_where_their_parents_members_are(
    apart: ProbabilisticEnsemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = successors(apart, 3)
    monkeypatch.setattr(beginning_module, "kept_apart", lambda ensemble, rows, generator: None)
    lost = successors(apart, 3)
    assert changed(kept, apart) < 0.5 < changed(lost, apart)


@pytest.mark.parametrize(
    ("count", "members", "begun"),
    [
        (5, 5, [0, 1, 2, 3, 4]),
        (7, 5, [0, 1, 0, 2, 3, 2, 4]),
        (5, 7, [0, 1, 3, 4, 6]),
        (4, 4, [0, 1, 2, 3]),
        (3, 1, [0, 0, 0]),
    ],
)
def test_partners_stay_partners(count: int, members: int, begun: list[int]) -> None:
    assert paired(count, members) == begun


@pytest.mark.parametrize(
    ("scores", "count", "chosen"),
    [
        ([0.0, 1.0, 9.0, 2.0, 1.0, 0.0, 50.0], 5, [0, 1, 3, 4, 6]),
        ([5.0, 6.0, 0.0], 2, [0, 1]),
        ([5.0, 6.0, 0.0], 4, [0, 1, 2]),
        ([0.0, 9.0, 8.0, 0.5], 2, [0, 2]),
        ([0.0, 9.0, 1.0, 2.0], 3, [0, 2, 3]),
    ],
)
def test_pairs_are_chosen_as_a_whole_where_that_is_possible(scores: list[float], count: int, chosen: list[int]) -> None:
    assert balanced(torch.tensor(scores), count) == chosen


def test_points_lie_beyond_one_joint_and_the_members_offsets_sum_to_zero() -> None:
    begun = begin(ROWS, PRIOR, torch.Generator().manual_seed(3), SETTINGS, None)
    apart = held_apart(begun.ensemble, begun.rows, torch.Generator().manual_seed(4))
    ensemble = begun.ensemble
    position = apart.features[:, 0] * ensemble.feature_std[0] + ensemble.feature_mean[0]
    low, high = float(ROWS.position.min()), float(ROWS.position.max())
    beyond = torch.maximum(low - position, position - high)
    assert 0.099 < float(beyond.min()) < float(beyond.max()) < 0.801
    assert 0.4 < float((position > high).float().mean()) < 0.6
    offsets = apart.offsets[:, 0]
    assert torch.allclose(offsets.sum(0), torch.zeros(3), atol=1e-6)
    assert float(offsets.square().mean().sqrt()) == pytest.approx(OFFSET, rel=0.5)


def test_one_network_has_nobody_to_differ_from() -> None:
    for method in (Method.DROPOUT, Method.LAPLACE):
        settings = replace(SETTINGS, method=method)
        assert begin(ROWS, PRIOR, torch.Generator().manual_seed(0), settings, None).apart is None
