"""`trust` on a trained model, the shipped Panda's: within the excited range plans are whole, beyond it they are cut.

The range comes from held-out motion as a retraining measures it (`learning.score.spread_range`), here of
another session than the one the model was learned from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.calibration_sessions import Bench, Plant, outside
from mbrl_control.cli.demo import target_distance
from mbrl_control.cli.locations import arm_file, shipped_models
from mbrl_control.deployment.bundle import load_weights
from mbrl_control.deployment.check import read_bundle
from mbrl_control.deployment.evaluator import OnnxStepModel
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.kinematics import forward_kinematics, sample_targets
from mbrl_control.learning.calibration import calibrate
from mbrl_control.learning.open_loop import open_loop, whole_windows
from mbrl_control.learning.score import SPREAD_QUANTILE, spread_range
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import Planner, PlanningModel
from mbrl_control.replay.transitions import history_of
from mbrl_control.rewards.names import DISTRUST
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, BeliefState, CommandInterface, Goal, GoalKind, Plan, Transitions
from sim.lockstep import Lockstep
from sim.lockstep_model import DT_S
from tests.patience import SLOW_S
from tests.sim.full_model import FullModel

pytestmark = pytest.mark.timeout(SLOW_S)
TRUST, SHAPE = 1.0, GraphShape()
"""The value that docs/planning.md names."""
SESSION = Bench(arm_file("panda"), CommandInterface.VELOCITY, 30.0)


@dataclass(frozen=True)
class Trained:
    arm: Arm
    ensemble: ProbabilisticEnsemble
    held: Transitions
    """Motion within the excited range that nobody has learned from."""
    validated: Array
    """[H] rad/s."""
    model: PlanningModel


@pytest.fixture(scope="module")
def trained() -> Trained:
    arm = SESSION.arm
    registry = Registry(shipped_models(), arm.model_name)
    version = registry.active()
    assert version is not None
    bundle = read_bundle(registry.path(version), arm)
    ensemble, delay_s = load_weights(registry.path(version), arm), bundle.manifest.delay_s
    held = SESSION.rows(SESSION.streams(Plant(), 7), delay_s)
    validated = np.array(spread_range(ensemble, held, np.arange(len(held)), SHAPE.horizon))
    config = PlannerConfig()
    full = FullModel(ensemble, arm, SHAPE, config.samples, obstacles=0)
    trust = TRUST * validated
    parts = (full, OnnxStepModel(bundle), "shipped", DT_S, delay_s, history_of(arm), "", None, trust)
    return Trained(arm, ensemble, held, validated, PlanningModel(*parts))


def share_cut(trained: Trained, begin: Array, goals: list[Array]) -> tuple[float, float]:
    """Of the plans that go from ``begin`` [J] to each tool position in turn, 1 s each: (share beyond the trust, share
    whose cost was raised for it)."""
    lockstep = Lockstep(arm_file("panda"), 3)
    lockstep.sim.reset(begin)
    planner = Planner(trained.arm, PlannerConfig(), lockstep.clock, np.random.default_rng(0))
    planner.use(trained.model)
    goal = Goal(lockstep.clock.now_ns(), GoalKind.POSE, goals[0], begin, 0)
    beyond: list[bool] = []
    charged: list[bool] = []

    def source(deadline_ns: int, belief: BeliefState, history: CommandHistory, following: bool) -> Plan | None:
        cycle = planner.plan(0, deadline_ns, belief, history, goal, following)
        planner.prepare()
        assert cycle.plan is not None
        beyond.append(bool((cycle.plan.epistemic[1:] > TRUST * trained.validated).any()))
        charged.append(dict(cycle.report.terms)[DISTRUST] > 1e-4)
        return cycle.plan

    lockstep.follow(source)
    for number, position in enumerate(goals):
        goal = Goal(lockstep.clock.now_ns(), GoalKind.POSE, position, begin, number + 1)
        lockstep.run(1.0)
    return float(np.mean(beyond)), float(np.mean(charged))


def test_plans_are_whole_within_the_excited_range_and_cut_beyond_it(trained: Trained) -> None:
    arm, generator = trained.arm, np.random.default_rng(0)
    _, targets = sample_targets(arm, 4, target_distance(arm), generator)
    inside, charged_inside = share_cut(trained, arm.home, list(targets))
    # Every joint beyond the work box, as far as its limits let it.
    beyond = np.clip(arm.box_upper + 0.8, arm.lower + 0.1, arm.upper - 0.1)
    aside = np.clip(beyond - 0.3, arm.lower, arm.upper)
    out, charged_out = share_cut(trained, beyond, [forward_kinematics(arm, each) for each in (aside, beyond)])
    assert inside < 0.1
    assert charged_inside < 0.1
    assert out > 0.7
    assert charged_out > 0.3


def spreads(trained: Trained, rows: Transitions, factors: Array) -> tuple[Array, Array]:
    """[W, H] rad/s as `spread_range` has it, each joint's times a factor [J]; and where each window starts [W, J]."""
    joints, starts = len(factors), whole_windows(rows, np.arange(len(rows)), SHAPE.horizon)
    found = []
    for mean, _ in open_loop(trained.ensemble, rows, starts, SHAPE.horizon):
        variance = mean[..., joints : 2 * joints].double().var(0, unbiased=False).numpy()
        found.append(np.sqrt((variance * factors**2).mean(axis=1)))
    return np.array(found).T, rows.position[starts]


def cut_of(trained: Trained, rows: Transitions, factors: Array) -> tuple[Array, Array]:
    """Which windows [W] leave the range that the held-out rows span, and how far outside each starts, rad."""
    held, excited = spreads(trained, trained.held, factors)
    found, position = spreads(trained, rows, factors)
    limit = TRUST * np.quantile(held, SPREAD_QUANTILE, axis=0)
    return (found > limit).any(axis=1), outside(position, excited)


def test_what_is_cut_grows_with_the_distance_and_the_calibrations_factors_would_not_tell_it_better(
    trained: Trained,
) -> None:
    """Of windows of true motion. A cut compares a spread with what it was in held-out motion after as many steps, so a
    factor common to all joints is on both sides; only how joints are weighed against each other could matter."""
    joints, delay_s = trained.arm.joints, trained.model.delay_s
    inside = SESSION.rows(SESSION.streams(Plant(), 23), delay_s)
    wide = SESSION.rows(SESSION.streams(Plant(wider_rad=0.8), 11), delay_s)
    (calibrated,) = (each for each in calibrate(trained.ensemble, trained.held) if each.steps == SHAPE.horizon)
    shares, decisions = [], []
    for factors in (np.ones(joints), np.array(calibrated.scale)[joints : 2 * joints]):
        again, _ = cut_of(trained, inside, factors)
        cut, far = cut_of(trained, wide, factors)
        shares.append([float(each.mean()) for each in (again, cut[(far > 0.3) & (far < 0.6)], cut[far > 0.6])])
        decisions.append(cut)
    for again_share, nearer, farther in shares:
        assert again_share < 0.1
        assert 2.0 * again_share < nearer < farther
        assert farther > 0.7
    assert (decisions[0] == decisions[1]).mean() > 0.8
