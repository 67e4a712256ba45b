"""However many elites are handed on and however few samples there are: a new goal is pursued, chance has a place."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_control.cadence import VirtualClock
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.limits import KnotLimits, mean_actions, project
from mbrl_control.planning.methods.protocol import Distribution, Population
from mbrl_control.planning.optimize import Begin, Settings, optimize
from mbrl_control.planning.problem import Problem
from mbrl_control.planning.protocol import Objective
from mbrl_control.planning.risk import Risk
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import CommandInterface, Goal, GoalKind
from sim.lockstep_model import GraphModel, nominal_model
from tests.contract.planner_bench import EFFORT, MS, ROBOTS, T0, VELOCITY, Bench
from tests.oracle.test_best_so_far import Watched
from tests.oracle.test_refiners import FIRST, HORIZON, JOINTS, SERVO, SMOOTHNESS

LIMITS = KnotLimits(np.full(JOINTS, 0.6), np.full(JOINTS, 0.25))
BOUNDS = [(4, 64, 64), (4, 3, 6), (5, 64, 64), (7, 64, 64), (16, 64, 64)]
"""Samples, warm elites, elites: the fewest, the most."""


@cache
def torques(samples: int) -> GraphModel:
    """The planar arm's nominal model for so many sequences: a graph is opened for one number of them."""
    return nominal_model(load_arm(ROBOTS / "planar.yaml", EFFORT), 0.008, samples=samples).evaluator


def swung(bench: Bench, arm: Arm, signs: tuple[float, ...]) -> np.ndarray:
    """How far the plan that follows on goals to that side, one per cycle, goes to the positive one."""
    end = np.zeros(arm.joints)
    for count, sign in enumerate(signs):
        wanted = arm.home + 0.2 * sign
        goal = Goal(T0 + 20 * count * MS, GoalKind.JOINT, forward_kinematics(arm, wanted), wanted, count)
        plan = bench.cycle(goal, 20 * count).plan
        assert plan is not None
        end = plan.position[-1] - plan.position[0]
    return end


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
@pytest.mark.parametrize("method", ["icem", "cem", "mppi", "random_shooting"])
@pytest.mark.parametrize("interface", [VELOCITY, EFFORT])
def test_a_new_goal_is_pursued_from_the_next_cycle_on(
    interface: CommandInterface, method: str, bounds: tuple[int, int, int]
) -> None:
    arm = load_arm(ROBOTS / "planar.yaml", interface)
    samples, warm, elites = bounds
    config = PlannerConfig(method=method, samples=samples, warm_elites=warm, elites=elites, iterations=1)
    kept, turned = Bench(arm, config), Bench(arm, config)
    for bench in (kept, turned):
        if interface is EFFORT:
            bench.evaluator.inner = torques(samples)
        bench.evaluator.batch_size = samples
    before, after = swung(kept, arm, (1.0,) * 6), swung(turned, arm, (1.0,) * 5 + (-1.0,))
    assert before.sum() > 0.02
    assert after.sum() < -0.005


class Counting:
    """A method whose random samples can be told from what it was given."""

    begins_at_elites = False

    def __init__(self) -> None:
        self.drawn: list[int] = []

    def sample(self, distribution: Distribution, count: int, generator: np.random.Generator) -> np.ndarray:
        self.drawn.append(count)
        return generator.normal(scale=0.1, size=(count, HORIZON, JOINTS))

    def update(
        self, distribution: Distribution, new: Population, elites: Population, floor: np.ndarray
    ) -> Distribution:
        return distribution


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    samples=st.integers(4, 40),
    elites=st.integers(0, 64),
    proposals=st.integers(2, 12),
    iterations=st.integers(1, 3),
)
def test_chance_the_brake_a_move_and_the_best_elite_have_a_place_in_every_population(
    seed: int, samples: int, elites: int, proposals: int, iterations: int
) -> None:
    generator, evaluator, method = np.random.default_rng(seed), Watched(samples, -2.0), Counting()
    spread = np.full(JOINTS, 0.1)
    goals = (np.zeros((HORIZON, 3)), np.zeros((HORIZON, JOINTS)), np.ones(1))
    problem = Problem(
        *(evaluator, SERVO, np.zeros(4 * JOINTS), FIRST, Objective.plain(*goals), LIMITS, SMOOTHNESS, spread, spread)
    )
    mean, *rows = generator.uniform(-0.5, 0.5, (1 + elites + proposals, HORIZON, JOINTS))
    kept, moves = np.reshape(rows[:elites], (elites, HORIZON, JOINTS)), np.array(rows[elites:])
    chosen, budget = Settings(iterations, 6, Risk("mean"), 0), (VirtualClock(), MS, generator)
    optimize(problem, method, Begin(mean, kept), lambda _: moves, chosen, *budget)
    assert len(method.drawn) == len(evaluator.actions) == iterations
    assert min(method.drawn) >= max(1, samples // 8)
    for population in evaluator.actions:
        assert len(population) == samples
        assert contains(population, moves[0])
        assert contains(population, moves[1])
    assert (samples == 4 and elites) or contains(evaluator.actions[0], mean)
    assert not elites or contains(evaluator.actions[0], kept[0])


def contains(actions: np.ndarray, knots: np.ndarray) -> bool:
    """Whether a population scored these knots."""
    wanted = mean_actions(project(knots[None], FIRST, LIMITS), FIRST)[0]
    return bool((np.abs(actions - wanted).max(axis=(1, 2)) < 1e-12).any())
