"""Which models a planner refuses by name, and that those it takes can be rolled forward from any belief it takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.planning.admission import check_model
from mbrl_control.planning.command_history import CAPACITY, CommandHistory
from mbrl_control.planning.config import PlannerConfig, PlannerConfigError
from mbrl_control.planning.rollforward import StaleBelief, TimeGrid, roll_forward
from mbrl_control.robot import load_arm
from mbrl_control.signals import BeliefState, PlanOutcome
from tests.contract.planner_bench import ROBOTS, VELOCITY, Bench, pose

MS = 1_000_000
GUARD_MS = 5
GRID = TimeGrid(20 * MS, 8 * MS, 3, GUARD_MS * MS)


def refusal(grid: TimeGrid, horizon: int = 15, config: PlannerConfig | None = None) -> str:
    try:
        check_model("panda/7", horizon, grid, config or PlannerConfig())
    except PlannerConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("grid", "horizon", "config", "said"),
    [
        (GRID, 1, {}, "panda/7: horizon: 1; no plan comes of fewer than 2 steps"),
        (replace(GRID, dt_ns=50 * MS), 15, {}, "field 'period_s': 0.02 s fits no grid of panda/7; set it to 0.05 or"),
        (replace(GRID, delay_ns=201 * MS), 15, {}, "panda/7: delay_s: 0.201 s cannot be compensated"),
        (
            replace(GRID, delay_ns=120 * MS),
            15,
            {"delay_window_s": 3.0},
            "field 'delay_window_s': delays of up to 5 steps",
        ),
        (
            replace(GRID, past=4096),
            15,
            {},
            "panda/7: history: 4096 commands, its delay and the oldest belief reach 82.17 s",
        ),
    ],
    ids=["one step", "another rate", "long delay", "longer than is looked for", "long history"],
)
def test_a_model_that_no_cycle_could_plan_with_is_refused_by_name(grid, horizon, config, said: str) -> None:
    assert said in refusal(grid, horizon, PlannerConfig(**config))


def test_what_is_at_a_bound_is_taken() -> None:
    assert refusal(GRID, 2) == ""
    assert refusal(replace(GRID, delay_ns=200 * MS)) == ""
    assert refusal(replace(GRID, delay_ns=100 * MS), config=PlannerConfig(delay_window_s=3.0)) == ""


@settings(max_examples=40, deadline=None)
@given(
    past=st.integers(1, 300), delay_ms=st.integers(0, 250), age_ms=st.integers(0, 200), dt_ms=st.sampled_from([20, 40])
)
def test_from_every_belief_that_is_taken_a_model_that_is_taken_rolls_forward(
    past: int, delay_ms: int, age_ms: int, dt_ms: int
) -> None:
    """Else the arm moves until the ring is full, then every cycle fails."""
    grid = TimeGrid(dt_ms * MS, delay_ms * MS, past, GUARD_MS * MS)
    history, now_ns = moving(), 10**18
    belief = BeliefState(now_ns - age_ms * MS, np.zeros(1), np.zeros(1), np.zeros((1, 2, 2)), np.zeros(1))
    if refusal(grid):
        return
    start = roll_forward(belief, history, (), now_ns, grid, Held())
    assert start.start_ns >= now_ns > start.start_ns - grid.dt_ns
    assert (start.start_ns + grid.delay_ns - belief.stamp_ns) % grid.dt_ns == 0


def test_the_oldest_of_these_is_the_one_that_just_fits() -> None:
    """The bound is neither void nor far off: a few commands more are refused, and would have been forgotten."""
    most = max(past for past in range(1, 400) if not refusal(replace(GRID, past=past)))
    assert most * GRID.dt_ns < CAPACITY * GUARD_MS * MS < (most + 20) * GRID.dt_ns
    belief = BeliefState(10**18 - 200 * MS, np.zeros(1), np.zeros(1), np.zeros((1, 2, 2)), np.zeros(1))
    with pytest.raises(ValueError, match="forgotten"):
        roll_forward(belief, moving(), (), 10**18, replace(GRID, past=most + 20), Held())


def moving() -> CommandHistory:
    """A full ring, as it is when it has just forgotten most."""
    history = CommandHistory(1)
    for back in range(2 * CAPACITY, -1, -1):
        history.append(10**18 - back * GUARD_MS * MS, np.array([np.sin(0.01 * back)]))
    return history


class Held:
    """A step that only remembers commands."""

    def step(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        return np.concatenate([state[:2], state[3:], action])


@pytest.mark.parametrize("delay_ms", [0, 40, 200])
def test_a_belief_is_as_old_as_it_is_whatever_the_delay(delay_ms: int) -> None:
    grid, history = replace(GRID, delay_ns=delay_ms * MS), moving()
    for age_ms, stale in ((200, False), (201, True), (-20, False), (-21, True)):
        belief = BeliefState(10**18 - age_ms * MS, np.zeros(1), np.zeros(1), np.zeros((1, 2, 2)), np.zeros(1))
        if not stale:
            roll_forward(belief, history, (), 10**18, grid, Held())
            continue
        with pytest.raises(StaleBelief, match=f"belief is {age_ms}.0 ms before the deadline"):
            roll_forward(belief, history, (), 10**18, grid, Held())


def test_a_long_delay_that_is_taken_is_planned_with() -> None:
    """0.2 s at 20 ms: every cycle failed and said the belief was 218 ms old."""
    bench = Bench(load_arm(ROBOTS / "planar.yaml", VELOCITY))
    model = bench.planner._model
    assert model is not None
    bench.planner.use(replace(model, delay_s=0.2))
    assert [bench.cycle(pose(bench.arm), 20 * number).report.outcome for number in range(3)] == [
        PlanOutcome.OPTIMIZED
    ] * 3


@pytest.mark.parametrize("change", [{"delay_s": 0.5}, {"past": 4096}], ids=lambda change: next(iter(change)))
def test_a_planner_that_refuses_a_model_goes_on_with_the_one_before(change: dict[str, float]) -> None:
    bench = Bench(load_arm(ROBOTS / "planar.yaml", VELOCITY))
    model = bench.planner._model
    assert model is not None
    with pytest.raises(PlannerConfigError, match="m/2: "):
        bench.planner.use(replace(model, model_id="m/2", **change))
    report = bench.cycle(pose(bench.arm), 0).report
    assert (report.outcome, report.model_id) == (PlanOutcome.OPTIMIZED, "m/1")


def test_no_graph_of_one_step_is_exported() -> None:
    with pytest.raises(ValueError, match="horizon: 1 is too small; give 2 or more"):
        GraphShape(horizon=1)
