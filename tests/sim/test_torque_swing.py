"""An arm that comes home from afar by torques comes to rest there, by the model that is shipped. About 10 s.

A model that explains friction by the torque underrates what torque does; then the light joints of the wrist swing for
ever at their speed limit, while its one-step errors, and figures tracked around home, look good.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.lockstep import Lockstep
from mbrl_control.cli.locations import arm_file, shipped_models
from mbrl_control.deployment.evaluator import load_model
from mbrl_control.deployment.registry import Registry
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import Planner, PlanningModel
from mbrl_control.robot import Arm
from mbrl_control.signals import BeliefState, CommandInterface, Goal, GoalKind, Plan
from sim.engines import Simulator

AWAY_RAD, MOVE_S, REST_S = 0.4, 3.0, 0.5


def shipped(arm: Arm) -> PlanningModel:
    registry = Registry(shipped_models(), arm.model_name)
    version = registry.active()
    assert version is not None
    model = load_model(registry.path(version), arm)
    manifest = model.manifest
    made = (manifest.dt_s, manifest.delay_s, manifest.history)
    return PlanningModel(model.rollout, model.step_model, model.model_id, *made)


@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_it_comes_to_rest_at_either_end_of_a_long_move(name: str) -> None:
    lockstep = Lockstep(arm_file(name), 1, Simulator.MUJOCO, CommandInterface.EFFORT)
    arm, generator = lockstep.arm, np.random.default_rng(0)
    planner = Planner(arm, PlannerConfig(), lockstep.clock, generator)
    planner.use(shipped(arm))
    ends = (arm.home + AWAY_RAD * np.sign(np.random.default_rng(0).standard_normal(arm.joints)), arm.home)
    goal = Goal(lockstep.clock.now_ns(), GoalKind.JOINT, np.zeros(3), ends[0], 1)

    def source(deadline_ns: int, belief: BeliefState, history: CommandHistory, following: bool) -> Plan | None:
        plan = planner.plan(0, deadline_ns, belief, history, goal, following).plan
        planner.prepare()
        return plan

    lockstep.follow(source)
    for sequence, end in enumerate(ends, 1):
        goal = Goal(lockstep.clock.now_ns(), GoalKind.JOINT, np.zeros(3), end, sequence)
        lockstep.run(MOVE_S)
        rest = [belief for belief in lockstep.record.belief if belief.stamp_ns > lockstep.clock.now_ns() - REST_S * 1e9]
        assert max(np.abs(belief.velocity).max() for belief in rest) < 0.1
        assert max(np.abs(belief.position - end).max() for belief in rest) < 0.02
