"""Whatever the method: what an optimizer returns was scored as it stands, and nothing it was given was better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_control.cadence import VirtualClock
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.limits import KnotLimits, mean_actions, project
from mbrl_control.planning.methods.choice import method_of, refiner_of
from mbrl_control.planning.optimize import AllScoresInvalid, Begin, Settings, optimize
from mbrl_control.planning.problem import Problem
from mbrl_control.planning.protocol import Objective, Scores
from mbrl_control.planning.risk import Risk
from tests.oracle.test_refiners import FIRST, HORIZON, JOINTS, SERVO, SMOOTHNESS, START

METHODS = {
    "icem": {"method": "icem"},
    "cem": {"method": "cem"},
    "mppi": {"method": "mppi"},
    "random shooting": {"method": "random_shooting"},
    "gradient": {"method": "gradient"},
    "ilqr": {"method": "ilqr"},
    "cem, then gradient": {"method": "cem", "refine": "gradient"},
    "mppi, then ilqr": {"method": "mppi", "refine": "ilqr"},
}
LIMITS = KnotLimits(np.full(JOINTS, 0.6), np.full(JOINTS, 0.25))


class Watched:
    """The linear servo, some of whose costs are not finite: always the same sequences'. Keeps all that it scored."""

    horizon, term_names = HORIZON, SERVO.term_names

    def __init__(self, samples: int, spoilt: float) -> None:
        self.batch_size, self._spoilt = samples, spoilt
        self.actions: list[np.ndarray] = []
        self.costs: list[np.ndarray] = []

    def evaluate(self, state: np.ndarray, actions: np.ndarray, objective: Objective) -> Scores:
        scores = SERVO.evaluate(state, actions, objective)
        cost = self.cost(actions)
        self.actions.append(actions.copy())
        self.costs.append(cost)
        return replace(scores, cost=cost[None])

    def cost(self, actions: np.ndarray) -> np.ndarray:
        """[B]"""
        cost = SERVO.evaluate(START, actions, None).cost[0]
        return np.where(np.sin(1e4 * actions.sum(axis=(1, 2))) < self._spoilt, np.nan, cost)


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    samples=st.integers(4, 40),
    elites=st.integers(0, 20),
    iterations=st.integers(2, 4),
    spoilt=st.sampled_from([-2.0, -0.5, 0.9]),
)
def test_no_plan_is_worse_than_its_warm_start_nor_one_that_nobody_scored(
    name: str, seed: int, samples: int, elites: int, iterations: int, spoilt: float
) -> None:
    config, generator = PlannerConfig(**METHODS[name]), np.random.default_rng(seed)
    evaluator = Watched(samples, spoilt)
    goals = (np.zeros((HORIZON, 3)), np.zeros((HORIZON, JOINTS)), np.ones(1))
    spread = np.full(JOINTS, generator.uniform(0.01, 0.5))
    problem = Problem(
        *(evaluator, SERVO, START, FIRST, Objective.plain(*goals), LIMITS, SMOOTHNESS, spread, 0.1 * spread)
    )
    mean, *kept = generator.uniform(-0.8, 0.8, (1 + elites, HORIZON, JOINTS))
    begin = Begin(mean, np.reshape(kept, (elites, HORIZON, JOINTS)))
    chosen = Settings(iterations, 6, Risk("mean"), 0, refiner_of(config), config.sampled_iterations)
    warm = kept[0] if elites else mean
    warm_cost = float(evaluator.cost(mean_actions(project(warm[None], FIRST, LIMITS), FIRST))[0])
    nothing = np.zeros((0, HORIZON, JOINTS))
    budget = (VirtualClock(), 1_000_000, generator)
    try:
        result = optimize(problem, method_of(config, HORIZON), begin, lambda _: nothing, chosen, *budget)
    except AllScoresInvalid:
        assert not np.isfinite(np.concatenate(evaluator.costs)).any()
        return
    assert result is not None
    actions, costs = np.concatenate(evaluator.actions), np.concatenate(evaluator.costs)
    # Sums of another number of rows round otherwise.
    assert not result.best.cost > warm_cost * (1.0 + 1e-12)
    assert result.best.cost == np.nanmin(costs)
    executed = mean_actions(result.best.knots[None], FIRST)[0]
    assert (actions[np.nanargmin(costs)] == executed).all()
    np.testing.assert_array_equal(project(result.best.knots[None], FIRST, LIMITS)[0], result.best.knots)
