"""What a planner of torques does about a torque that its model does not predict."""

from dataclasses import replace

import numpy as np

from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.limits import mean_actions
from mbrl_control.planning.planner import PlanningModel
from mbrl_control.replay.transitions import history_of
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import Goal
from tests.contract.planner_bench import EFFORT, MS, ROBOTS, T0, Bench, knot_limits, pose


def disturbed(arm: Arm, push: np.ndarray) -> tuple[Bench, Goal]:
    """Two cycles at rest under commands that lack ``push``: what keeps the arm at rest is ``push``."""
    bench = Bench(arm, PlannerConfig(disturbance_settle_s=0.02))
    bench.history.append(T0 - 150 * MS, RigidBody(arm).gravity(arm.home) - push)
    bench.following = True
    for at_ms in (0, 20):
        bench.cycle(pose(arm), at_ms)
    np.testing.assert_allclose(bench.planner.disturbance, push, rtol=1e-4, atol=1e-6)
    return bench, pose(arm)


def test_a_disturbance_is_planned_with_and_commands_keep_their_limits() -> None:
    arm = load_arm(ROBOTS / "panda.yaml", EFFORT)
    weak = replace(arm, effort=0.03 * arm.effort, velocity=0.03 * arm.velocity)
    push = 0.2 * weak.effort * np.where(np.arange(arm.joints) % 2, 1.0, -1.0)
    plans = []
    for acting in (push, 0.0 * push):
        bench, goal = disturbed(weak, acting)
        cycle = bench.cycle(goal, 40)
        plan = cycle.plan
        assert plan is not None
        np.testing.assert_allclose(cycle.report.disturbance, acting, rtol=1e-4, atol=1e-6)
        assert bench.planner.overloaded == ()
        bound, step = knot_limits(weak)
        assert (np.abs(plan.knots) <= bound + 1e-9).all()
        assert (np.abs(np.diff(plan.knots, axis=0)) <= step + 1e-9).all()
        # What a rigid body is predicted to measure is what is sent: the knots are those that were scored.
        sent = mean_actions(plan.knots[None, 1:], plan.knots[0])[0]
        np.testing.assert_allclose(plan.effort[1:], sent, rtol=1e-4, atol=1e-4)
        plans.append(plan)
    assert (np.abs(plans[0].knots) / bound).max() > 0.99
    assert np.abs(plans[0].knots - plans[1].knots).max() > 0.1 * np.abs(push).max()


def test_a_torque_beyond_what_may_be_made_up_for_names_its_joints() -> None:
    arm = load_arm(ROBOTS / "panda.yaml", EFFORT)
    push = np.zeros(arm.joints)
    push[[2, 5]] = 0.5 * arm.effort[[2, 5]] * np.array([1.0, -1.0])
    bench = Bench(arm, PlannerConfig(disturbance_settle_s=0.02))
    bench.history.append(T0 - 150 * MS, RigidBody(arm).gravity(arm.home) - push)
    bench.following = True
    assert bench.planner.overloaded == ()
    for at_ms in (0, 20, 40):
        bench.cycle(pose(arm), at_ms)
    assert bench.planner.overloaded == (arm.joint_names[2], arm.joint_names[5])


def test_a_disturbance_outlives_a_hold_and_is_forgotten_after_a_second_with_the_model_and_the_epoch() -> None:
    arm = load_arm(ROBOTS / "panda.yaml", EFFORT)
    push = 0.1 * arm.effort
    for forgotten in ("second", "model", "epoch"):
        bench, goal = disturbed(arm, push)
        bench.following = False
        bench.cycle(goal, 40)
        np.testing.assert_allclose(bench.planner.disturbance, push, rtol=1e-4, atol=1e-6)
        if forgotten == "second":
            bench.following = False
            bench.cycle(goal, 1100)
        elif forgotten == "model":
            bench.planner.use(
                PlanningModel(bench.evaluator, bench.evaluator.inner, "m/2", 0.02, 0.008, history_of(arm))
            )
        else:
            bench.planner.activate()
        assert not bench.planner.disturbance.any()
