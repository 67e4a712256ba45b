"""The step's dry friction and end stops against every possible pattern of sticking, slipping and stopping."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.joint_step import velocity_after_step

Problem = tuple[np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]


def problem(seed: int, joints: int) -> Problem:
    """Random inertia, impulse, friction and stops, of a size at which all patterns occur."""
    generator = np.random.default_rng(seed)
    root = generator.standard_normal((joints, joints))
    inertia = root @ root.T + 0.1 * np.eye(joints)
    friction = generator.choice([0.0, 0.5, 2.0], joints)
    bounds = (-generator.choice([-0.1, 0.2, 5.0], joints), generator.choice([0.15, 0.2, 5.0], joints))
    return inertia, 2.0 * generator.standard_normal(joints), friction, bounds


def cost(problem: Problem, v: np.ndarray) -> float:
    inertia, impulse, friction, _ = problem
    return float(0.5 * v @ inertia @ v - impulse @ v + friction @ np.abs(v))


def best_pattern(problem: Problem) -> np.ndarray:
    """The cheapest feasible stationary point over all 5^J patterns: at a stop, at rest, slipping either way."""
    inertia, impulse, friction, (lower, upper) = problem
    found = []
    for pattern in product(("lower", "-", "0", "+", "upper"), repeat=len(impulse)):
        v = np.select([np.array(pattern) == "lower", np.array(pattern) == "upper"], [lower, upper], 0.0)
        slip = np.flatnonzero(np.isin(pattern, ("-", "+")))
        sign = np.where(np.array(pattern) == "+", 1.0, -1.0)
        pull = impulse - inertia @ v - friction * sign
        v[slip] = np.linalg.solve(inertia[np.ix_(slip, slip)], pull[slip])
        if (v >= lower - 1e-12).all() and (v <= upper + 1e-12).all():
            found.append(v)
    return min(found, key=lambda v: cost(problem, v))


@pytest.mark.parametrize("joints", [1, 2, 3])
def test_it_is_the_best_of_all_patterns(joints: int) -> None:
    for seed in range(60):
        inertia, impulse, friction, bounds = case = problem(seed, joints)
        v = velocity_after_step(inertia, impulse, friction, bounds, np.zeros(joints))
        np.testing.assert_allclose(v, best_pattern(case), atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), guess=st.floats(-10, 10))
def test_seven_joints_obey_the_friction_law_from_any_guess(seed: int, guess: float) -> None:
    """Slipping joints feel the whole friction against their motion, resting ones no more than that; stops only push."""
    inertia, impulse, friction, bounds = problem(seed, 7)
    v = velocity_after_step(inertia, impulse, friction, bounds, np.full(7, guess))
    reaction = inertia @ v - impulse
    inside = (v > bounds[0]) & (v < bounds[1])
    slips, rests = inside & (v != 0.0), inside & (v == 0.0)
    np.testing.assert_allclose(reaction[slips], -(friction * np.sign(v))[slips], atol=1e-8)
    assert (np.abs(reaction[rests]) <= friction[rests] + 1e-8).all()
    at_lower, at_upper = v == bounds[0], v == bounds[1]
    assert (reaction[at_lower] >= -(friction + 1e-8)[at_lower]).all()
    assert (reaction[at_upper] <= (friction + 1e-8)[at_upper]).all()
    assert ((v >= bounds[0]) & (v <= bounds[1])).all()


def test_an_inertia_without_a_minimum_is_refused() -> None:
    wrong = np.array([[1.0, 1.5], [1.5, 1.0]])
    bounds = (np.full(2, -np.inf), np.full(2, np.inf))
    with pytest.raises(RuntimeError, match="no solution"):
        velocity_after_step(wrong, np.ones(2), np.full(2, 0.1), bounds, np.ones(2))
