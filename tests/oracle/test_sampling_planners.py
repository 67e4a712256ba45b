"""Noise against its spectrum; every method against a closed-form optimum, its own formula, and all that was scored."""

from typing import get_args

import numpy as np
import pytest

from mbrl_control.cadence import VirtualClock
from mbrl_control.planning.colored_noise import colored_noise
from mbrl_control.planning.config import PlannerConfig, PlannerConfigError
from mbrl_control.planning.limits import KnotLimits, mean_actions
from mbrl_control.planning.methods.choice import method_of
from mbrl_control.planning.methods.mppi import PathIntegral, path_weights
from mbrl_control.planning.methods.noise import Interpolation, KnotNoise, basis
from mbrl_control.planning.methods.protocol import Distribution, Population
from mbrl_control.planning.optimize import Begin, Settings, optimize
from mbrl_control.planning.problem import Problem
from mbrl_control.planning.protocol import Objective, Scores
from mbrl_control.planning.risk import Risk

HORIZON, JOINTS = 10, 2


class Quadratic:
    """Cost |a - a*|^2: the best knots are known."""

    batch_size = 32
    horizon = HORIZON
    term_names = ("distance",)

    def __init__(self, wanted: np.ndarray) -> None:
        self.wanted = wanted

    def evaluate(self, state, actions, objective):
        cost = np.square(actions - self.wanted).sum(axis=(1, 2))
        zeros = np.zeros_like(actions)
        spread = np.zeros(actions.shape[:2])
        wide = np.zeros((*actions.shape[:2], 3 * JOINTS))
        return Scores(cost[None], spread, spread, self.term_names, cost[None], zeros, zeros, zeros, wide)


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("horizon", [64, 65])
def test_spectrum_falls_with_the_exponent(beta: float, horizon: int) -> None:
    noise = colored_noise(beta, 4000, horizon, 1, np.random.default_rng(0))[..., 0]
    power = np.square(np.abs(np.fft.rfft(noise, axis=1))).mean(axis=0)
    frequency = np.fft.rfftfreq(horizon)
    inner = slice(1, (horizon - 1) // 2 + 1)
    slope = np.polyfit(np.log(frequency[inner]), np.log(power[inner]), 1)[0]
    assert slope == pytest.approx(-beta, abs=0.05)
    assert noise.std() == pytest.approx(1.0, abs=0.03)
    assert abs(noise.mean()) < 0.05


OPTIMIZERS = {
    "icem": {"method": "icem"},
    "cem": {"method": "cem"},
    "mppi": {"method": "mppi"},
    "icem at few knots": {"method": "icem", "knots": 4},
    "icem at few knots, cubic": {"method": "icem", "knots": 4, "interpolation": "cubic"},
    "mppi, coloured": {"method": "mppi", "noise_beta": 2.0},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_iterations_reach_the_closed_form_optimum(name: str) -> None:
    """And leave the baseline, which scores as many samples and learns nothing, far behind."""
    ramp = np.linspace(0.2, 0.6, HORIZON)[:, None] * np.array([1.0, -0.5])
    first = np.array([0.15, -0.07])
    wanted = mean_actions(ramp[None], first)[0]
    result = _run(Quadratic(wanted), first, 60, OPTIMIZERS[name])
    baseline = _run(Quadratic(wanted), first, 60, {"method": "random_shooting"})
    assert result is not None
    assert baseline is not None
    assert result.best.cost < 0.05 * np.square(wanted).sum()
    assert result.best.cost < 0.2 * baseline.best.cost


@pytest.mark.parametrize("name", ["icem", "cem", "mppi", "random_shooting"])
def test_best_is_the_best_of_all_that_was_scored(name: str) -> None:
    seen: list[float] = []

    class Recording(Quadratic):
        def evaluate(self, *args):
            scores = super().evaluate(*args)
            seen.extend(scores.cost[0])
            return scores

    result = _run(Recording(np.full((HORIZON, JOINTS), 0.3)), np.zeros(JOINTS), 5, {"method": name})
    assert result is not None
    assert result.best.cost == min(seen)
    assert len(seen) == 5 * 32


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_mppi_moves_to_the_posterior_mean(temperature: float) -> None:
    """Prior N(m, s^2), cost (x - a)^2: weighted by exp(-cost / t) the samples have the mean of the product of both."""
    generator, middle, std, goal = np.random.default_rng(0), 0.4, 0.3, 1.0
    samples = middle + std * generator.standard_normal(400_000)
    cost = np.square(samples - goal)
    scale = temperature * (np.median(cost) - cost.min())
    precision, pull = 1.0 / std**2, 2.0 / scale
    expected = (precision * middle + pull * goal) / (precision + pull)
    assert path_weights(cost, temperature) @ samples == pytest.approx(expected, abs=0.01)


def test_mppi_draws_with_the_spread_it_is_given_and_keeps_it() -> None:
    """Noise that is drawn unscaled and clipped is a known fault of others."""
    spread = np.array([[0.1, 2.0]] * HORIZON)
    method = PathIntegral(KnotNoise(0.0, HORIZON, 0, "linear"), 0.1)
    given = Distribution(np.full((HORIZON, JOINTS), 0.5), spread)
    samples = method.sample(given, 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(samples.std(axis=0), spread, rtol=0.03)
    np.testing.assert_allclose(samples.mean(axis=0), given.mean, atol=0.05)
    scored = Population(samples, np.square(samples).sum(axis=(1, 2)), samples)
    assert method.update(given, scored, scored.best(3), np.zeros(JOINTS)).std is spread


@pytest.mark.parametrize("name", ["icem", "cem", "mppi", "random_shooting"])
def test_what_is_not_finite_teaches_nothing(name: str) -> None:
    method = method_of(PlannerConfig(method=name), HORIZON)
    given = Distribution(np.zeros((HORIZON, JOINTS)), np.ones((HORIZON, JOINTS)))
    samples = method.sample(given, 8, np.random.default_rng(0))
    nothing = Population(samples, np.full(8, np.inf), samples)
    assert method.update(given, nothing, nothing.best(3), np.zeros(JOINTS)) is given
    half = Population(samples, np.where(np.arange(8) < 4, 1.0, np.inf), samples)
    poisoned = Population(np.where(np.isfinite(half.cost)[:, None, None], samples, np.nan), half.cost, samples)
    learned = method.update(given, poisoned, poisoned.best(3), np.zeros(JOINTS))
    assert np.isfinite(learned.mean).all()


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_knots_are_met_and_straight_lines_stay_straight(interpolation: str) -> None:
    matrix = basis(13, 5, interpolation)
    np.testing.assert_allclose(matrix[::3], np.eye(5), atol=1e-12)
    np.testing.assert_allclose(matrix @ np.arange(5.0), np.arange(13.0) / 3.0, atol=1e-12)


@pytest.mark.parametrize("knots", [2, 3, 4, 5])
def test_a_cubic_is_exact_for_the_highest_power_its_knots_determine(knots: int) -> None:
    places, power = np.linspace(0.0, 12.0, knots), min(knots - 1, 3)
    np.testing.assert_allclose(basis(13, knots, "cubic") @ places**power, np.arange(13.0) ** power, atol=1e-9)


@pytest.mark.parametrize("knots", range(2, 13))
def test_white_noise_varies_between_the_knots_as_its_docstring_says(knots: int) -> None:
    """At 20 steps between two knots."""
    variance = {
        kind: np.square(basis(20 * (knots - 1) + 1, knots, kind)).sum(axis=1) for kind in get_args(Interpolation)
    }
    assert variance["linear"].min() == pytest.approx(0.5)
    assert variance["linear"].max() == pytest.approx(1.0)
    inside = variance["cubic"][20:-20]
    assert variance["cubic"].min() > 0.49
    assert variance["cubic"].max() < 1.4
    assert not len(inside) or (inside.min() > 0.6 and inside.max() < 1.01)


def test_knots_that_do_not_fit_the_horizon_are_refused_with_the_field() -> None:
    with pytest.raises(PlannerConfigError, match="knots: 11 do not fit 10 steps"):
        method_of(PlannerConfig(knots=11), HORIZON)


def _run(evaluator, first, iterations, settings=None):
    goals = (np.zeros((HORIZON, 3)), np.zeros((HORIZON, JOINTS)), np.ones(1))
    problem = Problem(
        evaluator,
        None,
        np.zeros(2 * JOINTS),
        first,
        Objective.plain(*goals),
        KnotLimits(np.ones(JOINTS), np.full(JOINTS, 0.2)),
        np.zeros(JOINTS),
        np.full(JOINTS, 0.5),
        np.full(JOINTS, 0.005),
    )
    method = method_of(PlannerConfig(**(settings or {})), HORIZON)
    nothing = np.zeros((0, HORIZON, JOINTS))
    begin = Begin(np.zeros((HORIZON, JOINTS)), nothing)
    limits = Settings(iterations, 6, Risk("mean"), 0)
    budget = (VirtualClock(), 1_000_000, np.random.default_rng(0))
    return optimize(problem, method, begin, lambda _: nothing, limits, *budget)
