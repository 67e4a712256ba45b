"""The excitation stays inside its limits and the work box, covers it, and repeats with its seed."""

import itertools
from pathlib import Path

import numpy as np

from mbrl_control.cadence import VirtualClock
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.excitation import Excitation, ExcitationConfig
from mbrl_control.planning.lag_model import LagModel
from mbrl_control.planning.rollforward import planned_commands
from mbrl_control.robot import load_arm
from mbrl_control.signals import BeliefState, Plan, PlanOutcome

MS = 1_000_000
ARM = load_arm(Path(__file__).parents[2] / "sim/robots/panda.yaml")


def _run(seconds: float, seed: int) -> tuple[list[Plan], np.ndarray, np.ndarray]:
    """Plans, positions and velocities [N, J] of an exact lag arm that follows them."""
    clock = VirtualClock(1_790_000_000_000 * MS)
    source = Excitation(ARM, ExcitationConfig(), clock, np.random.default_rng(seed))
    model = LagModel(ARM.servo_lag_s, 0.005)
    history, joints = CommandHistory(ARM.joints), ARM.joints
    plans: list[Plan] = []
    q, v = ARM.home, np.zeros(joints)
    positions, velocities = [], []
    for tick in range(round(seconds / 0.005)):
        now = clock.now_ns()
        if tick % 4 == 0:
            belief = BeliefState(now, q, v, np.zeros((joints, 2, 2)), np.zeros(joints))
            plans.append(source.plan(now + 10 * MS, belief, history, following=bool(plans)))
        command = planned_commands(plans[-4:], now, np.zeros(1))[0] if tick >= 4 else np.zeros(joints)
        history.append(now, command)
        q, v = model.advance(q, v, command)
        positions.append(q)
        velocities.append(v)
        clock.advance_ns(5 * MS)
    return plans, np.array(positions), np.array(velocities)


def test_plans_are_feasible_and_continuous() -> None:
    plans, _, _ = _run(6.0, 0)
    for plan in plans:
        assert plan.outcome is PlanOutcome.EXCITATION
        assert (np.abs(plan.knots) <= 0.5 * ARM.velocity + 1e-9).all()
        assert (np.abs(np.diff(plan.knots, axis=0)) <= ARM.acceleration * 0.02).all()
        assert all(np.isfinite(part).all() for part in (plan.position, plan.velocity))
    for before, after in itertools.pairwise(plans[1:]):
        expected = planned_commands([before], after.start_ns, np.zeros(1))[0]
        np.testing.assert_allclose(after.knots[0], expected, atol=1e-9)


def test_motion_stays_in_the_box_and_covers_it() -> None:
    _, position, velocity = _run(60.0, 1)
    width = ARM.box_upper - ARM.box_lower
    assert (position >= ARM.box_lower - 0.15 * width).all()
    assert (position <= ARM.box_upper + 0.15 * width).all()
    assert (np.ptp(position, axis=0) > 0.7 * width).all()
    speed = np.abs(velocity).max(axis=1) / (0.5 * ARM.velocity).max()
    assert (speed < 0.1).mean() > 0.1
    assert (speed > 0.5).mean() > 0.1


def test_same_seed_same_excitation() -> None:
    one, two = _run(1.0, 5)[0][-1], _run(1.0, 5)[0][-1]
    np.testing.assert_array_equal(one.knots, two.knots)
    assert np.abs(one.knots - _run(1.0, 6)[0][-1].knots).max() > 1e-3
