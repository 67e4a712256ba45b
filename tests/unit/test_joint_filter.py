"""The joint filter against the Riccati equation, its own statistics, and broken streams of samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from mbrl_control.estimation.joint_filter import FilterConfig, FilterError, FilterEvent, FilterState, JointFilter
from mbrl_control.signals import SensorSample

PERIOD_NS = 4_000_000
CONFIG = FilterConfig(5e-5, 2e-3, 1e-5, 1e-4)
NAMES = ("a", "b", "c")


def sample(stamp_ns: int, position: float = 0.0, velocity: float = 0.0, joints: int = 3) -> SensorSample:
    return SensorSample(stamp_ns, np.full(joints, position), np.full(joints, velocity), np.zeros(joints))


def process_noise(density: float, dt: float) -> np.ndarray:
    return density * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])


def fed(count: int) -> tuple[JointFilter, FilterState]:
    joint_filter = JointFilter(NAMES, CONFIG)
    state = joint_filter.initial()
    for index in range(count):
        state, _, _ = joint_filter.update(state, sample(index * PERIOD_NS))
    return joint_filter, state


def test_when_fed_long_expect_covariance_of_the_riccati_equation() -> None:
    _, state = fed(2000)
    dt = PERIOD_NS * 1e-9
    transition = np.array([[1.0, dt], [0.0, 1.0]])
    noise = np.diag([CONFIG.position_std**2 + 1e-10 / 12, CONFIG.velocity_std**2 + 1e-8 / 12])
    prior = solve_discrete_are(transition.T, np.eye(2), process_noise(CONFIG.acceleration_density, dt), noise)
    posterior = prior - prior @ np.linalg.solve(prior + noise, prior)
    for joint in range(3):
        pp, pv, vv = state.covariance[:, joint]
        np.testing.assert_allclose([[pp, pv], [pv, vv]], posterior, rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_when_truth_follows_the_model_expect_nees_near_two(seed: int) -> None:
    generator = np.random.default_rng(seed)
    joints, dt = 200, PERIOD_NS * 1e-9
    config = FilterConfig(5e-5, 2e-3)
    joint_filter = JointFilter(tuple(f"j{index}" for index in range(joints)), config)
    factor = np.linalg.cholesky(process_noise(config.acceleration_density, dt))
    truth, state, nees = np.zeros((2, joints)), joint_filter.initial(), []
    for index in range(100):
        truth = np.stack([truth[0] + dt * truth[1], truth[1]]) + factor @ generator.standard_normal((2, joints))
        position = truth[0] + config.position_std * generator.standard_normal(joints)
        velocity = truth[1] + config.velocity_std * generator.standard_normal(joints)
        measured = SensorSample(index * PERIOD_NS, position, velocity, np.zeros(joints))
        state, belief, _ = joint_filter.update(state, measured)
        assert belief is not None
        error = np.stack([belief.position - truth[0], belief.velocity - truth[1]], axis=1)[..., None]
        nees.append(np.mean(np.swapaxes(error, 1, 2) @ np.linalg.solve(belief.covariance, error)))
    # Mean of chi-square with 2 degrees of freedom; neighbouring steps are correlated, 5 % is generous.
    assert np.mean(nees) == pytest.approx(2.0, rel=0.05)


def test_when_samples_repeat_or_go_back_expect_them_dropped_and_counted() -> None:
    joint_filter, state = fed(5)
    after, belief, event = joint_filter.update(state, sample(4 * PERIOD_NS, 1.0))
    assert (belief, event, after.dropped) == (None, FilterEvent.DUPLICATE, 1)
    after, belief, event = joint_filter.update(after, sample(2 * PERIOD_NS, 1.0))
    assert (belief, event, after.dropped) == (None, FilterEvent.OUT_OF_ORDER, 2)
    assert after.mean is state.mean


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_when_a_sample_is_not_finite_expect_it_refused(bad: float) -> None:
    joint_filter, state = fed(5)
    for broken in (sample(9 * PERIOD_NS, bad), sample(9 * PERIOD_NS, 0.0, bad), sample(9 * PERIOD_NS, joints=2)):
        after, belief, event = joint_filter.update(state, broken)
        assert (belief, event, after.dropped) == (None, FilterEvent.REFUSED, 1)


def test_when_samples_are_missing_expect_wider_belief_and_a_count() -> None:
    joint_filter, state = fed(500)
    usual, _, _ = joint_filter.update(state, sample(500 * PERIOD_NS))
    after, belief, event = joint_filter.update(state, sample(509 * PERIOD_NS))
    assert belief is not None
    assert (event, after.gaps) == (FilterEvent.GAP_BRIDGED, 1)
    assert (after.covariance[2] > usual.covariance[2]).all()


def test_when_the_gap_is_long_expect_the_belief_of_the_sample_alone() -> None:
    joint_filter, state = fed(500)
    after, belief, event = joint_filter.update(state, sample(900 * PERIOD_NS, 0.7, 0.1))
    assert belief is not None
    assert (event, after.gaps) == (FilterEvent.REINITIALISED, 1)
    np.testing.assert_array_equal(belief.position, 0.7)
    np.testing.assert_array_equal(belief.velocity, 0.1)


def test_when_configured_wrongly_expect_field_named() -> None:
    with pytest.raises(FilterError, match="velocity_std"):
        FilterConfig(1e-4, float("nan"))
    with pytest.raises(FilterError, match="unique"):
        JointFilter(("a", "a"), CONFIG)
