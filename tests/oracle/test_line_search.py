"""The line search of refinements within a cycle: what follows where a population brings nothing, and when it ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mbrl_control.planning.limits import mean_actions
from mbrl_control.planning.methods.refine import Descent, LinearQuadratic
from mbrl_control.planning.optimize import optimize
from mbrl_control.planning.protocol import Scores
from mbrl_control.robot import load_arm
from mbrl_control.signals import PlanOutcome
from tests.contract.planner_bench import ROBOTS, Bench, pose
from tests.oracle.test_refiners import FIRST, HORIZON, JOINTS, Servo, lq_best, lq_problem, lq_run


@pytest.mark.parametrize("count", [4, 5, 16, 64])
@pytest.mark.parametrize("refiner", [Descent(), LinearQuadratic()])
def test_lengths_spread_over_their_whole_range_however_few_there_are(refiner, count: int) -> None:
    """Of those in one direction; and a second population brings none of the first again."""
    problem, start = lq_problem(9.0), np.zeros((HORIZON, JOINTS))
    search = refiner.about(problem, lq_best(problem, start))
    first, second = search.candidates(count, again=False), search.candidates(count, again=True)
    every = 3 if isinstance(refiner, LinearQuadratic) else 1
    for tried in (first, second):
        along = tried[::every] / np.abs(tried[0]).max()
        lengths = np.abs(along).max(axis=(1, 2))
        assert (np.diff(lengths) < 0.0).all()
        assert lengths[-1] < 0.1
        np.testing.assert_allclose(along, lengths[:, None, None] * along[0], atol=1e-12)
    assert np.abs(second[::every]).max() < np.abs(first[::every]).max()
    apart = np.abs(first[:, None] - second[None]).max(axis=(2, 3)) / np.abs(second).max(axis=(1, 2))
    assert apart.min() > 1e-3


class Counted(Servo):
    """Whose derivatives are counted, and whose costs are ``judged`` before they are told."""

    def __init__(self, judged) -> None:
        super().__init__()
        self.asked, self.judged = 0, judged

    def gradient(self, *args):
        self.asked += 1
        return super().gradient(*args)

    def expand(self, *args):
        self.asked += 1
        return super().expand(*args)

    def evaluate(self, state, actions, objective) -> Scores:
        scores = super().evaluate(state, actions, objective)
        return replace(scores, cost=self.judged(scores.cost, actions))


def _far(actions: np.ndarray) -> np.ndarray:
    """[B] largest change from the mean commands of knots of zero."""
    return np.abs(actions - mean_actions(np.zeros((1, HORIZON, JOINTS)), FIRST)).max(axis=(1, 2))


@pytest.mark.parametrize(("method", "refiner"), [("gradient", Descent()), ("ilqr", LinearQuadratic())])
def test_where_no_step_is_better_shorter_ones_about_the_same_derivatives_are(method: str, refiner) -> None:
    """Better is only what changes less than the least of the first candidates: a step that the model is wrong about."""
    start = np.zeros((HORIZON, JOINTS))
    candidates = refiner.about(lq_problem(9.0), lq_best(lq_problem(9.0), start)).candidates(16, again=False)
    within = 0.9 * _far(mean_actions(candidates, FIRST)).min()
    model = Counted(lambda cost, actions: cost + np.where(_far(actions) > within, 1e3, 0.0))
    failed, found = (lq_run({"method": method}, iterations, model) for iterations in (2, 3))
    np.testing.assert_array_equal(failed.best.knots, start)
    assert found.best.cost < failed.best.cost
    assert model.asked == 2
    assert not found.converged


@pytest.mark.parametrize("method", ["gradient", "ilqr"])
def test_a_search_that_finds_nothing_twice_has_converged_and_spends_no_more(method: str) -> None:
    model = Counted(lambda cost, actions: np.ones_like(cost))
    result = lq_run({"method": method}, 64, model)
    assert (result.iterations, result.refined, result.converged) == (3, 2, True)
    assert model.asked == 1


def test_a_plan_that_has_converged_is_no_plan_whose_budget_ended() -> None:
    bench = Bench(load_arm(ROBOTS / "planar.yaml"))

    def converging(*cycle):
        return replace(optimize(*cycle), iterations=1, converged=True)

    bench.planner._optimizer = converging
    assert bench.cycle(pose(bench.arm), 0).report.outcome is PlanOutcome.OPTIMIZED
