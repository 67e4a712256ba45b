"""Risk, limits, kinematics, proposals and settings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from mbrl_control.cli.locations import arm_file
from mbrl_control.kinematics import forward_kinematics, jacobian
from mbrl_control.planning.config import PlannerConfigError, load_config, read_config
from mbrl_control.planning.goal_target import GoalTarget
from mbrl_control.planning.goals import goal_refusal, longest_reach_m
from mbrl_control.planning.kinematics import ToolKinematics
from mbrl_control.planning.lag_model import LagModel
from mbrl_control.planning.limits import KnotLimits, mean_actions, project
from mbrl_control.planning.proposals import Corrector, Target, approach, goal_posture
from mbrl_control.planning.risk import Risk, aggregate
from mbrl_control.robot import load_arm
from mbrl_control.signals import Goal, GoalKind

ARM = load_arm(Path(__file__).parents[2] / "sim/robots/panda.yaml")
LAG = LagModel(ARM.servo_lag_s, 0.02)
LIMITS = KnotLimits(ARM.velocity * 0.5, ARM.acceleration * 0.018)
EXACT = {"xatol": 1e-9, "maxiter": 500}
"""Of the minimization: its value is as much off, over the share."""


@given(st.integers(0, 2**32 - 1))
def test_risk_strategies_are_ordered(seed: int) -> None:
    cost = np.random.default_rng(seed).normal(size=(5, 8))
    mean, worst = aggregate(cost, Risk("mean")), aggregate(cost, Risk("worst"))
    cvar = aggregate(cost, Risk("cvar", cvar_fraction=0.4))
    assert (mean <= cvar + 1e-12).all()
    assert (cvar <= worst + 1e-12).all()
    assert (aggregate(cost, Risk("mean_std", std_weight=0.5)) >= mean).all()
    np.testing.assert_allclose(aggregate(cost, Risk("cvar", cvar_fraction=1.0)), mean)
    np.testing.assert_allclose(aggregate(cost, Risk("cvar", cvar_fraction=0.2)), worst)


def test_cvar_counts_the_last_of_the_worst_in_part() -> None:
    """Half of five members: the two worst, and half of the third."""
    cost = np.array([[3.0], [100.0], [1.0], [20.0], [7.0]])
    found = aggregate(cost, Risk("cvar", cvar_fraction=0.5))
    np.testing.assert_allclose(found, [(100.0 + 20.0 + 0.5 * 7.0) / 2.5])


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(0.02, 1.0))
def test_cvar_is_the_least_of_rockafellar_and_uryasevs_formula(seed: int, members: int, share: float) -> None:
    """Their function of a threshold is convex; found by golden section, without sorting anything."""
    cost = np.random.default_rng(seed).normal(size=members)

    def formula(threshold: float) -> float:
        return float(threshold + np.maximum(cost - threshold, 0.0).mean() / share)

    least = minimize_scalar(formula, bounds=(cost.min() - 1.0, cost.max() + 1.0), method="bounded", options=EXACT)
    (found,) = aggregate(cost[:, None], Risk("cvar", cvar_fraction=share))
    assert found == pytest.approx(least.fun, abs=1e-6)
    assert found <= least.fun + 1e-9


@pytest.mark.parametrize("name", ["mean", "worst", "cvar", "mean_std"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_non_finite_member_makes_the_worst_cost(name: str, bad: float) -> None:
    cost = np.ones((5, 3))
    cost[2, 1] = bad
    assert aggregate(cost, Risk(name)).tolist() == [1.0, np.inf, 1.0]  # type: ignore[arg-type]


@given(st.integers(0, 2**32 - 1))
def test_projected_knots_keep_the_limits_and_feasible_ones_pass(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.uniform(-1.0, 1.0, 7) * LIMITS.bound
    knots = project(rng.normal(scale=3.0, size=(4, 15, 7)), first, LIMITS)
    steps = np.diff(np.concatenate([np.broadcast_to(first, (4, 1, 7)), knots], axis=1), axis=1)
    assert (np.abs(knots) <= LIMITS.bound + 1e-12).all()
    assert (np.abs(steps) <= LIMITS.step + 1e-12).all()
    np.testing.assert_allclose(project(knots, first, LIMITS), knots, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, ""),
        ({"stamp_ns": 1_004_000_000}, ""),
        ({"kind": GoalKind.TRAJECTORY}, "trajectory"),
        ({"kind": GoalKind.TRAJECTORY, "times": np.arange(3.0), "trajectory": np.tile(ARM.home, (3, 1))}, ""),
        ({"kind": GoalKind.TRAJECTORY, "times": np.zeros(3), "trajectory": np.zeros((3, 7))}, "increase"),
        ({"kind": GoalKind.TRAJECTORY, "times": np.arange(3.0), "trajectory": np.zeros((3, 6))}, "row"),
        ({"kind": GoalKind.TRAJECTORY, "times": np.arange(3.0), "trajectory": np.full((3, 7), np.nan)}, "finite"),
        ({"stamp_ns": 1_006_000_000}, "future"),
        ({"position": np.array([0.0, np.nan, 0.0])}, "finite"),
        ({"joint": np.full(7, np.inf)}, "finite"),
        ({"joint": ARM.upper + 0.2}, ""),
        ({"kind": GoalKind.JOINT, "joint": ARM.upper}, ""),
        ({"kind": GoalKind.JOINT, "joint": ARM.home + np.eye(7)[3] * 3.0}, ARM.joint_names[3]),
        (
            {"kind": GoalKind.TRAJECTORY, "times": np.arange(2.0), "trajectory": np.tile(ARM.upper + 0.01, (2, 1))},
            "limits",
        ),
        ({"position": np.array([1.5, 0.0, 0.5])}, "reached"),
        ({"kind": GoalKind.TOOL_TRAJECTORY}, "trajectory"),
        ({"kind": GoalKind.TOOL_TRAJECTORY, "times": np.arange(3.0), "trajectory": np.full((3, 3), 0.3)}, ""),
        ({"kind": GoalKind.TOOL_TRAJECTORY, "times": np.arange(3.0), "trajectory": np.zeros((3, 7))}, "row"),
        ({"kind": GoalKind.TOOL_TRAJECTORY, "times": np.arange(3.0), "trajectory": np.full((3, 3), 2.0)}, "reached"),
    ],
)
def test_goals_that_cannot_be_planned_are_refused(change: dict[str, object], word: str) -> None:
    goal = replace(Goal(999_000_000, GoalKind.POSE, np.full(3, 0.3), ARM.home, 1), **change)  # type: ignore[arg-type]
    refusal = goal_refusal(goal, 1_000_000_000, ARM)
    assert (word in refusal) if word else refusal == ""


def test_mean_action_of_linear_knots() -> None:
    actions = mean_actions(np.array([[[1.0], [3.0]]]), np.array([-1.0]))
    assert actions[0, :, 0].tolist() == [0.0, 2.0]


@given(st.integers(0, 2**32 - 1))
def test_fast_kinematics_agree_with_the_arm_description(seed: int) -> None:
    q = np.random.default_rng(seed).uniform(ARM.lower, ARM.upper)
    tool, slope = ToolKinematics(ARM).tool_and_jacobian(q)
    np.testing.assert_allclose(tool, forward_kinematics(ARM, q), atol=1e-12)
    np.testing.assert_allclose(slope, jacobian(ARM, q), atol=1e-12)


@pytest.mark.parametrize("name", ["panda", "planar", "ur5e"])
def test_a_fully_stretched_arm_is_within_reach_whatever_the_rounding(name: str) -> None:
    arm = load_arm(arm_file(name))
    reach, base = longest_reach_m(arm), arm.chain[0].origin_translation
    directions = np.random.default_rng(0).standard_normal((200, 3))
    for direction in directions / np.linalg.norm(directions, axis=1, keepdims=True):
        goal = Goal(0, GoalKind.POSE, base + reach * direction, arm.home, 1)
        assert goal_refusal(goal, 0, arm) == ""
        assert goal_refusal(replace(goal, position=base + (reach + 1e-3) * direction), 0, arm) != ""


@pytest.mark.parametrize("kind", [GoalKind.POSE, GoalKind.TOOL_TRAJECTORY])
def test_a_preferred_posture_beyond_the_limits_pulls_to_the_limits(kind: GoalKind) -> None:
    """Zeros, as a sender without a preference sends, are beyond the Panda's elbow; 1e30 overflows a cost."""
    target = GoalTarget(ARM, 0.05, 15, 0.02)
    way = {"times": np.array([0.0, 1.0]), "trajectory": np.full((2, 3), 0.3)} if kind.moving else {}
    target.take(Goal(0, kind, np.full(3, 0.3), np.full(7, 1e30), 1, **way), ARM.home, 0)
    joint = target.ahead(0).joint
    assert (joint <= ARM.upper).all()
    if kind is GoalKind.POSE:
        np.testing.assert_array_equal(joint, np.tile(ARM.upper, (15, 1)))


@given(st.integers(0, 2**32 - 1))
def test_no_posture_reaches_farther_than_the_longest_reach(seed: int) -> None:
    q = np.random.default_rng(seed).uniform(ARM.lower, ARM.upper)
    assert np.linalg.norm(forward_kinematics(ARM, q) - ARM.chain[0].origin_translation) <= longest_reach_m(ARM)


@given(st.integers(0, 2**32 - 1))
def test_posture_meets_the_goal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, goal = rng.uniform(ARM.box_lower, ARM.box_upper, (2, 7))
    point = forward_kinematics(ARM, goal)
    found = goal_posture(ToolKinematics(ARM), (ARM.lower, ARM.upper), start, point, ARM.home, 30, 0.05)
    assert np.linalg.norm(forward_kinematics(ARM, found) - point) < 1e-3


def test_approach_comes_to_the_target_without_overshoot() -> None:
    target = ARM.home + 0.05
    goal = Target.rest(target, 60)
    tracks = approach((ARM.home, np.zeros(7)), np.zeros(7), goal, np.array([5.0, 15.0]), LIMITS, LAG)
    np.testing.assert_allclose(tracks.reference[1, -1], target, atol=1e-4)
    assert (tracks.reference <= target + 1e-3).all()
    np.testing.assert_allclose(project(tracks.knots, np.zeros(7), LIMITS), tracks.knots, atol=1e-12)


def test_correction_removes_an_unknown_drift() -> None:
    """One step of learning control cancels a constant drift that the nominal model does not have."""
    drift = np.full(7, 0.05)

    def rollout(knots: np.ndarray) -> np.ndarray:
        position, velocity, rows = ARM.home, np.zeros(7), []
        for action in mean_actions(knots[None], np.zeros(7))[0]:
            position, velocity = LAG.advance(position, velocity, action + drift)
            rows.append(position)
        return np.array(rows)

    knots = np.zeros((15, 7))
    before = ARM.home - rollout(knots)
    corrected = knots + Corrector(LAG.position_response(15), 0.3 * LAG.dt_s).change(before[None])[0]
    after = ARM.home - rollout(corrected)
    assert np.abs(after[-5:]).max() < 0.05 * np.abs(before[-5:]).max()


def test_settings_name_the_field_and_the_file(tmp_path: Path) -> None:
    with pytest.raises(PlannerConfigError, match=r"'iteration'.*known fields: .*iterations"):
        load_config({"iteration": 3})
    path = tmp_path / "planner.yaml"
    path.write_text("speed_scale: 1.5\n", encoding="utf-8")
    with pytest.raises(PlannerConfigError, match=r"planner\.yaml: field 'speed_scale'"):
        read_config(path)
    path.write_text("- 3\n", encoding="utf-8")
    with pytest.raises(PlannerConfigError, match="no mapping"):
        read_config(path)
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(PlannerConfigError, match="cannot be read"):
        read_config(path)
    with pytest.raises(PlannerConfigError, match="no such file"):
        read_config(tmp_path / "absent.yaml")
    path.write_text("speed_scale: 0.25\n", encoding="utf-8")
    assert read_config(path).speed_scale == 0.25
