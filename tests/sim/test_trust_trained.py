"""`trust` on a trained model, the shipped Panda's: within the excited range plans are whole, beyond it they are cut.

The range comes from held-out motion as a retraining measures it (`learning.score.spread_range`), here of
another session than the one the model was learned from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.calibration_sessions import OUTSIDE_RAD, Bench, Plant, outside
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
from mbrl_control.learning.open_loop import predictions
from mbrl_control.learning.score import SPREAD_QUANTILE, spread_range
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import Planner, PlanningModel
from mbrl_control.replay.transitions import history_of
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, BeliefState, CommandInterface, Goal, GoalKind, Plan, Transitions
from sim.lockstep import Lockstep
from sim.lockstep_model import DT_S
from tests.patience import SLOW_S
from tests.sim.full_model import FullModel

pytestmark = pytest.mark.timeout(SLOW_S)
TRUST, SHAPE = 2.0, GraphShape()
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


def share_cut(trained: Trained, begin: Array, goals: list[Array]) -> float:
    """Of the plans that go from ``begin`` [J] to each tool position in turn, 1 s each."""
    lockstep = Lockstep(arm_file("panda"), 3)
    lockstep.sim.reset(begin)
    planner = Planner(trained.arm, PlannerConfig(), lockstep.clock, np.random.default_rng(0))
    planner.use(trained.model)
    goal = Goal(lockstep.clock.now_ns(), GoalKind.POSE, goals[0], begin, 0)
    cut: list[bool] = []

    def source(deadline_ns: int, belief: BeliefState, history: CommandHistory, following: bool) -> Plan | None:
        plan = planner.plan(0, deadline_ns, belief, history, goal, following).plan
        planner.prepare()
        assert plan is not None
        cut.append(bool((plan.epistemic[1:] > TRUST * trained.validated).any()))
        return plan

    lockstep.follow(source)
    for number, position in enumerate(goals):
        goal = Goal(lockstep.clock.now_ns(), GoalKind.POSE, position, begin, number + 1)
        lockstep.run(1.0)
    return float(np.mean(cut))


def test_plans_are_whole_within_the_excited_range_and_cut_beyond_it(trained: Trained) -> None:
    arm, generator = trained.arm, np.random.default_rng(0)
    _, targets = sample_targets(arm, 4, target_distance(arm), generator)
    inside = share_cut(trained, arm.home, list(targets))
    # Every joint beyond the work box, as far as its limits let it.
    beyond = np.clip(arm.box_upper + 0.8, arm.lower + 0.1, arm.upper - 0.1)
    aside = np.clip(beyond - 0.3, arm.lower, arm.upper)
    out = share_cut(trained, beyond, [forward_kinematics(arm, each) for each in (aside, beyond)])
    print("inside", inside, "outside", out, "validated", trained.validated)
    assert inside < 0.03
    assert out > 0.7


def _spread(ensemble: ProbabilisticEnsemble, rows: Transitions, steps: int) -> tuple[Array, Array]:
    """[W, J] rad^2/s^2, variance of the members' velocities after ``steps``, and where each window starts, rad."""
    (ahead,) = predictions(ensemble, rows, (steps,))
    joints = rows.position.shape[1]
    return ahead.epistemic[:, joints : 2 * joints], rows.position[ahead.starts]


@pytest.mark.parametrize("steps", [1, 15])
def test_the_calibrations_factors_would_hardly_change_what_is_cut(trained: Trained, steps: int) -> None:
    """A cut compares a spread with what it was in held-out motion after as many steps: a factor common to all joints
    is on both sides, and what is left is how the joints are weighed against each other."""
    arm, joints = trained.arm, trained.arm.joints
    (calibrated,) = (each for each in calibrate(trained.ensemble, trained.held) if each.steps == steps)
    factors = np.array(calibrated.scale)[joints : 2 * joints]
    wide = SESSION.rows(SESSION.streams(Plant(wider_rad=0.8), 11), trained.model.delay_s)
    held, _ = _spread(trained.ensemble, trained.held, steps)
    other, position = _spread(trained.ensemble, wide, steps)
    decided = []
    for weights in (np.ones(joints), factors):
        known, seen = (np.sqrt(np.mean(each * weights**2, axis=1)) for each in (held, other))
        decided.append(seen > TRUST * np.quantile(known, SPREAD_QUANTILE))
    plain, scaled = decided
    far = outside(position, trained.held.position)
    near, beyond = far == 0.0, (far >= OUTSIDE_RAD[0]) & (far <= OUTSIDE_RAD[1])
    print(
        steps,
        "factors",
        factors,
        "alike",
        (plain == scaled).mean(),
        "near",
        plain[near].mean(),
        scaled[near].mean(),
        "beyond",
        plain[beyond].mean(),
        scaled[beyond].mean(),
        near.sum(),
        beyond.sum(),
    )
    assert (plain == scaled).mean() > 0.95
    assert plain[near].mean() < plain[beyond].mean()
    assert arm.joints == joints
