"""Refinement by derivatives against a linear-quadratic problem solved by hand, with and without bounds."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import block_diag
from scipy.optimize import minimize

from mbrl_control.cadence import VirtualClock
from mbrl_control.planning.condensed import condensed
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.limits import KnotLimits, mean_actions, project
from mbrl_control.planning.methods.choice import method_of, refiner_of
from mbrl_control.planning.methods.refine import Descent, LinearQuadratic, knot_gradient
from mbrl_control.planning.optimize import Begin, Settings, optimize
from mbrl_control.planning.problem import Best, Problem
from mbrl_control.planning.protocol import Expansion, Objective, Scores
from mbrl_control.planning.quadratic import Quadratic
from mbrl_control.planning.risk import Risk

HORIZON, JOINTS, DT = 8, 2, 0.1
STATE = 3 * JOINTS
SMOOTHNESS = np.array([30.0, 10.0])
GOAL = np.array([0.4, -0.3])
WEIGHT = np.array([20.0, 20.0, 0.5, 0.5])
"""Of squared errors of position and speed after each step."""


class Servo:
    """A velocity servo with lag, one past command: linear, its cost quadratic. Evaluator and derivatives."""

    batch_size, horizon, term_names = 16, HORIZON, ("cost",)

    def __init__(self) -> None:
        share = 1.0 - np.exp(-DT / 0.15)
        eye = np.eye(JOINTS)
        self.jacobian = np.block(
            [
                [eye, DT * (1.0 - share) * eye, 0 * eye, DT * share * eye],
                [0 * eye, (1.0 - share) * eye, 0 * eye, share * eye],
            ]
        )

    def motion(self, state: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """[B, H, 2J]"""
        rows, x = [], np.broadcast_to(state[: 2 * JOINTS], (len(actions), 2 * JOINTS))
        for k in range(HORIZON):
            past = np.zeros((len(actions), JOINTS))
            x = np.concatenate([x, past, actions[:, k]], axis=1) @ self.jacobian.T
            rows.append(x)
        return np.stack(rows, axis=1)

    def evaluate(self, state, actions, objective) -> Scores:
        motion = self.motion(state, actions)
        cost = self.cost(state, actions, motion)
        q, dq = motion[..., :JOINTS], motion[..., JOINTS:]
        still = np.zeros(actions.shape[:2])
        wide = np.zeros((*actions.shape[:2], 3 * JOINTS))
        return Scores(cost[None], still, still, self.term_names, cost[None], q, dq, 0 * q, wide)

    def cost(self, state, actions, motion) -> np.ndarray:
        error = motion - np.concatenate([GOAL, np.zeros(JOINTS)])
        before = np.concatenate([np.broadcast_to(state[-JOINTS:], actions[:, :1].shape), actions[:, :-1]], axis=1)
        return (np.square(error) * WEIGHT).sum((1, 2)) + (np.square(actions - before) * SMOOTHNESS).mean((1, 2))

    def gradient(self, state, actions, objective) -> np.ndarray:
        """By central differences: exact for a quadratic."""
        slope, step = np.zeros_like(actions), 1e-3
        for place in np.ndindex(*actions.shape):
            pair = np.stack([actions, actions])
            pair[(0, *place)] += step
            pair[(1, *place)] -= step
            up, down = self.cost(state, pair, self.motion(state, pair))
            slope[place] = (up - down) / (2.0 * step)
        return slope

    def expand(self, states, actions, objective) -> Expansion:
        moved = np.concatenate([states, actions], axis=1) @ self.jacobian.T
        error = moved - np.concatenate([GOAL, np.zeros(JOINTS)])
        hessian = np.broadcast_to(np.diag(2.0 * WEIGHT), (HORIZON, 2 * JOINTS, 2 * JOINTS))
        return Expansion(np.broadcast_to(self.jacobian, (HORIZON, *self.jacobian.shape)), 2.0 * WEIGHT * error, hessian)


SERVO = Servo()
START = np.array([0.1, 0.0, 0.2, -0.1, 0.15, 0.05])


def riccati() -> np.ndarray:
    """Knots [H, J] of the optimum, by dynamic programming over z = (q, dq, action before, knot before, 1)."""
    eye = np.eye(JOINTS)
    a_motion, a_action = SERVO.jacobian[:, : 2 * JOINTS], SERVO.jacobian[:, -JOINTS:]
    half = 0.5 * eye
    motion = np.hstack([a_motion, np.zeros((2 * JOINTS, JOINTS)), a_action @ half])
    action = np.hstack([np.zeros((JOINTS, 3 * JOINTS)), half])
    a = block_diag(np.vstack([motion, action, np.zeros((JOINTS, 4 * JOINTS))]), 1.0)
    b = np.vstack([a_action @ half, half, eye, np.zeros((1, JOINTS))])
    goal = np.concatenate([GOAL, np.zeros(JOINTS)])
    error = np.hstack([np.eye(2 * JOINTS), np.zeros((2 * JOINTS, 2 * JOINTS)), -goal[:, None]])
    stage = error.T @ np.diag(WEIGHT) @ error
    change = np.diag(SMOOTHNESS / (HORIZON * JOINTS))
    from_state = np.hstack([np.zeros((JOINTS, 2 * JOINTS)), -eye, half, np.zeros((JOINTS, 1))])
    value, gains = np.zeros((4 * JOINTS + 1,) * 2), []
    for _ in range(HORIZON):
        ahead = value + stage
        uu = b.T @ ahead @ b + half.T @ change @ half
        uz = b.T @ ahead @ a + half.T @ change @ from_state
        gain = -np.linalg.solve(uu, uz)
        value = a.T @ ahead @ a + from_state.T @ change @ from_state + uz.T @ gain
        gains.append(gain)
    z = np.concatenate([START, FIRST, [1.0]])
    knots = []
    for gain in reversed(gains):
        knots.append(gain @ z)
        z = a @ z + b @ knots[-1]
    return np.array(knots)


FIRST = np.array([0.1, -0.05])
"""Knot 0."""


def test_one_step_of_ilqr_is_the_optimum_of_the_linear_quadratic_problem() -> None:
    search = LinearQuadratic().about(lq_problem(9.0), lq_best(lq_problem(9.0), np.zeros((HORIZON, JOINTS))))
    candidates = search.candidates(16, again=False)
    np.testing.assert_allclose(candidates[0], riccati(), atol=1e-4)


@pytest.mark.parametrize(("bound", "step"), [(0.2, 90.0), (0.5, 90.0), (9.0, 0.1), (0.5, 0.1), (0.5, 0.03)])
def test_one_step_of_ilqr_is_the_optimum_within_bounds_and_rates(bound: float, step: float) -> None:
    """Against a general solver, with many limits at once; the free optimum brought within them is far from it."""
    problem = lq_problem(bound, step)
    start = np.tile(FIRST, (HORIZON, 1))
    quadratic = condensed(problem, lq_best(problem, start))

    def gain(change: np.ndarray) -> float:
        """Of knots that are brought within their limits, as those of every candidate are."""
        x = ((project((start + change)[None], FIRST, problem.limits)[0] - start) / bound).ravel()
        return float(-(0.5 * x @ quadratic.hessian @ x + quadratic.gradient @ x))

    best = gain(bound * _least(quadratic).reshape(HORIZON, JOINTS))
    free = np.linalg.solve(quadratic.hessian, -quadratic.gradient).reshape(HORIZON, JOINTS)
    assert best - gain(bound * free) > 0.05 * best
    assert abs(best - gain(quadratic.step(0.0))) < 1e-3 * best


def _least(quadratic: Quadratic) -> np.ndarray:
    """Within its limits, by sequential quadratic programming."""
    rows = np.concatenate([np.eye(HORIZON * JOINTS), _differences()])
    lower, upper = quadratic.lower.ravel(), quadratic.upper.ravel()
    found = minimize(
        lambda x: 0.5 * x @ quadratic.hessian @ x + quadratic.gradient @ x,
        np.zeros(HORIZON * JOINTS),
        jac=lambda x: quadratic.hessian @ x + quadratic.gradient,
        method="SLSQP",
        constraints=[
            {"type": "ineq", "fun": lambda x: upper - rows @ x, "jac": lambda _: -rows},
            {"type": "ineq", "fun": lambda x: rows @ x - lower, "jac": lambda _: rows},
        ],
        options={"maxiter": 500, "ftol": 1e-9},
    )
    assert found.success, found.message
    return np.asarray(found.x)


def _differences() -> np.ndarray:
    return np.kron(np.eye(HORIZON) - np.eye(HORIZON, k=-1), np.eye(JOINTS))


def test_gradient_by_knots_is_that_by_commands_through_the_knots() -> None:
    generator = np.random.default_rng(0)
    by_action, change = generator.normal(size=(2, HORIZON, JOINTS))
    moved = mean_actions(change[None], np.zeros(JOINTS))[0]
    assert (knot_gradient(by_action) * change).sum() == pytest.approx((by_action * moved).sum())


def test_candidates_of_a_descent_hold_one_that_is_clearly_better() -> None:
    problem, start = lq_problem(1.0), np.zeros((HORIZON, JOINTS))
    best = lq_best(problem, start)
    candidates = Descent().about(problem, best).candidates(16, again=False)
    actions = mean_actions(candidates, FIRST)
    cost = SERVO.evaluate(START, actions, None).cost[0]
    optimum = lq_best(problem, riccati()).cost
    assert cost.min() - optimum < 0.5 * (best.cost - optimum)


@pytest.mark.parametrize(
    ("settings", "iterations", "share"),
    [
        ({"method": "ilqr"}, 2, 1e-6),
        ({"method": "gradient"}, 40, 0.02),
        ({"method": "icem", "refine": "ilqr"}, 2, 1e-6),
        ({"method": "icem", "refine": "gradient", "sampled_iterations": 2}, 30, 0.02),
    ],
)
def test_planners_with_derivatives_reach_the_optimum(settings: dict, iterations: int, share: float) -> None:
    result = lq_run(settings, iterations)
    start = lq_best(lq_problem(9.0), np.zeros((HORIZON, JOINTS))).cost
    optimum = lq_best(lq_problem(9.0), riccati()).cost
    assert optimum - 1e-9 <= result.best.cost < optimum + share * (start - optimum)


def test_refinement_begins_after_the_sampled_iterations() -> None:
    sampled = lq_run({"method": "icem"}, 2)
    same = lq_run({"method": "icem", "refine": "ilqr", "sampled_iterations": 2, "iterations": 3}, 2)
    refined = lq_run({"method": "icem", "refine": "ilqr", "sampled_iterations": 1}, 2)
    assert same.best.cost == sampled.best.cost
    assert refined.best.cost < sampled.best.cost


@pytest.mark.parametrize("part", ["jacobian", "gradient", "hessian"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("refine", ["gradient", "ilqr"])
def test_without_finite_derivatives_the_time_goes_to_samples(refine: str, bad: float, part: str) -> None:
    class Broken(Servo):
        def gradient(self, *args):
            return np.full((HORIZON, JOINTS), bad)

        def expand(self, *args):
            expansion = super().expand(*args)
            return replace(expansion, **{part: np.full_like(getattr(expansion, part), bad)})

    found = lq_run({"method": "icem", "refine": refine, "sampled_iterations": 1}, 5, Broken())
    sampled = lq_run({"method": "icem"}, 5)
    assert found.best.cost == sampled.best.cost
    assert (found.iterations, found.refined, found.converged) == (5, 0, False)


@pytest.mark.parametrize("refine", ["gradient", "ilqr"])
def test_derivatives_that_are_finite_again_are_used(refine: str) -> None:
    class Flickers(Servo):
        asked = 0

        def gradient(self, *args):
            self.asked += 1
            return super().gradient(*args) * (np.nan if self.asked == 1 else 1.0)

        def expand(self, *args):
            self.asked += 1
            expansion = super().expand(*args)
            return replace(expansion, gradient=expansion.gradient * (np.nan if self.asked == 1 else 1.0))

    found = lq_run({"method": "icem", "refine": refine, "sampled_iterations": 1}, 5, Flickers())
    assert 0 < found.refined < 4


def lq_problem(bound: float, step: float = 90.0, model: Servo = SERVO) -> Problem:
    goals = (np.zeros((HORIZON, 3)), np.zeros((HORIZON, JOINTS)), np.ones(1))
    limits = KnotLimits(np.full(JOINTS, bound), np.full(JOINTS, step))
    spread = np.full(JOINTS, 0.3)
    return Problem(model, model, START, FIRST, Objective.plain(*goals), limits, SMOOTHNESS, spread, 0.01 * spread)


def lq_best(problem: Problem, knots: np.ndarray) -> Best:
    scores = SERVO.evaluate(START, mean_actions(knots[None], FIRST), problem.objective)
    rows = (scores.position[0], scores.velocity[0], scores.effort[0], scores.variance[0], scores.epistemic[0])
    return Best(float(scores.cost[0, 0]), knots, *rows, ())


def lq_run(settings: dict, iterations: int, model: Servo = SERVO):
    config = PlannerConfig(**settings)
    nothing = np.zeros((0, HORIZON, JOINTS))
    chosen = Settings(iterations, 6, Risk("mean"), 0, refiner_of(config), config.sampled_iterations)
    budget = (VirtualClock(), 1_000_000, np.random.default_rng(0))
    begin = Begin(np.zeros((HORIZON, JOINTS)), nothing)
    problem = lq_problem(9.0, model=model)
    result = optimize(problem, method_of(config, HORIZON), begin, lambda _: nothing, chosen, *budget)
    assert result is not None
    return result
