"""What one cycle hands to the next: moved on by the time that has passed, fading to rest behind its end."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.methods.choice import method_of
from mbrl_control.planning.optimize import Longest, Result
from mbrl_control.planning.problem import Best
from mbrl_control.planning.warm_start import HELD, WarmStart
from mbrl_control.signals import Array

DT_NS = 20_000_000
MEAN = np.arange(1.0, 9.0).reshape(4, 2)
"""[H, J]"""
ELITES = np.stack([10.0 + MEAN, 20.0 + MEAN])
"""[E, H, J]"""
REST = np.array([0.5, -0.5])
METHOD = method_of(PlannerConfig(method="cem"), len(MEAN))


def kept(with_mean: bool = True) -> WarmStart:
    nothing = np.zeros_like(MEAN)
    best = Best(0.0, MEAN, nothing, nothing, nothing, nothing, nothing[:, 0], ())
    warm = WarmStart(joints=2, count=2, with_mean=with_mean)
    warm.settle(REST)
    warm.fit(len(MEAN))
    warm.keep(Result(best, MEAN, ELITES, 1, 0, Longest()), start_ns=0)
    return warm


def test_without_the_mean_a_cycle_begins_at_zero_and_at_the_elites_all_the_same() -> None:
    warm = kept(with_mean=False)
    np.testing.assert_array_equal(warm.begin(METHOD, 0, DT_NS).mean, np.zeros_like(MEAN))
    np.testing.assert_array_equal(warm.begin(METHOD, 0, DT_NS).elites, ELITES)
    at_elites = method_of(PlannerConfig(method="icem"), len(MEAN))
    np.testing.assert_array_equal(warm.begin(at_elites, 0, DT_NS).mean, ELITES.mean(axis=0))


@pytest.mark.parametrize(
    ("steps", "last"),
    [
        (0.0, MEAN[3]),
        (1.0, REST + HELD * (MEAN[3] - REST)),
        (0.5, 0.5 * MEAN[3] + 0.5 * (REST + HELD**0.5 * (MEAN[3] - REST))),
        (9.0, REST + HELD**9 * (MEAN[3] - REST)),
    ],
)
def test_rows_move_on_and_go_to_rest_behind_their_end(steps: float, last: Array) -> None:
    begin = kept().begin(METHOD, round(steps * DT_NS), DT_NS)
    np.testing.assert_allclose(begin.mean[3], last)
    times = np.clip(np.arange(3) + steps, 0.0, 3.0)
    between = np.stack([np.interp(times, np.arange(4), MEAN[:, j]) for j in range(2)], axis=1)
    inside = np.arange(3) + steps <= 3.0
    np.testing.assert_allclose(begin.mean[:3][inside], between[inside])


def test_behind_a_goal_that_moves_rows_go_to_what_goes_on_with_it() -> None:
    along = np.array([0.3, -0.2])
    begin = kept().begin(METHOD, DT_NS, DT_NS, along)
    np.testing.assert_allclose(begin.mean[3], REST + along + HELD * (MEAN[3] - REST - along))


def test_what_nobody_improves_goes_to_rest() -> None:
    """A last step that was held would be there for ever, and its noise with it."""
    warm = kept()
    for cycle in range(1, 41):
        begin = warm.begin(METHOD, cycle * DT_NS, DT_NS)
        best = Best(0.0, begin.mean, MEAN, MEAN, MEAN, MEAN, MEAN[:, 0], ())
        warm.keep(Result(best, begin.mean, begin.elites, 1, 0, Longest()), start_ns=cycle * DT_NS)
    np.testing.assert_allclose(begin.mean, np.broadcast_to(REST, MEAN.shape), atol=0.01)
    np.testing.assert_allclose(begin.elites, np.broadcast_to(REST, ELITES.shape), atol=0.02)


def test_held_noise_has_a_bound() -> None:
    """White noise of one standard deviation on every step of every cycle; held, the last step would walk away by the
    square root of the cycles."""
    rng, warm = np.random.default_rng(0), kept()
    found = []
    for cycle in range(1, 2001):
        mean = warm.begin(METHOD, cycle * DT_NS, DT_NS).mean + rng.normal(size=MEAN.shape)
        best = Best(0.0, mean, MEAN, MEAN, MEAN, MEAN, MEAN[:, 0], ())
        warm.keep(Result(best, mean, ELITES[:0], 1, 0, Longest()), start_ns=cycle * DT_NS)
        found.append(mean[-1])
    assert np.std(found) < 1.1 / np.sqrt(1.0 - HELD**2)
