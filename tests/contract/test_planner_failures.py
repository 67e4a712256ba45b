"""What spoils one cycle, or one model, spoils no other; and refinement takes the time that is left, not more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mbrl_control.cadence import VirtualClock
from mbrl_control.planner_model import opening_of
from mbrl_control.planning.config import PlannerConfig, PlannerConfigError
from mbrl_control.planning.optimize import Longest, Settings, optimize
from mbrl_control.planning.protocol import ModelFailed
from mbrl_control.planning.risk import Risk
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface, PlanOutcome
from tests.contract.planner_bench import EFFORT, MS, ROBOTS, VELOCITY, Bench, pose

BUDGET_NS = 10 * MS


@pytest.mark.parametrize("interface", [VELOCITY, EFFORT])
@pytest.mark.parametrize("field", ["position", "velocity", "effort", "variance", "epistemic"])
def test_a_sequence_whose_prediction_is_not_finite_is_never_the_plan(interface: CommandInterface, field: str) -> None:
    bench = Bench(load_arm(ROBOTS / "planar.yaml", interface))
    bench.evaluator.spoilt = field
    plan = bench.cycle(pose(bench.arm), 0).plan
    assert plan is not None
    assert plan.outcome is PlanOutcome.OPTIMIZED
    assert np.isfinite(getattr(plan, field)).all()


@pytest.mark.parametrize("interface", [VELOCITY, EFFORT])
def test_after_a_roll_forward_to_no_number_the_next_cycle_plans_as_if_nothing_had_been(
    interface: CommandInterface,
) -> None:
    arm = load_arm(ROBOTS / "planar.yaml", interface)
    bench, undisturbed = Bench(arm), Bench(arm)
    model = bench.planner._model
    assert model is not None
    bench.planner.use(replace(model, step=ToNoNumber()))
    failed = bench.cycle(pose(arm), 0)
    assert failed.report.outcome is PlanOutcome.FAILED
    assert "rolled forward is not finite" in failed.reason
    bench.planner.use(model)
    plan, other = bench.cycle(pose(arm), 20).plan, undisturbed.cycle(pose(arm), 20).plan
    assert plan is not None
    assert other is not None
    np.testing.assert_allclose(plan.position, other.position, atol=1e-9)


class ToNoNumber:
    """A model whose step leads nowhere."""

    def step(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        return np.full_like(state, np.nan)


@pytest.mark.parametrize("interface", [VELOCITY, EFFORT])
@pytest.mark.parametrize("part", ["step", "evaluator"])
def test_a_model_that_cannot_be_computed_leaves_the_last_plan_and_says_why(
    interface: CommandInterface, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU that is lost, memory that is taken: no exception leaves the cycle, nor what is prepared for the next."""
    bench = Bench(load_arm(ROBOTS / "planar.yaml", interface), PlannerConfig(delay_window_s=3.0))
    model = bench.planner._model
    assert model is not None
    assert bench.cycle(pose(bench.arm), 0).report.outcome is PlanOutcome.OPTIMIZED
    bench.planner.use(replace(model, step=Failing()) if part == "step" else model)
    if part == "evaluator":
        monkeypatch.setattr(bench.evaluator, "evaluate", Failing().step)
    failed = bench.cycle(pose(bench.arm), 20)
    assert failed.report.outcome is PlanOutcome.SHIFTED
    assert "device lost" in failed.reason


class Failing:
    """A model whose runtime has failed."""

    def step(self, *_: object) -> np.ndarray:
        raise ModelFailed("onnxruntime: Fail: device lost")


def test_a_refused_model_leaves_the_one_in_use_as_it_was() -> None:
    """Of fewer steps than the settings have knots, and of another grid: both come too late to have changed anything."""
    arm = load_arm(ROBOTS / "planar.yaml")
    settings = PlannerConfig(pose_weights={"smoothness": 0.2})
    bench, undisturbed = Bench(arm, settings), Bench(arm, settings)
    model = bench.planner._model
    assert model is not None
    with pytest.raises(PlannerConfigError, match="smoothness"):
        bench.planner.use(replace(model, evaluator=ShortWithoutTerms(), delay_s=0.04))
    plan, other = bench.cycle(pose(arm), 0).plan, undisturbed.cycle(pose(arm), 0).plan
    assert plan is not None
    assert other is not None
    np.testing.assert_array_equal(plan.knots, other.knots)
    assert plan.start_ns == other.start_ns


class ShortWithoutTerms:
    """An evaluator that these settings do not fit."""

    batch_size, horizon, term_names = 16, 5, ("reach",)


class Refining:
    """Proposes the best again, and takes its time."""

    def __init__(self, clock: VirtualClock, takes_ns: int) -> None:
        self.clock, self.takes_ns, self.calls = clock, takes_ns, 0

    def about(self, problem, best) -> Refining:
        self.knots = best.knots
        return self

    def candidates(self, count: int, again: bool) -> np.ndarray:
        self.calls += 1
        self.clock.advance_ns(self.takes_ns)
        return np.repeat(self.knots[None], count, axis=0)


@pytest.mark.parametrize(("takes_ms", "runs"), [(2, True), (9, False), (30, False)])
def test_refinement_runs_where_it_fits_and_where_not_is_tried_once(takes_ms: int, runs: bool) -> None:
    """Samples take 1 ms of a budget of 10: with one figure for both kinds, one in twenty cycles came late."""
    bench = Bench(load_arm(ROBOTS / "planar.yaml"))
    problem, method, begin, propose = problem_of(bench)
    refiner = Refining(bench.clock, takes_ms * MS)
    settings = Settings(3, 3, Risk("mean"), MS, refiner, 1)
    longest, late, cycles = Longest(), 0, 3000
    for _ in range(cycles):
        deadline = bench.clock.now_ns() + BUDGET_NS
        generator = np.random.default_rng(0)
        result = optimize(problem, method, begin, propose, settings, bench.clock, deadline, generator, longest)
        assert result is not None
        late += bench.clock.now_ns() > deadline
        longest = longest.after(result.longest)
        bench.clock.sleep_until_ns(deadline + BUDGET_NS)
    assert late == (0 if runs else 1)
    assert cycles <= refiner.calls <= 2 * cycles if runs else refiner.calls == 1


def problem_of(bench: Bench):
    """What a planner hands to its optimizer in its first cycle."""
    seen = []

    def spy(*arguments):
        seen.append(arguments)

    bench.planner._optimizer = spy
    bench.cycle(pose(bench.arm), 0)
    return seen[0][:4]


def test_commands_that_bring_a_pushed_arm_to_rest_are_without_the_push() -> None:
    """Else a held load would be dropped as soon as planning fails."""
    arm = load_arm(ROBOTS / "planar.yaml", EFFORT)
    bench = Bench(arm)
    push = 0.05 * arm.effort
    free = bench.planner._stop(arm.home, np.zeros(arm.joints), np.zeros(arm.joints))
    observer = bench.planner._observers.disturbance
    assert observer is not None
    observer._torque = push
    pushed = bench.planner._stop(arm.home, np.zeros(arm.joints), -push)
    np.testing.assert_allclose(pushed.knots[-1], free.knots[-1] - push, atol=1e-6)


def test_settings_that_weigh_a_further_term_open_the_graph_that_has_it() -> None:
    assert not opening_of(PlannerConfig(pose_weights={"posture": 0.02})).full
    for name in ("spread", "speed_limit", "obstacle"):
        assert opening_of(PlannerConfig(joint_weights={name: 0.5})).full
