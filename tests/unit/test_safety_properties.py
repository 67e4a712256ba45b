"""Properties of the limiter over random plans and arms: limits hold, the arm stops in time, nothing is NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_control.safety.limiter import Limiter, Motion
from mbrl_control.signals import Array, Stage
from tests.unit.safety_support import CONFIG, Rig, constant, limits

DT = CONFIG.tick_s
SEEDS = st.integers(0, 2**32 - 1)
JERKS = st.sampled_from([60.0, 300.0, 5000.0])


def check_rates(applied: list[Array], jerk: float) -> None:
    """Velocity, acceleration and jerk of the whole sequence of commands, in every tick."""
    bound, commands = limits(jerk), np.array(applied)
    rate = np.diff(commands, axis=0) / DT
    change = np.diff(rate, axis=0) / DT
    assert np.isfinite(commands).all()
    assert (np.abs(commands) <= bound.velocity + 1e-9).all()
    assert (np.abs(rate) <= bound.acceleration + 1e-6).all()
    assert (np.abs(change) <= bound.jerk + 1e-3).all()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(SEEDS, JERKS)
def test_when_plans_are_random_expect_limits_kept_and_no_position_limit_passed(seed: int, jerk: float) -> None:
    generator = np.random.default_rng(seed)
    rig = Rig(limits(jerk))
    rig.run()
    positions = []
    for _ in range(40):
        size = generator.uniform(0.0, 2.2)
        knots = generator.uniform(-size, size, (16, 3)) if generator.random() < 0.3 else None
        drive = constant(list(generator.choice([-1.0, 1.0], 3) * size))
        for _ in range(int(generator.integers(1, 8))):
            rig.cycle(knots=drive if knots is None else knots)
            positions.append(rig.position)
    assert (np.abs(positions) <= 1.0).all()
    check_rates(rig.applied, jerk)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3), st.floats(0.2, 1.5), JERKS)
def test_when_driven_into_a_limit_expect_rest_just_short_of_it(
    signs: tuple[float, ...], speed: float, jerk: float
) -> None:
    rig = Rig(limits(jerk))
    rig.run()
    stages = set()
    for _ in range(int(40 + 60 / speed)):
        stages.add(rig.cycle(knots=constant([speed * sign for sign in signs])).limiting_stage)
    assert rig.core.state.name == "RUNNING"
    assert Stage.POSITION in stages
    assert np.abs(rig.velocity).max() < 0.05
    reached = np.abs(rig.position).max()
    assert 0.9 < reached <= 1.0
    check_rates(rig.applied, jerk)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS, JERKS)
def test_when_stopped_out_of_random_motion_expect_limits_kept_and_rest(seed: int, jerk: float) -> None:
    generator = np.random.default_rng(seed)
    rig = Rig(limits(jerk))
    rig.run()
    rig.cycle(int(generator.integers(5, 40)), knots=constant(list(generator.uniform(-1.4, 1.4, 3))))
    for _ in range(300):
        rig.tick()  # no plan any more: brakes, then latches
    assert rig.core.state.name == "PROTECTIVE_STOP"
    assert np.abs(rig.velocity).max() < 1e-2
    assert (np.abs(rig.position) <= 1.0).all()
    check_rates(rig.applied, jerk)


FUZZ = st.floats(-3.0, 3.0)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(FUZZ, min_size=15, max_size=15), st.floats(0.0, 0.2), st.floats(0.0, 1.0))
def test_when_state_and_request_are_arbitrary_expect_finite_rated_and_no_push_past_a_limit(
    values: list[float], age_s: float, scale: float
) -> None:
    request, position, velocity, command, rate = np.array(values).reshape(5, 3)
    bound = limits()
    command = np.clip(command, -bound.velocity, bound.velocity)
    motion = Motion(command, np.clip(5.0 * rate, -bound.acceleration, bound.acceleration), command)
    limited = Limiter(bound, CONFIG).limit(request, motion, position, velocity, age_s, scale)
    assert np.isfinite(limited.command).all()
    assert (np.abs(limited.command) <= bound.velocity + 1e-9).all()
    assert not ((position >= 1.0) & (limited.command > 1e-9) & (command >= 0.0)).any()
    assert not ((position <= -1.0) & (limited.command < -1e-9) & (command <= 0.0)).any()
    assert 0.0 <= limited.factor <= 1.0


@pytest.mark.parametrize("request_", [[0.02, -0.01, 0.015], [0.0, 0.0, 0.0]])
def test_when_the_request_is_admissible_expect_it_bit_for_bit(request_: list[float]) -> None:
    rest = Motion(np.zeros(3), np.zeros(3), np.zeros(3))
    limited = Limiter(limits(), CONFIG).limit(np.array(request_), rest, np.zeros(3), np.zeros(3), 0.0, 1.0)
    np.testing.assert_array_equal(limited.command, request_)
    assert (limited.stage, limited.factor) == (Stage.NONE, 1.0)


def test_when_intervals_are_disjoint_expect_position_to_win_over_acceleration() -> None:
    # At the limit with full speed towards it: only standing still is admissible, whatever the jolt.
    motion = Motion(np.array([2.0, 0.0, 0.0]), np.zeros(3), np.array([2.0, 0.0, 0.0]))
    position = np.array([1.0, 0.0, 0.0])
    limited = Limiter(limits(), CONFIG).limit(motion.command, motion, position, motion.command, 0.0, 1.0)
    assert limited.command[0] == pytest.approx(0.0, abs=1e-3)
    assert limited.stage == Stage.POSITION
