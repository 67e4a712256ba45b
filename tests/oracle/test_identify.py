"""Friction and load found in rows whose physics is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mbrl_control.dynamics.prior import prior_of
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior
from mbrl_control.learning.identify import LOAD_REACH_M, identify, prior_of_each_regime
from mbrl_control.learning.model_rows import model_tensors, rows_beside
from mbrl_control.rigid_load import moments_about, point_moments
from mbrl_control.robot import load_arm
from mbrl_control.signals import Transitions
from sim.generate import ROBOTS
from tests.oracle.torque_rows import DT, NOTHING, ROWS, prior_of_arm, rows_of


@pytest.fixture(scope="module", params=["planar", "panda", "ur5e"])
def prior(request: pytest.FixtureRequest) -> RigidBodyPrior:
    return prior_of_arm(request.param)


def friction_of(prior: RigidBodyPrior) -> np.ndarray:
    generator = np.random.default_rng(7)
    return np.stack([generator.uniform(0.1, 0.9, prior.joints), generator.uniform(0.2, 1.5, prior.joints)])


def box(prior: RigidBodyPrior, mass: float, away: tuple[float, float, float], side: float) -> np.ndarray:
    """[10] of a solid cube, by eight points that have its second moments."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * side / np.sqrt(12.0)
    return np.asarray(mass / 8.0 * point_moments(prior.tool + np.array(away) + corners).sum(axis=0))


def two_regimes(prior: RigidBodyPrior, friction: np.ndarray, load: np.ndarray) -> Transitions:
    """Regime 3 without the load, regime 4 with it."""
    first, second = rows_of(prior, friction, NOTHING, 1, 0.002), rows_of(prior, friction, load, 2, 0.002)
    both = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in first.__dataclass_fields__}
    return replace(Transitions(**both), session=np.repeat([3, 4], ROWS))


def lacking(prior: RigidBodyPrior, friction: np.ndarray, true: np.ndarray, found: np.ndarray) -> float:
    """RMS N m of the torque by which two loads differ on other motion, of what the true one takes."""
    other = rows_of(prior, friction, true, seed=99)
    none, wrong = (rows_of(prior, friction, load, seed=99).action for load in (NOTHING, found))
    return float(np.sqrt(np.mean((wrong - other.action) ** 2) / np.mean((none - other.action) ** 2)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_friction_and_load_are_found_together(prior: RigidBodyPrior, seed: int) -> None:
    friction, load = friction_of(prior), box(prior, 1.5, (0.05, -0.03, 0.08), 0.1)
    noise = 0.002
    found, carried = identify(prior, rows_of(prior, friction, load, seed, noise), np.zeros_like(friction), NOTHING)
    np.testing.assert_allclose(found, friction, rtol=0.1, atol=0.05)
    assert lacking(prior, friction, load, carried) < 0.05


def test_of_a_panda_all_that_a_load_is_shows() -> None:
    prior = prior_of_arm("panda")
    friction, load = friction_of(prior), box(prior, 1.5, (0.05, -0.03, 0.08), 0.1)
    _, found = identify(prior, rows_of(prior, friction, load, noise=0.002), friction, NOTHING)
    assert found[0] == pytest.approx(1.5, rel=0.02)
    np.testing.assert_allclose(found[1:4] / found[0], load[1:4] / load[0], atol=0.005)


def test_an_arm_that_carries_nothing_is_found_to(prior: RigidBodyPrior) -> None:
    friction = friction_of(prior)
    found, load = identify(prior, rows_of(prior, friction, NOTHING, noise=0.002), np.zeros_like(friction), NOTHING)
    np.testing.assert_allclose(found, friction, rtol=0.1, atol=0.05)
    assert load[0] < 0.03


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_rows_say_the_load_is_one_that_a_body_can_have(prior: RigidBodyPrior, seed: int) -> None:
    """Torques at random: mass at least 0, second moments about the centre of no negative eigenvalue, near the tool."""
    rows = rows_of(prior, friction_of(prior), NOTHING)
    noise = np.random.default_rng(seed).normal(size=rows.action.shape) * 50.0
    friction, load = identify(prior, replace(rows, action=noise), np.zeros((2, prior.joints)), NOTHING)
    assert (friction >= 0.0).all()
    assert load[0] >= 0.0
    pseudo = np.zeros((4, 4))
    for value, (i, j) in zip(load[4:], ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)), strict=True):
        pseudo[i, j] = pseudo[j, i] = value
    pseudo[:3, 3] = pseudo[3, :3] = load[1:4]
    pseudo[3, 3] = load[0]
    assert np.linalg.eigvalsh(pseudo).min() > -1e-9 * max(load[0], 1.0)
    assert np.abs(load[1:4] - load[0] * prior.tool).max() <= LOAD_REACH_M * load[0] + 1e-9


def test_an_arm_that_never_slides_carries_what_is_expected(prior: RigidBodyPrior) -> None:
    load = box(prior, 1.5, (0.0, 0.0, 0.1), 0.1)
    rows = rows_of(prior, friction_of(prior), load, speed=0.04)
    for expected in (NOTHING, load):
        friction, found = identify(prior, rows, np.zeros((2, prior.joints)), expected)
        assert not friction.any()
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("known", [True, False])
def test_one_joint_alone_makes_no_load_up(prior: RigidBodyPrior, known: bool) -> None:
    """The mass of a load at the tool turns about the last axis without any torque: nothing says how large it is."""
    friction = friction_of(prior)
    for joint in range(prior.joints):
        speed = np.where(np.arange(prior.joints) == joint, 0.8, 0.01)
        for load in (NOTHING, box(prior, 2.0, (0.02, 0.0, 0.08), 0.1)):
            rows = rows_of(prior, friction, load, joint, 0.002, speed)
            _, found = identify(prior, rows, friction if known else 0.0 * friction, load)
            assert found[0] == pytest.approx(load[0], abs=0.3)


def test_a_few_blows_change_little(prior: RigidBodyPrior) -> None:
    friction, load = friction_of(prior), box(prior, 1.5, (0.05, -0.03, 0.08), 0.1)
    rows, generator = rows_of(prior, friction, load, noise=0.002), np.random.default_rng(3)
    struck = generator.random((ROWS, 1)) < 0.03
    rows = replace(rows, action=rows.action + struck * generator.normal(0.0, 40.0, rows.action.shape))
    found, carried = identify(prior, rows, 0.0 * friction, NOTHING)
    np.testing.assert_allclose(found, friction, rtol=0.2, atol=0.1)
    assert lacking(prior, friction, load, carried) < 0.1


def test_a_load_beyond_the_search_is_found_at_its_edge() -> None:
    prior = prior_of_arm("panda")
    load, friction = box(prior, 1.0, (0.0, 0.0, 0.3), 0.02), friction_of(prior)
    _, found = identify(prior, rows_of(prior, friction, load, noise=0.002), friction, NOTHING)
    assert found[3] / found[0] == pytest.approx(prior.tool[2] + LOAD_REACH_M, abs=1e-6)


def test_moments_are_carried_from_place_to_place() -> None:
    points, place = np.random.default_rng(0).normal(size=(2, 9, 3))
    np.testing.assert_allclose(point_moments(points) @ moments_about(place[0]), point_moments(points - place[0]))


def test_rows_overrule_what_was_expected(prior: RigidBodyPrior) -> None:
    """A parent's load that is no longer there is gone."""
    friction, load = friction_of(prior), box(prior, 2.0, (0.02, 0.0, 0.08), 0.1)
    _, found = identify(prior, rows_of(prior, friction, NOTHING, noise=0.002), friction, load)
    other, none = (rows_of(prior, friction, value, seed=99).action for value in (found, NOTHING))
    assert np.sqrt(np.mean((other - none) ** 2)) < 0.05 * np.sqrt(
        np.mean((rows_of(prior, friction, load, seed=99).action - none) ** 2)
    )


def test_a_log_that_mostly_rests_is_read_where_it_moves() -> None:
    prior = prior_of_arm("panda")
    friction, load = friction_of(prior), box(prior, 2.0, (0.02, 0.0, 0.08), 0.1)
    moving, resting = rows_of(prior, friction, load, noise=0.002), rows_of(prior, friction, load, 1, speed=0.0)
    resting = replace(resting, next_velocity=0.0 * resting.velocity)
    names = moving.__dataclass_fields__
    rows = {name: np.concatenate([getattr(moving, name), *20 * [getattr(resting, name)]]) for name in names}
    found, carried = identify(prior, Transitions(**rows), 0.0 * friction, NOTHING)
    np.testing.assert_allclose(found, friction, rtol=0.1, atol=0.05)
    assert carried[0] == pytest.approx(2.0, rel=0.02)


def test_a_newest_regime_that_hardly_moves_keeps_the_parents_load() -> None:
    prior = prior_of_arm("panda")
    friction, load = friction_of(prior), box(prior, 2.0, (0.0, 0.0, 0.05), 0.08)
    rows = rows_of(prior, friction, load, speed=0.03)
    for regime in prior_of_each_regime(prior, rows, prior.with_found(friction, load)).values():
        assert isinstance(regime, RigidBodyPrior)
        np.testing.assert_allclose(regime.load.numpy(), load)


def test_rows_of_two_regimes_are_learned_each_beside_its_own_load() -> None:
    """Nothing is left to learn but noise, in either."""
    prior = prior_of_arm("panda")
    friction, load = friction_of(prior), box(prior, 2.0, (0.0, 0.0, 0.05), 0.08)
    rows = two_regimes(prior, friction, load)
    newest, seen = rows_beside(prior, rows, prior.with_found(friction, NOTHING))
    assert isinstance(newest, RigidBodyPrior)
    assert float(newest.load[0]) == pytest.approx(2.0, abs=0.04)
    residual = torch.cat([piece.residual for _, piece in seen.pieces()])
    torque = residual[:, prior.joints : 2 * prior.joints].numpy()
    sliding = np.minimum(np.abs(rows.velocity), np.abs(rows.next_velocity)) > 0.1
    for regime in (3, 4):
        left = torque[rows.session == regime][sliding[rows.session == regime]]
        assert np.sqrt(np.mean(left**2)) < 0.5
    alone = model_tensors(rows, prior.with_found(friction, NOTHING)).residual[:, prior.joints : 2 * prior.joints]
    assert float(alone[ROWS:].square().mean().sqrt()) > 2.0


def test_each_regime_has_its_load_and_all_have_one_friction() -> None:
    """What the parent knows of friction stays; a joint that it does not know takes it from the rows."""
    prior = prior_of_arm("panda")
    friction, load = friction_of(prior), box(prior, 2.0, (0.0, 0.0, 0.05), 0.08)
    rows = two_regimes(prior, friction, load)
    half = friction.copy()
    half[:, 4:] = 0.0
    priors = prior_of_each_regime(prior, rows, prior.with_found(half, NOTHING))
    assert set(priors) == {3, 4}
    for regime, mass in ((3, 0.0), (4, 2.0)):
        own = priors[regime]
        assert isinstance(own, RigidBodyPrior)
        assert float(own.load[0]) == pytest.approx(mass, abs=0.04)
        np.testing.assert_array_equal(own.friction[:, :4], friction[:, :4])
        np.testing.assert_allclose(own.friction[:, 4:], friction[:, 4:], rtol=0.1, atol=0.05)


def test_a_velocity_arm_has_one_prior_for_all() -> None:
    arm = load_arm(ROBOTS / "panda.yaml")
    prior = prior_of(arm, DT)
    rows = rows_of(prior_of_arm("panda"), np.zeros((2, 7)), NOTHING)
    assert prior_of_each_regime(prior, rows, None) == {0: prior}
