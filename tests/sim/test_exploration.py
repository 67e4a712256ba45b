"""Directed exploration in closed loop: a negative weight of `spread` leads the arm to where its members disagree.

The same planner, plant, goal and seed, with the bonus and without; and the collector's excitation, which moves as fast
as it may for as long, without a goal: what a strong bonus is as good as. All within the limits of plans.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from mbrl_control.cli.locations import arm_file, shipped_models
from mbrl_control.deployment.bundle import load_weights
from mbrl_control.deployment.check import read_bundle
from mbrl_control.deployment.evaluator import OnnxStepModel
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.learning.open_loop import open_loop
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.excitation import ExcitationConfig
from mbrl_control.planning.planner import Planner, PlanningModel
from mbrl_control.replay.transitions import Grid, history_of, transitions_from_streams
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, BeliefState, Goal, GoalKind, Plan
from sim.lockstep import Lockstep, excite
from sim.lockstep_model import DT_S
from tests.patience import SLOW_S
from tests.sim.full_model import FullModel

pytestmark = pytest.mark.timeout(SLOW_S)
SECONDS, SHAPE = 6.0, GraphShape()


@dataclass(frozen=True)
class Trained:
    arm: Arm
    ensemble: ProbabilisticEnsemble
    model: PlanningModel


@pytest.fixture(scope="module")
def trained() -> Trained:
    """The shipped planar arm's."""
    arm = Lockstep(arm_file("planar"), 0).arm
    registry = Registry(shipped_models(), arm.model_name)
    version = registry.active()
    assert version is not None
    bundle = read_bundle(registry.path(version), arm)
    ensemble = load_weights(registry.path(version), arm)
    full = FullModel(ensemble, arm, SHAPE, PlannerConfig().samples, obstacles=0)
    parts = (full, OnnxStepModel(bundle), "shipped", DT_S, bundle.manifest.delay_s, history_of(arm))
    return Trained(arm, ensemble, PlanningModel(*parts))


def explored(trained: Trained, weight: float, posture: Array) -> Lockstep:
    """After planning from home to the tool's place in ``posture`` [J] with this weight of the spread."""
    lockstep = Lockstep(arm_file("planar"), 0)
    config = PlannerConfig(pose_weights={"spread": weight})
    planner = Planner(trained.arm, config, lockstep.clock, np.random.default_rng(0))
    planner.use(trained.model)
    goal = Goal(lockstep.clock.now_ns(), GoalKind.POSE, forward_kinematics(trained.arm, posture), posture, 1)

    def source(deadline_ns: int, belief: BeliefState, history: CommandHistory, following: bool) -> Plan | None:
        plan = planner.plan(0, deadline_ns, belief, history, goal, following).plan
        planner.prepare()
        return plan

    lockstep.follow(source)
    lockstep.run(SECONDS)
    return lockstep


def disagreement(trained: Trained, lockstep: Lockstep) -> float:
    """rad/s, mean over the states visited: members' spread one step ahead, of the commands that were applied there."""
    streams = lockstep.streams()
    rows = transitions_from_streams([streams], Grid(trained.model.delay_s, history=history_of(trained.arm)))
    mean, _ = next(open_loop(trained.ensemble, rows, np.arange(len(rows)), 1))
    joints = trained.arm.joints
    return float(mean[..., joints : 2 * joints].var(0, unbiased=False).mean(-1).sqrt().mean())


def within_limits(arm: Arm, lockstep: Lockstep) -> bool:
    applied = np.array(lockstep.record.applied)
    position: Array = np.array([belief.position for belief in lockstep.record.belief])
    rates = np.abs(np.diff(applied, axis=0)) / 0.005
    return bool(
        (np.abs(applied) <= 0.5 * arm.velocity + 1e-9).all()
        and (rates <= arm.acceleration + 1e-6).all()
        and (position >= arm.lower).all()
        and (position <= arm.upper).all()
    )


def test_a_bonus_on_the_spread_leads_to_disagreement_within_the_limits(trained: Trained) -> None:
    """A light one beside the task, and one before which the task hardly counts."""
    excitation = Lockstep(arm_file("planar"), 0)
    excite(excitation, SECONDS, ExcitationConfig(), 0)
    home = trained.arm.home
    plain, curious, seeking = (explored(trained, weight, home) for weight in (0.0, -100.0, -10_000.0))
    found = [disagreement(trained, each) for each in (plain, curious, seeking)]
    assert found[1] > 2.0 * found[0]
    assert found[2] > found[1]
    assert found[2] > 0.9 * disagreement(trained, excitation)
    assert within_limits(trained.arm, curious)
    assert within_limits(trained.arm, seeking)


def test_an_aversion_is_the_opposite(trained: Trained) -> None:
    """A heavy one keeps the arm from a way on which it would meet some."""
    corner = trained.arm.box_upper
    indifferent, averse = explored(trained, 0.0, corner), explored(trained, 3000.0, corner)
    assert disagreement(trained, averse) < 0.8 * disagreement(trained, indifferent)
