"""A planner on a virtual clock, over an evaluator whose time and health can be set."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.lag_evaluator import LagEvaluator
from mbrl_control.cadence import VirtualClock
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.cycle import Cycle
from mbrl_control.planning.lag_model import LagModel
from mbrl_control.planning.planner import Planner, PlanningModel
from mbrl_control.replay.transitions import history_of
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import BeliefState, CommandInterface, Goal, GoalKind
from sim.lockstep_model import GraphModel, nominal_model

MS = 1_000_000
T0 = 1_790_000_000_000 * MS
ROBOTS = Path(__file__).parents[2] / "sim/robots"


class Bench:
    """A planner with a virtual clock and an evaluator whose time and health can be set."""

    def __init__(self, arm: Arm, config: PlannerConfig | None = None, seed: int = 0) -> None:
        self.arm = arm
        self.clock = VirtualClock(T0)
        self.evaluator = SlowEvaluator(arm, self.clock)
        self.planner = Planner(arm, config or PlannerConfig(), self.clock, np.random.default_rng(seed))
        self.planner.use(PlanningModel(self.evaluator, self.evaluator.inner, "m/1", 0.02, 0.008, history_of(arm)))
        self.history = CommandHistory(arm.joints)
        still = np.zeros(arm.joints) if arm.interface is CommandInterface.VELOCITY else RigidBody(arm).gravity(arm.home)
        self.history.append(T0 - 200 * MS, still)
        self.following = False
        self.count = 0

    def cycle(self, goal: Goal, at_ms: int, spoilt: str = "") -> Cycle:
        """``spoilt``: a field of the belief in which nothing is finite."""
        self.clock.sleep_until_ns(T0 + at_ms * MS)
        self.count += 1
        joints = self.arm.joints
        belief = BeliefState(
            T0 + (at_ms - 2) * MS, self.arm.home, np.zeros(joints), np.zeros((joints, 2, 2)), np.zeros(joints)
        )
        if spoilt:
            belief = replace(belief, **{spoilt: np.full_like(getattr(belief, spoilt), np.nan)})
        result = self.planner.plan(
            self.count, T0 + (at_ms + 10) * MS, belief, self.history, goal, self.following, lateness_s=0.0
        )
        self.planner.prepare()
        self.following = self.following or result.plan is not None
        return result


@cache
def torque_model(name: str) -> GraphModel:
    """The exported rigid body alone."""
    model = nominal_model(load_arm(ROBOTS / f"{name}.yaml", CommandInterface.EFFORT), 0.008).evaluator
    assert isinstance(model, GraphModel)
    return model


def evaluator_of(arm: Arm) -> LagEvaluator | GraphModel:
    """Analytic for velocities; the exported nominal model for torques."""
    if arm.interface is CommandInterface.EFFORT:
        return torque_model(arm.name)
    return LagEvaluator(arm, LagModel(arm.servo_lag_s, 0.02), np.zeros(arm.joints))


class SlowEvaluator:
    """A real evaluator; each call takes ``call_ms`` of virtual time; ``broken`` makes costs NaN, ``spoilt`` this field
    of every second sequence."""

    def __init__(self, arm: Arm, clock: VirtualClock) -> None:
        self.inner = evaluator_of(arm)
        self.clock = clock
        self.call_ms = 1
        self.broken = False
        self.spoilt = ""
        self.batch_size, self.horizon = self.inner.batch_size, self.inner.horizon
        self.term_names = self.inner.term_names

    def evaluate(self, *args):
        self.clock.advance_ns(self.call_ms * MS)
        scores = self.inner.evaluate(*args)
        if self.spoilt:
            values = np.array(getattr(scores, self.spoilt))
            values[::2] = np.nan
            scores = replace(scores, **{self.spoilt: values})
        return replace(scores, cost=np.full_like(scores.cost, np.nan)) if self.broken else scores


VELOCITY, EFFORT = CommandInterface.VELOCITY, CommandInterface.EFFORT


def knot_limits(arm: Arm) -> tuple[np.ndarray, np.ndarray]:
    """Largest knot and change per step, [J], that a plan may have."""
    if arm.interface is EFFORT:
        return 0.9 * arm.effort, 0.9 * arm.torque_rate * 0.02
    return 0.5 * arm.velocity, arm.acceleration * 0.02


def pose(arm: Arm) -> Goal:
    q = arm.home + 0.3 * (arm.box_upper - arm.home)
    return Goal(T0, GoalKind.POSE, forward_kinematics(arm, q), arm.home, 1)
