"""A model that live motion spoke against moves no arm: the guard holds, and goes on with plans of another."""

from __future__ import annotations

import pytest

from mbrl_control.safety.state_machine import Event
from mbrl_control.signals import OperatorState
from tests.unit.safety_support import Rig, constant, running

BAD, GOOD = "test/1", "test/2"


def rejected() -> Rig:
    rig = running()
    rig.cycle(30, knots=constant([0.4, 0.0, 0.0]))
    rig.core.model_rejected(BAD, "off by 0.2 rad", rig.now)
    return rig


def test_when_the_model_in_force_is_rejected_expect_a_hold_in_that_tick_with_the_reason() -> None:
    rig = rejected()
    command = rig.tick()
    assert rig.core.state is OperatorState.OPERATOR_HOLD
    assert rig.core.status().reasons[0] == "model test/1 was rejected: off by 0.2 rad"
    assert command.applied[0] < 0.4
    rig.cycle(40)
    assert rig.core.state is OperatorState.OPERATOR_HOLD
    assert abs(rig.velocity[0]) < 1e-3


def test_when_held_so_expect_a_start_with_plans_of_another_model_only() -> None:
    rig = rejected()
    rig.cycle(20)
    assert not rig.ask(Event.START).success
    assert not rig.send().ok
    rig.cycle(9, model_id=GOOD)
    assert "9 of 10" in rig.ask(Event.START).message
    rig.cycle(1, model_id=GOOD)
    assert rig.ask(Event.START).success
    rig.cycle(5, model_id=GOOD)
    assert rig.core.state is OperatorState.RUNNING


def test_when_the_planner_heard_first_and_left_it_expect_a_hold_all_the_same() -> None:
    rig = running()
    rig.cycle(5, model_id=GOOD)
    rig.core.model_rejected(BAD, "off", rig.now)
    rig.tick()
    assert rig.core.state is OperatorState.OPERATOR_HOLD


def test_when_its_plans_come_after_all_expect_a_hold() -> None:
    """The planner took the model over after it was rejected: it has not heard yet."""
    rig = running()
    rig.core.raise_severity(Event.REQUEST_HOLD, "hold", rig.now)
    rig.cycle(40, model_id=GOOD)
    assert rig.ask(Event.START).success
    rig.core.model_rejected(BAD, "off", rig.now)
    rig.cycle(2, model_id=GOOD)
    assert rig.core.state is OperatorState.RUNNING
    assert "was rejected: off" in rig.send(model_id=BAD).reason
    rig.tick()
    assert rig.core.state is OperatorState.OPERATOR_HOLD


def test_when_it_is_announced_again_expect_its_plans_to_count() -> None:
    rig = rejected()
    rig.core.bundle_announced(BAD, 0.0)
    rig.cycle(10)
    assert rig.ask(Event.START).success


@pytest.mark.parametrize("model_id", ["", GOOD])
def test_when_another_or_nothing_is_named_expect_the_arm_to_go_on(model_id: str) -> None:
    rig = running()
    rig.core.model_rejected(model_id, "cannot be read", rig.now)
    rig.cycle(5)
    assert rig.core.state is OperatorState.RUNNING
    assert rig.core.status().rejected_plans == 0
