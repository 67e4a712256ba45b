"""Whatever is raised in a cycle, or as the next is prepared: the cycle falls back and says why, the next one plans."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.cycle import Unexpected
from mbrl_control.planning.goal_target import GoalTarget
from mbrl_control.planning.watch import LEAST, CycleWatch
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface, PlanOutcome
from tests.contract.planner_bench import EFFORT, MS, ROBOTS, T0, VELOCITY, Bench, pose

ERRORS = [OSError(22, "Invalid argument"), IndexError("index 1 is out of bounds")]


class Raising:
    """In place of one method, while it is to fail."""

    def __init__(self, inner: Callable[..., Any], error: Exception) -> None:
        self.inner, self.error, self.fails = inner, error, True

    def __call__(self, *given: Any) -> Any:
        if self.fails:
            raise self.error
        return self.inner(*given)


def planar(interface: CommandInterface = VELOCITY) -> Bench:
    return Bench(load_arm(ROBOTS / "planar.yaml", interface), PlannerConfig(delay_window_s=3.0))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("interface", [VELOCITY, EFFORT])
def test_an_evaluator_that_raises_costs_a_cycle_and_no_process(interface: CommandInterface, error: Exception) -> None:
    bench = planar(interface)
    goal, failing = pose(bench.arm), Raising(bench.evaluator.evaluate, error)
    bench.evaluator.evaluate = failing
    first = bench.cycle(goal, 0)
    assert (first.plan, first.report.outcome) == (None, PlanOutcome.FAILED)
    failing.fails = False
    optimized = bench.cycle(goal, 20)
    assert optimized.report.outcome is PlanOutcome.OPTIMIZED
    assert optimized.failure is None
    failing.fails = True
    outcomes = [bench.cycle(goal, 40 + 20 * number).report.outcome for number in range(3)]
    assert outcomes == [PlanOutcome.SHIFTED, PlanOutcome.SHIFTED, PlanOutcome.DECELERATE]
    failing.fails = False
    assert bench.cycle(goal, 100).report.outcome is PlanOutcome.OPTIMIZED
    assert f"{type(error).__name__}: {error} (test_planner_unforeseen.py:" in first.reason


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("part", ["the goal", "the model", "the best plan"])
def test_a_preparation_that_raises_is_told_by_the_next_cycle_which_falls_back(part: str, error: Exception) -> None:
    bench = planar()
    goal, planner = pose(bench.arm), bench.planner
    assert bench.cycle(goal, 0).report.outcome is PlanOutcome.OPTIMIZED
    place, name = {
        "the goal": (planner._goal, "refine"),
        "the model": (planner._observers.delay, "observe"),
        "the best plan": (planner._proposer, "remember"),
    }[part]
    failing = Raising(getattr(place, name), error)
    setattr(place, name, failing)
    assert bench.cycle(goal, 20).report.outcome is PlanOutcome.OPTIMIZED
    failing.fails = False
    failed = bench.cycle(goal, 40)
    assert failed.report.outcome is PlanOutcome.SHIFTED
    assert failed.reason.startswith(f"{type(error).__name__}: {error} (")
    assert bench.cycle(goal, 60).report.outcome is PlanOutcome.OPTIMIZED


def test_what_a_cycle_left_half_done_is_not_built_upon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A goal that was taken in by half: the next cycle takes it in from the beginning."""
    bench, undisturbed = planar(), planar()
    goal = pose(bench.arm)
    with monkeypatch.context() as patch:
        patch.setattr(GoalTarget, "_descend", Raising(GoalTarget._descend, IndexError("half way")))
        assert "half way" in bench.cycle(goal, 0).reason
    plan, other = bench.cycle(goal, 20).plan, undisturbed.cycle(goal, 20).plan
    assert plan is not None
    assert other is not None
    np.testing.assert_array_equal(plan.position, other.position)


def test_a_fallback_that_raises_leaves_the_cycle_without_a_plan_and_says_why() -> None:
    bench = planar()
    goal = pose(bench.arm)
    bench.cycle(goal, 0)
    bench.evaluator.broken = True
    for number in range(1, 3):
        assert bench.cycle(goal, 20 * number).report.outcome is PlanOutcome.SHIFTED
    bench.planner._proposer.stop = Raising(bench.planner._proposer.stop, ZeroDivisionError("no way to rest"))
    failed = bench.cycle(goal, 60)
    assert (failed.plan, failed.report.outcome) == (None, PlanOutcome.FAILED)
    assert failed.reason.startswith("ZeroDivisionError: no way to rest")


def test_a_new_activation_knows_nothing_of_a_preparation_that_failed_before_it() -> None:
    bench = planar()
    goal = pose(bench.arm)
    bench.cycle(goal, 0)
    bench.planner._proposer.remember = Raising(bench.planner._proposer.remember, OSError("gone"))
    bench.cycle(goal, 20)
    bench.planner.activate()
    assert bench.cycle(goal, 40).report.outcome is PlanOutcome.OPTIMIZED


def test_faults_are_counted_and_their_traceback_is_handed_out_once_per_place() -> None:
    bench, watch = planar(), CycleWatch()
    bench.evaluator.evaluate = Raising(bench.evaluator.evaluate, KeyError("cost"))
    for number in range(LEAST):
        watch.take(bench.cycle(pose(bench.arm), 20 * number), T0 + 20 * number * MS, 0)
    assert watch.facts()["unexpected"] == watch.facts()["late"] == str(LEAST)
    assert "found no new plan: KeyError: 'cost'" in watch.trouble(T0)
    (fault,) = watch.untold()
    assert watch.untold() == []
    assert "in evaluate" in fault.trace() or "raise self.error" in fault.trace()
    assert fault.trace().rstrip().endswith("KeyError: 'cost'")


def test_a_fault_holds_no_frame_of_the_cycle() -> None:
    """Else arrays of failing cycles would stay until the collector runs, which it hardly does in a control process."""
    try:
        raise IndexError("index 1 is out of bounds")
    except IndexError as error:
        fault = Unexpected(error)
    assert fault.__traceback__ is fault.__context__ is fault.__cause__ is None
    assert not any(frame.locals for frame in fault._told.stack)


def test_the_planners_node_logs_it() -> None:
    pytest.importorskip("rclpy")
    from mbrl_nodes.mpc_planner import MpcPlanner

    bench, watch, said = planar(), CycleWatch(), []
    bench.evaluator.evaluate = Raising(bench.evaluator.evaluate, IndexError("index 1 is out of bounds"))
    watch.take(bench.cycle(pose(bench.arm), 0), T0, 0)
    node: Any = SimpleNamespace(
        _watch=watch,
        _planner=bench.planner,
        _goals=SimpleNamespace(refused=0),
        _inputs=SimpleNamespace(refused=0),
        _models=SimpleNamespace(facts=dict),
        get_logger=lambda: SimpleNamespace(error=said.append),
    )
    for _ in range(2):
        MpcPlanner.diagnose(node)
    (text,) = said
    assert "Traceback" in text
    assert "IndexError: index 1 is out of bounds" in text
