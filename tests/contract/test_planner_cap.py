"""A guard that allows less speed than the settings is planned for: at once, for as long as it does, whatever the model.

What the guard says reaches the planner through its node; what is no cap is counted and changes nothing.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mbrl_control.planning.config import PlannerConfig
from mbrl_control.robot import load_arm
from tests.contract.planner_bench import EFFORT, ROBOTS, Bench, pose

CAP = 0.05


def fastest(bench: Bench, at_ms: int) -> float:
    """Largest knot of the plan made then, in rated speeds."""
    plan = bench.cycle(pose(bench.arm), at_ms).plan
    assert plan is not None
    return float((np.abs(plan.knots) / bench.arm.velocity).max())


@pytest.mark.parametrize("method", ["icem", "cem", "mppi", "random_shooting"])
def test_plans_keep_within_the_cap_while_it_lasts(method: str) -> None:
    bench = Bench(load_arm(ROBOTS / "panda.yaml"), PlannerConfig(method=method))
    free = fastest(bench, 0)
    assert free > 2.0 * CAP, "the cap is not in the way: this test proves nothing"
    bench.planner.cap_speed(CAP)
    bench.planner.activate()
    bench.following = False
    assert 0.9 * CAP < fastest(bench, 20) <= CAP + 1e-9
    model = bench.planner._model
    assert model is not None
    bench.planner.use(model)
    assert fastest(bench, 40) <= CAP + 1e-9
    bench.planner.cap_speed(1.0)
    assert fastest(bench, 60) > CAP


def test_a_cap_above_the_settings_changes_nothing() -> None:
    arm = load_arm(ROBOTS / "panda.yaml")
    bench, other = Bench(arm, PlannerConfig(speed_scale=0.1)), Bench(arm, PlannerConfig(speed_scale=0.1))
    bench.planner.cap_speed(0.5)
    np.testing.assert_array_equal(bench.cycle(pose(arm), 0).plan.knots, other.cycle(pose(arm), 0).plan.knots)


def test_from_above_the_cap_a_plan_comes_back_within_it_as_fast_as_the_arm_may_slow_down() -> None:
    bench = Bench(load_arm(ROBOTS / "panda.yaml"))
    arm, rushing = bench.arm, 0.4 * bench.arm.velocity
    bench.history.append(bench.history.last_stamp_ns + 1, rushing)
    bench.planner.cap_speed(CAP)
    plan = bench.cycle(pose(arm), 0).plan
    assert plan is not None
    step = 0.9 * arm.acceleration * 0.02
    steps = np.arange(len(plan.knots))[:, None]
    assert (np.abs(plan.knots) <= np.maximum(CAP * arm.velocity, rushing - steps * step) + 1e-9).all()
    assert (np.abs(np.diff(plan.knots, axis=0)) <= step + 1e-9).all()


def test_moves_by_torques_keep_within_the_cap() -> None:
    bench = Bench(load_arm(ROBOTS / "planar.yaml", EFFORT), PlannerConfig(iterations=1))
    speeds = []
    for cap in (1.0, CAP):
        bench.planner.cap_speed(cap)
        bench.planner.activate()
        bench.following = False
        plan = bench.cycle(pose(bench.arm), 20 * len(speeds)).plan
        assert plan is not None
        speeds.append(float((np.abs(plan.velocity) / bench.arm.velocity).max()))
    assert speeds[0] > 2.0 * CAP
    assert speeds[1] <= 1.05 * CAP


@pytest.mark.parametrize(
    ("said", "taken", "refused"),
    [(0.25, [0.25], 0), (None, [], 0), (0.0, [], 1), (1.5, [], 1), (float("nan"), [], 1)],
)
def test_the_planners_node_takes_the_guards_word_and_counts_what_is_none(
    said: float | None, taken: list[float], refused: int
) -> None:
    pytest.importorskip("rclpy")
    from mbrl_nodes.mpc_planner import MpcPlanner

    caps: list[float] = []
    reasons: list[str] = []
    status = None if said is None else SimpleNamespace(speed_scale=said)
    node: Any = SimpleNamespace(
        _statuses=SimpleNamespace(newest=lambda: status),
        _planner=SimpleNamespace(cap_speed=caps.append),
        _inputs=SimpleNamespace(refuse=reasons.append),
    )
    MpcPlanner._obey_cap(node)
    assert caps == taken
    assert len(reasons) == refused
