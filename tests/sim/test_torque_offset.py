"""A load that neither model nor guard was told of: the planner of torques holds its pose all the same. About 10 s."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.lockstep import Lockstep
from benchmarks.lockstep_model import nominal_model
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import Planner
from mbrl_control.signals import BeliefState, CommandInterface, Goal, GoalKind, Plan
from sim.engines import Simulator
from sim.generate import ROBOTS

LOAD_KG = 1.0


@pytest.fixture(scope="module")
def offsets_mm() -> dict[float, float]:
    """Tool's distance from the goal after 2 s, with and without an estimate of what pushes the arm."""
    return {settle_s: offset_mm(PlannerConfig(iterations=1, disturbance_settle_s=settle_s)) for settle_s in (0.15, 0.0)}


def offset_mm(config: PlannerConfig) -> float:
    lockstep = Lockstep(ROBOTS / "panda.yaml", 0, Simulator.MUJOCO, CommandInterface.EFFORT)
    arm = lockstep.arm
    planner = Planner(arm, config, lockstep.clock, np.random.default_rng(0))
    planner.use(nominal_model(arm, arm.command_delay_s))
    goal = Goal(lockstep.clock.now_ns(), GoalKind.JOINT, np.zeros(3), arm.home, 1)

    def source(deadline_ns: int, belief: BeliefState, history: CommandHistory, following: bool) -> Plan | None:
        plan = planner.plan(0, deadline_ns, belief, history, goal, following).plan
        planner.prepare()
        if plan is not None:
            assert (np.abs(plan.knots[1:]) <= config.effort_scale * arm.effort + 1e-9).all()
        return plan

    lockstep.attach_payload(LOAD_KG)
    lockstep.follow(source)
    lockstep.run(2.0)
    home = forward_kinematics(arm, arm.home)
    settled = np.array(lockstep.record.tool)[-100:]
    if config.disturbance_settle_s > 0.0:
        # What the load asks of each joint, which the drives do not know of either, is what was estimated.
        reach = home[0]
        assert planner.disturbance[1] == pytest.approx(LOAD_KG * 9.81 * reach, rel=0.3)
    return float(1e3 * np.linalg.norm(settled - home, axis=1).mean())


def test_an_undeclared_load_leaves_no_offset(offsets_mm: dict[float, float]) -> None:
    assert offsets_mm[0.0] > 5.0
    assert offsets_mm[0.15] < 0.1 * offsets_mm[0.0]
