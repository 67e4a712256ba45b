"""The estimate of what the model does not predict, on an arm that is the model and a constant torque besides."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.disturbance import FORGET_NS, LARGEST_SHARE, DisturbanceObserver, observes
from mbrl_control.planning.rollforward import TimeGrid, roll_forward
from mbrl_control.planning.torque_tracks import RigidModel
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import Array, BeliefState, CommandInterface
from sim.generate import ROBOTS

DT_S, SETTLE_S = 0.02, 0.2
DT_NS, DELAY_NS, T0 = 20_000_000, 8_000_000, 10**18
GRID = TimeGrid(DT_NS, DELAY_NS, past=1, command_period_ns=5_000_000)


@pytest.fixture(params=["panda", "ur5e", "planar"])
def arm(request: pytest.FixtureRequest) -> Arm:
    return load_arm(ROBOTS / f"{request.param}.yaml", CommandInterface.EFFORT)


def belief(ns: int, position: Array, velocity: Array) -> BeliefState:
    joints = len(position)
    return BeliefState(ns, position, velocity, np.zeros((joints, 2, 2)), np.zeros(joints))


class Pushed:
    """An arm whose commands hold for a step, each another one, and which a constant torque pushes besides."""

    def __init__(self, arm: Arm, push: Array, observer: DisturbanceObserver) -> None:
        self.model = RigidModel(RigidBody(arm), DT_S)
        self.push, self.observer = push, observer
        self.position, self.velocity = arm.home, np.zeros(arm.joints)
        self.history = CommandHistory(arm.joints)
        self.weight = self.model.body.effort(arm.home[None], self.velocity[None], self.velocity[None])[0]
        self.spread, self.generator = 0.02 * arm.effort, np.random.default_rng(0)
        self.step = 0

    def observe(self, moved_ns: int = 0) -> Array:
        """The belief of now goes in, ``moved_ns`` beside its grid; then one step passes."""
        now = T0 + self.step * DT_NS
        # Applied so much earlier that the step from the belief on is moved by exactly this command.
        held = self.weight + self.spread * self.generator.uniform(-1.0, 1.0, len(self.spread))
        self.history.append(now - DELAY_NS, held)
        self.observer.observe(belief(now + moved_ns, self.position, self.velocity), self.history, GRID, self.model)
        acceleration = self.model.body.acceleration(self.position[None], self.velocity[None], (held + self.push)[None])[
            0
        ]
        self.position = self.position + DT_S * self.velocity + 0.5 * DT_S**2 * acceleration
        self.velocity = self.velocity + DT_S * acceleration
        self.step += 1
        return self.observer.torque


def test_the_estimate_follows_a_constant_push_with_its_time_constant(arm: Arm) -> None:
    push = 0.01 * arm.effort * np.where(np.arange(arm.joints) % 2, 1.0, -1.0)
    pushed = Pushed(arm, push, DisturbanceObserver(arm, SETTLE_S))
    assert not pushed.observe().any()
    for n in range(1, 15):
        np.testing.assert_allclose(pushed.observe(), push * (1.0 - (1.0 - DT_S / SETTLE_S) ** n), rtol=1e-6)


def test_the_estimate_is_bounded_and_a_blocked_arm_winds_up_no_more(arm: Arm) -> None:
    """At rest under a torque that should move it: what blocks it balances the command, as far as the bound goes."""
    observer = DisturbanceObserver(arm, DT_S)
    model, history = RigidModel(RigidBody(arm), DT_S), CommandHistory(arm.joints)
    rest = np.zeros(arm.joints)
    weight = model.body.effort(arm.home[None], rest[None], rest[None])[0]
    share = np.where(np.arange(arm.joints) == 0, 0.6, 0.1)
    history.append(T0 - 10 * DT_NS, weight + share * arm.effort)
    for n in range(4):
        history.append(T0 + n * DT_NS, weight + share * arm.effort)
        observer.observe(belief(T0 + n * DT_NS, arm.home, rest), history, GRID, model)
        assert not any(observer.saturated[1:])
    np.testing.assert_allclose(observer.torque, -np.minimum(share, LARGEST_SHARE) * arm.effort, rtol=1e-6)
    assert observer.saturated[0]


@pytest.mark.parametrize("moved_ns", [-6_000_000, 11_000_000, -30_000_000])
def test_beliefs_that_lie_no_step_apart_say_nothing(moved_ns: int) -> None:
    arm = load_arm(ROBOTS / "planar.yaml", CommandInterface.EFFORT)
    pushed = Pushed(arm, 0.01 * arm.effort, DisturbanceObserver(arm, SETTLE_S))
    pushed.observe()
    assert not pushed.observe(moved_ns).any()


def test_a_model_that_gives_no_number_changes_nothing() -> None:
    arm = load_arm(ROBOTS / "planar.yaml", CommandInterface.EFFORT)
    pushed = Pushed(arm, 0.01 * arm.effort, DisturbanceObserver(arm, SETTLE_S))
    before = [pushed.observe() for _ in range(3)][-1]
    good = pushed.model
    pushed.model = type("Broken", (), {"step": lambda *_: np.full(4 * arm.joints, np.nan), "body": good.body})()
    np.testing.assert_array_equal(pushed.observe(), before)
    pushed.model = good
    assert (pushed.observe() != before).any()


def test_beliefs_of_every_half_step_are_paired_to_whole_ones(arm: Arm) -> None:
    """A planner may plan twice per step of its model: the estimate settles as fast, from every other belief."""
    push = 0.01 * arm.effort
    pushed = Pushed(arm, push, DisturbanceObserver(arm, SETTLE_S))
    pushed.observe()
    for n in range(1, 10):
        # Half a step after the last belief, where the arm was then does not matter.
        half = belief(T0 + n * DT_NS - DT_NS // 2, arm.home + 1.0, np.ones(arm.joints))
        pushed.observer.observe(half, pushed.history, GRID, pushed.model)
        np.testing.assert_allclose(pushed.observe(), push * (1.0 - (1.0 - DT_S / SETTLE_S) ** n), rtol=1e-6)


def test_an_estimate_outlives_a_short_hold_and_no_long_one() -> None:
    arm = load_arm(ROBOTS / "planar.yaml", CommandInterface.EFFORT)
    pushed = Pushed(arm, 0.01 * arm.effort, DisturbanceObserver(arm, SETTLE_S))
    estimate = [pushed.observe() for _ in range(5)][-1]
    last_ns = T0 + 4 * DT_NS
    assert not pushed.observer.pause(last_ns + FORGET_NS)
    assert pushed.observer.pause(last_ns + FORGET_NS + 1)
    # What the arm did meanwhile, under brakes for all that is known, says nothing.
    np.testing.assert_array_equal(pushed.observe(), estimate)
    assert (pushed.observe() != estimate).any()


def test_what_is_forgotten_begins_anew() -> None:
    arm = load_arm(ROBOTS / "planar.yaml", CommandInterface.EFFORT)
    pushed = Pushed(arm, 0.01 * arm.effort, DisturbanceObserver(arm, SETTLE_S))
    assert [pushed.observe() for _ in range(3)][-1].any()
    pushed.observer.forget()
    assert not pushed.observe().any()


def test_a_start_is_rolled_forward_under_what_pushes_the_arm(arm: Arm) -> None:
    """As if the sum had been commanded: state, its history, and knot 0."""
    push, rest = 0.02 * arm.effort, np.zeros(arm.joints)
    model = RigidModel(RigidBody(arm), DT_S)
    plain, summed = CommandHistory(arm.joints), CommandHistory(arm.joints)
    plain.append(T0 - 20 * DT_NS, 0.05 * arm.effort)
    summed.append(T0 - 20 * DT_NS, 0.05 * arm.effort + push)
    begun = belief(T0, arm.home, rest)
    one = roll_forward(begun, plain, (), T0 + DT_NS, GRID, model, push)
    other = roll_forward(begun, summed, (), T0 + DT_NS, GRID, model)
    assert one.steps == other.steps > 0
    np.testing.assert_allclose(one.state, other.state, rtol=1e-9)
    np.testing.assert_allclose(one.first_knot, other.first_knot, rtol=1e-9)


def test_only_torques_are_disturbed_and_a_time_of_zero_switches_it_off(arm: Arm) -> None:
    assert observes(arm, PlannerConfig())
    assert not observes(arm, PlannerConfig(disturbance_settle_s=0.0))
    velocities = load_arm(ROBOTS / f"{arm.name}.yaml", CommandInterface.VELOCITY)
    assert not observes(velocities, PlannerConfig())
