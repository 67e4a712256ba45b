"""What every planner does, whatever its optimizer and commands: outcomes, limits, continuity, determinism."""

from dataclasses import replace

import numpy as np
import pytest

from mbrl_control.kinematics import forward_kinematics
from mbrl_control.planning.config import PlannerConfig, PlannerConfigError
from mbrl_control.planning.warm_start import HELD
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import CommandInterface, Goal, GoalKind, PlanOutcome
from tests.contract.planner_bench import EFFORT, MS, ROBOTS, T0, VELOCITY, Bench, evaluator_of, knot_limits, pose

CASES = [
    *[(name, VELOCITY, "icem") for name in ("panda", "planar", "ur5e")],
    *[(name, EFFORT, "icem") for name in ("panda", "planar")],
    *[("panda", VELOCITY, method) for method in ("cem", "mppi", "random_shooting")],
    *[("planar", EFFORT, method) for method in ("cem", "mppi", "random_shooting")],
]


@pytest.fixture(params=CASES, ids="-".join)
def case(request) -> tuple[str, CommandInterface, str]:
    return request.param


@pytest.fixture
def arm(case: tuple[str, CommandInterface, str]) -> Arm:
    return load_arm(ROBOTS / f"{case[0]}.yaml", case[1])


@pytest.fixture
def settings(case: tuple[str, CommandInterface, str]) -> PlannerConfig:
    return PlannerConfig(method=case[2])


def test_plan_is_complete_feasible_and_on_the_grid(arm: Arm, settings: PlannerConfig) -> None:
    cycle = Bench(arm, settings).cycle(pose(arm), 0)
    plan, report = cycle.plan, cycle.report
    assert plan is not None
    assert plan.outcome is report.outcome is PlanOutcome.OPTIMIZED
    assert plan.interface is arm.interface
    assert report.method == settings.method
    rows, joints = evaluator_of(arm).horizon + 1, arm.joints
    assert plan.knots.shape == plan.position.shape == plan.velocity.shape == plan.effort.shape == (rows, joints)
    assert plan.variance.shape == (rows, 3 * joints)
    assert plan.epistemic.shape == plan.times.shape == (rows,)
    assert all(np.isfinite(part).all() for part in (plan.knots, plan.position, plan.velocity, plan.variance))
    assert plan.start_ns >= T0 + 10 * MS
    assert (plan.start_ns + 8 * MS - plan.belief_stamp_ns) % (20 * MS) == 0
    bound, step = knot_limits(arm)
    assert (np.abs(plan.knots) <= bound + 1e-9).all()
    assert (np.abs(np.diff(plan.knots, axis=0)) <= step + 1e-9).all()
    assert report.best_cost == pytest.approx(sum(value for _, value in report.terms))
    assert report.slack_s == pytest.approx(0.01 - report.total_s)


@pytest.mark.parametrize("interface", list(CommandInterface))
def test_limits_that_bite_are_used_up_and_kept(interface: CommandInterface) -> None:
    arm = load_arm(ROBOTS / "panda.yaml", interface)
    tight = {name: 0.03 * getattr(arm, name) for name in ("velocity", "acceleration", "effort", "torque_rate")}
    most = []
    for values in ({name: tight[name] for name in ("velocity", "effort")}, tight):
        weak = replace(arm, **values)
        plan = Bench(weak).cycle(pose(arm), 0).plan
        assert plan is not None
        bound, step = knot_limits(weak)
        shares = (np.abs(plan.knots) / bound).max(), (np.abs(np.diff(plan.knots, axis=0)) / step).max()
        assert max(shares) <= 1.0 + 1e-9
        most.append(shares)
    assert most[0][0] == pytest.approx(1.0)
    assert most[1][1] > 0.85


def test_the_last_knot_leads_towards_the_goal(arm: Arm, settings: PlannerConfig) -> None:
    goal = pose(arm)
    plan = Bench(arm, settings).cycle(goal, 0).plan
    assert plan is not None
    before, after = (np.linalg.norm(forward_kinematics(arm, q) - goal.position) for q in plan.position[[0, -1]])
    assert after < before - 0.01


def test_joint_goal(arm: Arm, settings: PlannerConfig) -> None:
    target = arm.home + 0.05
    goal = Goal(T0, GoalKind.JOINT, np.zeros(3), target, 1)
    plan = Bench(arm, settings).cycle(goal, 0).plan
    assert plan is not None
    assert np.abs(plan.position[-1] - target).max() < 0.02


def test_same_seed_same_plan(arm: Arm, settings: PlannerConfig) -> None:
    one, two = (Bench(arm, settings, seed=3) for _ in range(2))
    for at in (0, 20, 40):
        first, second = one.cycle(pose(arm), at).plan, two.cycle(pose(arm), at).plan
        assert first is not None
        assert second is not None
        np.testing.assert_array_equal(first.knots, second.knots)


def test_a_plan_begins_with_the_command_already_on_its_way(arm: Arm, settings: PlannerConfig) -> None:
    bench = Bench(arm, settings)
    first, second = (bench.cycle(pose(arm), at).plan for at in (0, 20))
    assert first is not None
    assert second is not None
    at = (second.start_ns - first.start_ns) * 1e-9
    expected = [np.interp(at, first.times, first.knots[:, j]) for j in range(arm.joints)]
    np.testing.assert_allclose(second.knots[0], expected, atol=1e-9)
    assert second.sequence == first.sequence + 1
    assert second.epoch == first.epoch


def test_the_next_cycle_scores_the_last_ones_best_first_moved_on_by_what_has_passed(
    arm: Arm, settings: PlannerConfig
) -> None:
    """Also when the goal has moved meanwhile: a warm start is a guess, scored anew."""
    bench = Bench(arm, settings)
    bench.cycle(pose(arm), 0)
    warm = bench.planner._warm
    elites, start_ns, rest = warm._rows[1:].copy(), warm._start_ns, warm._rest.copy()
    scored: list[np.ndarray] = []
    evaluate = bench.evaluator.evaluate

    def spy(state, actions, *rest):
        scored.append(actions.copy())
        return evaluate(state, actions, *rest)

    bench.evaluator.evaluate = spy  # type: ignore[method-assign]
    plan = bench.cycle(pose(arm), 20).plan
    assert plan is not None
    moved = (plan.start_ns - start_ns) / (20 * MS)
    steps = np.arange(bench.evaluator.horizon + 1)
    longer = np.vstack([elites[0], rest + (elites[0][-1] - rest) * HELD**moved])
    shifted = np.stack([np.interp(steps[:-1] + moved, steps, longer[:, j]) for j in range(arm.joints)], axis=1)
    expected = 0.5 * (shifted + np.vstack([plan.knots[0], shifted[:-1]]))
    nearest = np.abs(scored[0] - expected).max(axis=(1, 2))
    assert nearest.argmin() == 0
    assert nearest[0] < 0.02 * arm.command_limit.max(), "but for what the limits take off at the first knot"
    assert np.sort(nearest)[5] > 2.0 * nearest[0]


def test_best_so_far_when_the_budget_ends(arm: Arm, settings: PlannerConfig) -> None:
    bench = Bench(arm, settings)
    bench.evaluator.call_ms = 3
    cycle = bench.cycle(pose(arm), 0)
    assert cycle.report.outcome is PlanOutcome.BUDGET_ENDED
    assert cycle.report.iterations == 2
    assert cycle.report.slack_s == pytest.approx(0.004)


def test_late_cycles_shift_the_last_plan_then_decelerate_then_hold(arm: Arm, settings: PlannerConfig) -> None:
    """Each goes on where the last one has led, within the same limits, and keeps the stamp that the guard judges by."""
    bench = Bench(arm, settings)
    last = good = bench.cycle(pose(arm), 0).plan
    assert good is not None
    outcomes, (bound, step) = [], knot_limits(arm)
    for k in range(1, 60):
        bench.clock.sleep_until_ns(T0 + (20 * k + 11) * MS)
        cycle = bench.cycle(pose(arm), 20 * k)
        plan = cycle.plan
        assert plan is not None
        assert last is not None
        assert cycle.reason
        assert plan.outcome is cycle.report.outcome
        assert plan.optimized_stamp_ns == good.optimized_stamp_ns
        at = (plan.start_ns - last.start_ns) * 1e-9
        np.testing.assert_allclose(
            plan.knots[0], [np.interp(at, last.times, knots) for knots in last.knots.T], atol=1e-9
        )
        assert (np.abs(plan.knots) <= bound + 1e-9).all()
        if plan.outcome is not PlanOutcome.SHIFTED:
            assert (np.abs(np.diff(plan.knots, axis=0)) <= step + 1e-9).all()
            assert len(plan.times) == len(good.times)
        outcomes.append(plan.outcome)
        last = plan
    assert outcomes[:3] == [PlanOutcome.SHIFTED, PlanOutcome.SHIFTED, PlanOutcome.DECELERATE]
    assert outcomes[-1] is PlanOutcome.HOLD
    assert sorted(outcomes) == outcomes
    assert last is not None
    assert np.abs(last.velocity).max() < 0.02


def test_an_optimized_cycle_ends_the_fallbacks(arm: Arm, settings: PlannerConfig) -> None:
    bench = Bench(arm, settings)
    bench.cycle(pose(arm), 0)
    for k in (1, 2):
        bench.clock.sleep_until_ns(T0 + (20 * k + 11) * MS)
        bench.cycle(pose(arm), 20 * k)
    assert bench.cycle(pose(arm), 60).report.outcome is PlanOutcome.OPTIMIZED
    bench.clock.sleep_until_ns(T0 + 91 * MS)
    assert bench.cycle(pose(arm), 80).report.outcome is PlanOutcome.SHIFTED


@pytest.mark.parametrize("field", ["position", "velocity", "covariance"])
def test_a_belief_that_is_not_finite_is_said_and_teaches_nothing(arm: Arm, settings: PlannerConfig, field: str) -> None:
    one = Bench(arm, settings)
    one.cycle(pose(arm), 0)
    spoilt = one.cycle(pose(arm), 20, spoilt=field)
    assert spoilt.report.outcome is PlanOutcome.SHIFTED
    assert f"belief: {field} is not finite" in spoilt.reason
    bench = Bench(arm, settings)
    assert bench.cycle(pose(arm), 0, spoilt=field).report.outcome is PlanOutcome.FAILED
    assert np.isfinite(one.planner.disturbance).all()
    assert one.cycle(pose(arm), 40).report.outcome is PlanOutcome.OPTIMIZED


def test_all_scores_invalid_is_a_failure_never_a_score(arm: Arm, settings: PlannerConfig) -> None:
    bench = Bench(arm, settings)
    bench.evaluator.broken = True
    cycle = bench.cycle(pose(arm), 0)
    assert cycle.plan is None
    assert cycle.report.outcome is PlanOutcome.FAILED
    assert "non-finite" in cycle.reason


def test_activation_begins_a_newer_epoch_and_forgets(arm: Arm, settings: PlannerConfig) -> None:
    bench = Bench(arm, settings)
    first = bench.cycle(pose(arm), 0).plan
    bench.clock.advance_ns(MS)
    bench.planner.activate()
    again = bench.cycle(pose(arm), 40).plan
    assert first is not None
    assert again is not None
    assert again.epoch > first.epoch
    assert again.sequence == 1


def test_another_models_horizon_begins_without_a_warm_start(arm: Arm, settings: PlannerConfig) -> None:
    bench = Bench(arm, settings)
    assert bench.cycle(pose(arm), 0).plan is not None
    bench.planner._warm._rows = bench.planner._warm._rows[:, 1:]
    model = bench.planner._model
    assert model is not None
    bench.planner.use(model)
    plan = bench.cycle(pose(arm), 20).plan
    assert plan is not None
    assert plan.outcome is PlanOutcome.OPTIMIZED


def test_another_model_of_the_same_grid_keeps_what_was_found_for_the_goal(arm: Arm, settings: PlannerConfig) -> None:
    """Found anew it would cost the first cycle with the new model most of its budget."""
    bench = Bench(arm, settings)
    bench.cycle(Goal(T0, GoalKind.POSE, np.array([5.0, 0.0, 0.0]), arm.home, 1), 0)
    gap_m, model = bench.planner.goal_gap_m, bench.planner._model
    assert gap_m > 1.0
    assert model is not None
    bench.planner.use(model)
    assert bench.planner.goal_gap_m == gap_m


def test_misfit_settings_are_refused(arm: Arm) -> None:
    with pytest.raises(PlannerConfigError, match="period_s"):
        Bench(arm, PlannerConfig(period_s=0.013))
    with pytest.raises(PlannerConfigError, match="reech"):
        Bench(arm, PlannerConfig(pose_weights={"reech": 1.0}))


def test_a_trajectory_is_followed_in_time(arm: Arm, settings: PlannerConfig) -> None:
    """The predicted joints are where the trajectory is at the predicted time: 40 ms of shift would be 15 mrad."""
    times = np.linspace(0.0, 1.0, 51)
    way = arm.home + (0.75 * times**2)[:, None] * np.ones(arm.joints)
    goal = Goal(T0 + 20 * MS, GoalKind.TRAJECTORY, np.zeros(3), arm.home, 1, times, way)
    plan = Bench(arm, settings).cycle(goal, 0).plan
    assert plan is not None
    seconds = (plan.start_ns + 8 * MS - goal.stamp_ns) * 1e-9 + plan.times
    wanted = np.stack([np.interp(seconds, times, column) for column in way.T], axis=1)
    np.testing.assert_allclose(plan.position[8:], wanted[8:], atol=0.004)


def test_a_path_of_the_tool_is_followed_in_time(arm: Arm, settings: PlannerConfig) -> None:
    """As the same motion is when the joints are asked for: 40 ms of shift would be 6 mm and more."""
    times = np.linspace(0.0, 1.0, 51)
    way = arm.home + (0.5 * times**2)[:, None] * np.ones(arm.joints)
    path = forward_kinematics(arm, way)
    goal = Goal(T0 + 20 * MS, GoalKind.TOOL_TRAJECTORY, np.zeros(3), arm.home, 1, times, path)
    bench = Bench(arm, settings)
    cycle = bench.cycle(goal, 0)
    assert cycle.plan is not None
    assert cycle.report.goal_gap_m < 1e-3
    seconds = (cycle.plan.start_ns + 8 * MS - goal.stamp_ns) * 1e-9 + cycle.plan.times
    wanted = np.stack([np.interp(seconds, times, column) for column in path.T], axis=1)
    np.testing.assert_allclose(forward_kinematics(arm, cycle.plan.position[8:]), wanted[8:], atol=0.004)


def test_a_goal_that_no_joints_meet_is_planned_for_and_says_how_far_it_is(arm: Arm, settings: PlannerConfig) -> None:
    """Within the length of the links, beyond what the joints' limits let them do."""
    inside = replace(pose(arm), position=arm.chain[0].origin_translation + np.array([0.0, 0.0, 0.02]))
    cycle = Bench(arm, settings).cycle(inside, 0)
    assert cycle.plan is not None
    assert cycle.report.goal_gap_m > 0.02


def test_another_senders_goal_of_the_same_number_is_planned_for(arm: Arm, settings: PlannerConfig) -> None:
    """Every sender counts from 1, and a hold after an arming is always 0: the stamp tells goals apart."""
    for sequence in (0, 1):
        bench, aside = Bench(arm, settings), 0.2 * np.ones(arm.joints)
        ends = []
        for at_ms, sign in ((0, 1.0), (20, -1.0)):
            wanted = arm.home + sign * aside
            goal = Goal(T0 + at_ms * MS, GoalKind.JOINT, forward_kinematics(arm, wanted), wanted, sequence)
            plan = bench.cycle(goal, at_ms).plan
            assert plan is not None
            ends.append(plan.position[-1] - plan.position[0])
        assert ((ends[0] - ends[1]) @ aside) > 0.0
        assert ends[1] @ aside < 0.0, "the arm still goes to the first goal"
