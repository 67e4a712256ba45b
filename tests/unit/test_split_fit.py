"""A fit cut into members: the same ensemble in whatever parts and order, as good as one fitted in one pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mbrl_control.dynamics.rigid_prior import RigidBodyPrior
from mbrl_control.learning.errors import DataError
from mbrl_control.learning.fit_ensemble import FitResult, fit
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.judge import gaussian_nll
from mbrl_control.learning.method import Method
from mbrl_control.learning.split_fit import FitTask, fit_member, fit_split, held_out, merge
from tests.oracle.servo_rows import PRIOR, servo_rows
from tests.oracle.torque_rows import NOTHING, prior_of_arm, rows_of
from tests.patience import UNCUT_S

SETTINGS = FitSettings(trained_members=4, elites=2, width=12, epochs=6, batch_size=64, max_seconds=UNCUT_S)
TASK = FitTask(servo_rows(600, 0, 0.02), PRIOR, 3, SETTINGS)


def assert_same(one: FitResult, other: FitResult) -> None:
    assert (one.epochs, one.holdout_nll, one.cut_off) == (other.epochs, other.holdout_nll, other.cut_off)
    np.testing.assert_array_equal(one.holdout_rows, other.holdout_rows)
    for name, value in one.ensemble.state_dict().items():
        assert torch.equal(value, other.ensemble.state_dict()[name]), name


def torque_task() -> FitTask:
    prior = prior_of_arm("planar")
    rows = rows_of(prior, np.array([[2.0, 1.0], [0.5, 0.3]]), NOTHING, noise=0.01)
    return FitTask(rows, prior, 0, replace(SETTINGS, epochs=2), np.linspace(0.5, 1.5, len(rows)))


@pytest.mark.parametrize("task", [TASK, torque_task()], ids=["velocity", "torques"])
def test_members_fitted_backwards_with_torch_busy_otherwise_are_the_same(task: FitTask) -> None:
    whole = fit_split(task)
    apart = []
    for number in reversed(range(task.settings.trained_members)):
        torch.manual_seed(number)
        torch.rand(100)
        apart.append(fit_member(task, number))
    assert_same(merge(task, apart[::-1], 0.0), whole)


def test_what_a_member_becomes_does_not_depend_on_how_many_there_are() -> None:
    more = replace(TASK, settings=replace(SETTINGS, trained_members=7, elites=7))
    for name, value in fit_member(TASK, 2).member.state_dict().items():
        assert torch.equal(value, fit_member(more, 2).member.state_dict()[name])


def test_members_and_seeds_are_different_draws() -> None:
    weights = [fit_member(replace(TASK, seed=seed), number).member.w0 for seed in (0, 1) for number in (0, 1)]
    for index, one in enumerate(weights):
        assert not any(torch.equal(one, other) for other in weights[index + 1 :])


def test_the_best_by_held_out_score_stay_in_the_order_of_their_numbers() -> None:
    fits = [fit_member(TASK, number) for number in range(4)]
    best = sorted(sorted(range(4), key=lambda number: fits[number].score)[:2])
    merged = merge(TASK, fits, 1.5)
    for place, number in enumerate(best):
        assert torch.equal(merged.ensemble.w1[place], fits[number].member.w1[0])
    assert merged.holdout_nll == np.mean([fits[number].nll for number in best])
    assert merged.seconds == 1.5


def test_a_merged_ensemble_predicts_what_its_members_do() -> None:
    fits = [fit_member(TASK, number) for number in range(4)]
    every = merge(replace(TASK, settings=replace(SETTINGS, elites=4)), fits, 0.0).ensemble
    state, action = torch.randn(1, 9, 5), torch.randn(9, 1)
    with torch.no_grad():
        joined = every(state.expand(4, -1, -1), action)
        for number, one in enumerate(fits):
            for together, alone in zip(joined, one.member(state, action), strict=True):
                torch.testing.assert_close(together[number], alone[0])


def test_it_is_as_good_as_a_fit_in_one_pass() -> None:
    settings = replace(SETTINGS, width=32, epochs=60)
    task = replace(TASK, transitions=servo_rows(2000, 0, 0.02), settings=settings)
    rows = servo_rows(1000, 7, 0.02)
    at_once = fit(task.transitions, PRIOR, torch.Generator().manual_seed(3), settings)
    nominal = gaussian_nll(fit_split(replace(task, settings=replace(settings, epochs=1))).ensemble, rows)
    apart, together = (gaussian_nll(each.ensemble, rows) for each in (fit_split(task), at_once))
    assert apart < nominal - 1.0
    assert apart < together + 0.15


def test_a_warm_start_begins_each_member_with_its_own_parent() -> None:
    parent = fit_split(TASK).ensemble
    task = replace(TASK, warm_start=parent, settings=replace(SETTINGS, trained_members=3, epochs=1, learning_rate=1e-9))
    for number in range(3):
        member = fit_member(task, number).member
        spread = float(parent.w1.detach().std())
        distances = [float((member.w1[0] - parent.w1[origin]).detach().abs().mean()) for origin in range(2)]
        assert int(np.argmin(distances)) == number % 2
        assert min(distances) < 0.1 * spread


def test_torques_share_friction_and_load() -> None:
    task = torque_task()
    merged = fit_split(task).ensemble
    assert isinstance(merged.prior, RigidBodyPrior)
    assert torch.equal(merged.friction, merged.prior.friction)
    assert float(merged.friction[0].min()) > 0.5


def test_members_that_do_not_belong_together_are_refused() -> None:
    fits = [fit_member(TASK, number) for number in range(4)]
    other = replace(TASK, transitions=servo_rows(700, 5, 0.02))
    with pytest.raises(DataError, match="members: feature_mean differs"):
        merge(replace(TASK, settings=replace(SETTINGS, elites=4)), [*fits[:3], fit_member(other, 3)], 0.0)


def test_rounding_of_another_processor_is_no_difference() -> None:
    fits = [fit_member(TASK, number) for number in range(4)]
    with torch.no_grad():
        for fit_ in fits[1:]:
            fit_.member.feature_mean.mul_(1.0 + 1e-6)
    merged = merge(replace(TASK, settings=replace(SETTINGS, elites=4)), fits, 0.0).ensemble
    assert torch.equal(merged.feature_mean, fits[0].member.feature_mean)


@pytest.mark.parametrize(
    "changed", [{"method": Method.DROPOUT}, {"elites": 5}], ids=["one network", "more elites than members"]
)
def test_what_has_no_members_to_part_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(DataError, match="settings"):
        fit_split(replace(TASK, settings=replace(SETTINGS, **changed)))  # type: ignore[arg-type]


def test_held_out_rows_are_the_same_for_all_members_and_other_for_another_seed() -> None:
    assert 0 < len(held_out(TASK)) < 0.3 * len(TASK.transitions)
    assert not np.array_equal(held_out(TASK), held_out(replace(TASK, seed=4)))
