"""Excitation by torques, on the rigid body behind the arm's delay: within its limits, and within the work box."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import pytest

from mbrl_control.cadence import VirtualClock
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.excitation import Excitation, ExcitationConfig
from mbrl_control.planning.rollforward import planned_commands
from mbrl_control.planning.torque_tracks import RigidModel
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import BeliefState, CommandInterface, Plan, PlanOutcome
from sim.generate import ROBOTS

MS = 1_000_000
STEP_MS, DELAY_MS, CYCLE_MS = 5, 10, 20
CONFIG = ExcitationConfig()


@dataclass(frozen=True)
class Ran:
    arm: Arm
    plans: list[Plan]
    position: np.ndarray
    velocity: np.ndarray
    """[N, J] every STEP_MS."""


def run(name: str, seconds: float, seed: int, friction: float = 0.0, strength: float = 1.0) -> Ran:
    """From rest at home; ``friction``: share of the description's, of which the excitation knows nothing;
    ``strength``: share of the torque limit."""
    arm = load_arm(ROBOTS / f"{name}.yaml", CommandInterface.EFFORT)
    arm = replace(arm, command_delay_s=DELAY_MS * 1e-3)
    arm = replace(arm, effort=strength * arm.effort)
    clock = VirtualClock(1_790_000_000_000 * MS)
    source = Excitation(arm, CONFIG, clock, np.random.default_rng(seed))
    body, joints = RigidBody(arm), arm.joints
    model, history = RigidModel(body, STEP_MS * 1e-3), CommandHistory(joints)
    q, v, command = arm.home, np.zeros(joints), body.gravity(arm.home)
    on_the_way = deque([command] * (DELAY_MS // STEP_MS))
    history.append(clock.now_ns() - 200 * MS, command)
    plans: list[Plan] = []
    rows = []
    for at_ms in range(0, round(seconds * 1e3), STEP_MS):
        now = clock.now_ns()
        if at_ms % CYCLE_MS == 0:
            belief = BeliefState(now, q, v, np.zeros((joints, 2, 2)), np.zeros(joints))
            plans.append(source.plan(now + 10 * MS, belief, history, following=bool(plans)))
        if plans[0].start_ns <= now:
            command = planned_commands(plans[-4:], now, np.zeros(1))[0]
        history.append(now, command)
        on_the_way.append(command)
        rubbing = friction * (arm.friction_viscous * v + arm.friction_coulomb * np.tanh(v / 0.02))
        q, v = model.advance(q, v, on_the_way.popleft() - rubbing)
        rows.append((q, v))
        clock.advance_ns(STEP_MS * MS)
    position, velocity = (np.array(part) for part in zip(*rows, strict=True))
    return Ran(arm, plans, position, velocity)


@pytest.fixture(scope="module", params=[("panda", 0.0), ("panda", 1.0), ("planar", 0.0)], ids=str)
def ran(request: pytest.FixtureRequest) -> Ran:
    name, friction = request.param
    return run(name, 20.0, 1, friction)


def check_limits(ran: Ran) -> tuple[float, float]:
    """Largest shares of the excitation's limits on torque and its rate that any plan uses."""
    most = CONFIG.effort_scale * ran.arm.effort, 0.9 * ran.arm.torque_rate * CONFIG.dt_s
    for plan in ran.plans:
        assert (plan.outcome, plan.interface) == (PlanOutcome.EXCITATION, CommandInterface.EFFORT)
        assert (np.abs(plan.knots) <= most[0] + 1e-9).all()
        assert (np.abs(np.diff(plan.knots, axis=0)) <= most[1] + 1e-9).all()
        assert all(np.isfinite(part).all() for part in (plan.position, plan.velocity))
    knots = np.array([plan.knots for plan in ran.plans])
    return float((np.abs(knots) / most[0]).max()), float((np.abs(np.diff(knots, axis=1)) / most[1]).max())


def test_no_plan_asks_for_more_than_the_torque_and_its_rate(ran: Ran) -> None:
    check_limits(ran)


def test_drives_too_weak_for_the_moves_are_asked_for_all_they_may_give_and_no_more() -> None:
    assert check_limits(run("panda", 3.0, 2, strength=0.03))[0] == pytest.approx(1.0)


def test_every_plan_begins_with_the_torque_on_its_way(ran: Ran) -> None:
    for before, after in itertools.pairwise(ran.plans[1:]):
        expected = planned_commands([before], after.start_ns, np.zeros(1))[0]
        np.testing.assert_allclose(after.knots[0], expected, atol=1e-9)


def test_motion_stays_in_the_box_and_covers_it(ran: Ran) -> None:
    arm = ran.arm
    width = arm.box_upper - arm.box_lower
    assert (ran.position >= arm.box_lower - 0.05 * width).all()
    assert (ran.position <= arm.box_upper + 0.05 * width).all()
    assert (ran.position > arm.lower).all()
    assert (ran.position < arm.upper).all()
    covered = np.ptp(ran.position, axis=0) / width
    assert covered.mean() > 0.5
    assert covered.min() > 0.25


def test_speeds_keep_the_cap_and_come_from_crawling_to_fast(ran: Ran) -> None:
    share = np.abs(ran.velocity) / (CONFIG.speed_scale * ran.arm.velocity)
    assert share.max() < 0.95
    assert (share.max(axis=1) < 0.1).mean() > 0.05
    assert (share.max(axis=1) > 0.5).mean() > 0.05


def test_same_seed_same_torques() -> None:
    one, two, other = (run("planar", 1.0, seed).plans[-1].knots for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 1e-3
