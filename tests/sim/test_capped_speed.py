"""The deployed guard at a fifth of the planner's speed: a planner that is told goes to its goal as if it were alone.

One that is not has every fast command taken down: it foresees a motion that does not come.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.lockstep_guarded import GuardedChain
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import Planner, PlanningModel
from mbrl_control.signals import Array, BeliefState, Goal, GoalKind, Plan
from sim.generate import ROBOTS
from sim.lockstep import SENSOR_MS, Lockstep
from sim.lockstep_model import nominal_model

CAP, SECONDS = 0.1, 6.0


@dataclass(frozen=True)
class Run:
    altered: float
    """Share of the guard's ticks in motion whose command is not the planned one."""
    foreseen: float
    """rad, median error of the position that the plan foresees 0.2 s ahead."""
    left_m: float
    """From the goal at the end."""
    fastest: float
    """Of the applied commands, in rated speeds."""


@pytest.fixture(scope="module")
def model() -> PlanningModel:
    arm = Lockstep(ROBOTS / "planar.yaml", 0).arm
    return nominal_model(arm, arm.command_delay_s)


def run(model: PlanningModel, told: bool) -> Run:
    lockstep = Lockstep(ROBOTS / "planar.yaml", 0)
    arm = lockstep.arm
    chain = GuardedChain(arm, SENSOR_MS * 1e-3, lockstep.clock, lockstep.sim.brake)
    chain._guard.set_speed_scale(CAP)
    lockstep.chain = chain
    planner = Planner(arm, PlannerConfig(), lockstep.clock, np.random.default_rng(0))
    planner.use(model)
    away = arm.home + 0.5 * (arm.box_upper - arm.home)
    goal = Goal(lockstep.clock.now_ns(), GoalKind.JOINT, forward_kinematics(arm, away), away, 1)
    plans: list[Plan] = []

    def source(deadline_ns: int, belief: BeliefState, history: CommandHistory, following: bool) -> Plan | None:
        if told:
            planner.cap_speed(chain._guard.status().speed_scale)
        plan = planner.plan(0, deadline_ns, belief, history, goal, following).plan
        planner.prepare()
        if plan is not None and following:
            plans.append(plan)
        return plan

    lockstep.follow(source)
    lockstep.run(1.0)
    assert chain.following, "the guard has not let the arm start"
    before, ticks = lockstep.record.altered, len(lockstep.record.applied)
    lockstep.run(SECONDS)
    applied = np.array(lockstep.record.applied[ticks:])
    return Run(
        altered=(lockstep.record.altered - before) / len(applied),
        foreseen=_foreseen(plans, lockstep.record.belief, model.delay_s),
        left_m=float(np.linalg.norm(lockstep.sim.truth().tool - goal.position)),
        fastest=float((np.abs(applied) / arm.velocity).max()),
    )


def _foreseen(plans: list[Plan], beliefs: list[BeliefState], delay_s: float) -> float:
    """Row 10 of a plan is the state 0.2 s after the one at start + delay."""
    stamps, positions = np.array([b.stamp_ns for b in beliefs]), np.array([b.position for b in beliefs])
    errors: list[Array] = []
    for plan in plans:
        at = plan.start_ns + round((delay_s + plan.times[10]) * 1e9)
        if at <= stamps[-1]:
            was = [np.interp(at - stamps[0], stamps - stamps[0], column) for column in positions.T]
            errors.append(np.abs(plan.position[10] - was).max())
    return float(np.median(errors[: len(errors) // 2]))


def test_a_planner_that_knows_the_cap_foresees_its_motion_and_is_let_through(model: PlanningModel) -> None:
    told, untold = run(model, True), run(model, False)
    assert max(told.fastest, untold.fastest) <= CAP + 1e-6
    assert untold.altered > 0.1, "the cap was never in the way: this test proves nothing"
    assert told.altered < 0.1 * untold.altered
    assert told.foreseen < 0.3 * untold.foreseen
    assert told.left_m < 0.002
