"""Coloured noise against its spectrum; the optimizer against a closed-form optimum and an exhaustive comparison."""

import numpy as np
import pytest

from mbrl_control.cadence import VirtualClock
from mbrl_control.planning.colored_noise import colored_noise
from mbrl_control.planning.icem import Problem, Settings, optimize
from mbrl_control.planning.limits import KnotLimits, mean_actions
from mbrl_control.planning.protocol import Scores
from mbrl_control.planning.risk import Risk

HORIZON, JOINTS = 10, 2


class Quadratic:
    """Cost |a - a*|^2: the best knots are known."""

    batch_size = 32
    horizon = HORIZON
    term_names = ("distance",)

    def __init__(self, wanted: np.ndarray) -> None:
        self.wanted = wanted

    def evaluate(self, state, actions, goal_position, goal_joint, weights):
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


def test_iterations_reach_the_closed_form_optimum() -> None:
    ramp = np.linspace(0.2, 0.6, HORIZON)[:, None] * np.array([1.0, -0.5])
    first = np.array([0.15, -0.07])
    wanted = mean_actions(ramp[None], first)[0]
    result = _run(Quadratic(wanted), first, iterations=60)
    assert result is not None
    assert result.best.cost < 0.01 * np.square(wanted).sum()
    np.testing.assert_allclose(mean_actions(result.best.knots[None], first)[0], wanted, atol=0.1)


def test_best_is_the_best_of_all_that_was_scored() -> None:
    seen: list[float] = []

    class Recording(Quadratic):
        def evaluate(self, *args):
            scores = super().evaluate(*args)
            seen.extend(scores.cost[0])
            return scores

    result = _run(Recording(np.full((HORIZON, JOINTS), 0.3)), np.zeros(JOINTS), iterations=5)
    assert result is not None
    assert result.best.cost == min(seen)
    assert len(seen) == 5 * 32


def _run(evaluator, first, iterations):
    problem = Problem(
        evaluator,
        np.zeros(2 * JOINTS),
        first,
        np.zeros((HORIZON, 3)),
        np.zeros((HORIZON, JOINTS)),
        np.ones(1),
        KnotLimits(np.ones(JOINTS), np.full(JOINTS, 0.2)),
        np.full(JOINTS, 0.5),
        np.full(JOINTS, 0.005),
    )
    settings = Settings(iterations, 6, 0.1, 2.0, Risk("mean"), 0)
    nothing = np.zeros((0, HORIZON, JOINTS))
    clock = VirtualClock()
    return optimize(problem, nothing, lambda _: nothing, settings, clock, 1_000_000, np.random.default_rng(0))
