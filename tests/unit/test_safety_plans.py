"""Plans at the guard: which one is followed, what happens at its end, and which are refused."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_control.signals import OperatorState, PlanOutcome, Stage
from tests.unit.safety_support import constant, plan, running


def test_when_a_start_lies_ahead_expect_the_plan_in_force_until_then() -> None:
    rig = running()
    rig.cycle(40, knots=constant([0.2, 0.0, 0.0]))
    for _ in range(3):
        rig.send(knots=constant([0.21, 0.0, 0.0]), start_ns=rig.now + 30_000_000)
        before = [rig.tick() for _ in range(4)]
    waiting = [command.applied[0] for command in before]
    # Starts 30 ms ahead arrive every 20 ms: none may displace the one before it.
    assert waiting[0] == pytest.approx(0.21)


def test_when_a_newer_plan_starts_earlier_expect_it_in_place_of_the_waiting_one() -> None:
    rig = running()
    rig.send(start_ns=rig.now + 60_000_000, knots=constant([0.3, 0.0, 0.0]))
    rig.send(start_ns=rig.now + 10_000_000, knots=constant([0.02, 0.0, 0.0]))
    sequences = [rig.tick().plan_sequence for _ in range(16)]
    assert rig.sequence in sequences[:4]
    assert rig.sequence - 1 not in sequences


def test_when_beyond_the_last_knot_expect_braking() -> None:
    rig = running()
    rig.cycle(40, knots=constant([0.5, 0.0, 0.0]))
    short = {"times": np.array([0.0, 0.01]), "variance": np.zeros((2, 9)), "epistemic": np.zeros(2)}
    rows = {name: np.zeros((2, 3)) for name in ("position", "velocity", "effort")}
    rig.send(knots=np.full((2, 3), [0.5, 0.0, 0.0]), **short, **rows)
    commands = [rig.tick() for _ in range(4)]
    assert commands[2].applied[0] == pytest.approx(0.5)
    assert commands[3].applied[0] < 0.5
    assert commands[3].limiting_stage == Stage.AGE


BAD_PLANS = {
    "nan": {"knots": np.full((16, 3), np.nan)},
    "shape": {"knots": np.zeros((16, 2))},
    "count": {"times": np.array([0.0])},
    "times": {"times": np.zeros(16)},
    "names": {"joint_names": ("b", "a", "c")},
    "variance": {"variance": np.full((16, 9), np.inf)},
    "excess": {"knots": constant([0.0, 2.3, 0.0])},
    "failed": {"outcome": PlanOutcome.FAILED},
}


@pytest.mark.parametrize("name", BAD_PLANS)
def test_when_three_malformed_plans_expect_latch(name: str) -> None:
    rig = running()
    for count in range(3):
        assert rig.core.state == OperatorState.RUNNING
        verdict = rig.send(**BAD_PLANS[name])
        assert not verdict.ok
        rig.tick()
        assert rig.core.status().rejected_plans == count + 1
    assert rig.core.state == OperatorState.PROTECTIVE_STOP


@pytest.mark.parametrize("field", ["stamp_ns", "belief_stamp_ns", "optimized_stamp_ns"])
def test_when_a_stamp_lies_in_the_future_expect_refusal(field: str) -> None:
    rig = running()
    assert "future" in rig.send(**{field: rig.now + 6_000_000}).reason


@pytest.mark.parametrize("offset_ns", [-61_000_000, 101_000_000])
def test_when_the_start_is_outside_the_window_expect_refusal(offset_ns: int) -> None:
    rig = running()
    assert "window" in rig.send(start_ns=rig.now + offset_ns).reason


def test_when_a_plan_is_replayed_expect_refusal_without_latch() -> None:
    rig = running()
    for _ in range(5):
        assert not rig.core.receive_plan(plan(rig.now, rig.sequence), rig.now).ok
    rig.cycle(1)
    assert rig.core.state == OperatorState.RUNNING
