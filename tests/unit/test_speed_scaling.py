"""The robot's own speed scaling: what the guard makes of each word, of nonsense and of silence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.safety.speed_scaling import LEAST, STALE_NS, SpeedScaling, impose, judge
from mbrl_control.safety.state_machine import Event
from mbrl_control.signals import OperatorState
from tests.unit.safety_support import Rig, constant

T0 = 10**12


def drive(rig: Rig, cycles: int, percent: float | None, own_scale: float = 1.0) -> list[float]:
    """Plans at full speed on the first joint; the share of the rated speed commanded after each cycle.

    ``percent`` None: the robot falls silent now, having said 100 before.
    """
    silent_since, shares = rig.now, []
    for _ in range(cycles):
        rig.send(knots=constant([0.5, 0.0, 0.0]), velocity=constant([0.5, 0.0, 0.0]))
        for _ in range(4):
            scaling = SpeedScaling(100.0, silent_since) if percent is None else SpeedScaling(percent, rig.now)
            impose(rig.core, scaling, own_scale, rig.now)
            command = rig.tick()
        shares.append(float(np.abs(command.applied[0])) / rig.limits.velocity[0])
    return shares


def running() -> Rig:
    rig = Rig()
    rig.run()
    return rig


@pytest.mark.parametrize(("percent", "own_scale"), [(10.0, 1.0), (20.0, 0.5), (12.5, 0.8)])
def test_less_than_all_caps_the_speed_on_top_of_the_guards_own_cap(percent: float, own_scale: float) -> None:
    """The plan asks for a quarter of the rated speed."""
    rig = running()
    shares = drive(rig, 40, percent, own_scale)
    assert shares[-1] == pytest.approx(percent / 100.0 * own_scale, rel=1e-6)
    assert rig.core.state == OperatorState.RUNNING
    assert rig.core.speed_scale == pytest.approx(percent / 100.0 * own_scale)


def test_all_leaves_the_plan_alone() -> None:
    rig = running()
    assert drive(rig, 40, 100.0)[-1] == pytest.approx(0.25)


@pytest.mark.parametrize("percent", [0.0, 0.9, -1.0, math.nan, math.inf], ids=str)
def test_a_pause_or_nonsense_holds_as_long_as_it_lasts_and_an_operator_carries_on(percent: float) -> None:
    rig = running()
    assert drive(rig, 10, 100.0)[-1] > 0.2
    assert drive(rig, 30, percent)[-1] == pytest.approx(0.0, abs=1e-3)
    assert rig.core.state == OperatorState.OPERATOR_HOLD
    assert "speed scaling" in rig.core.status().reasons[0]
    # An operator who starts too early starts nothing.
    assert rig.ask(Event.START).success
    assert drive(rig, 10, percent)[-1] == pytest.approx(0.0, abs=1e-3)
    assert rig.core.state == OperatorState.OPERATOR_HOLD
    # The robot carries on: the arm does not, before an operator says so.
    assert drive(rig, 30, 100.0)[-1] == pytest.approx(0.0, abs=1e-3)
    assert rig.ask(Event.START).success
    assert drive(rig, 40, 100.0)[-1] == pytest.approx(0.25, abs=1e-3)


def test_silence_does_not_look_like_all() -> None:
    rig = running()
    drive(rig, 5, 100.0)
    cycles = STALE_NS // 20_000_000
    assert drive(rig, cycles + 50, None)[-1] == pytest.approx(0.0, abs=1e-3)
    assert rig.core.state == OperatorState.OPERATOR_HOLD
    assert "silent" in rig.core.status().reasons[0]


def test_before_the_first_word_nothing_runs() -> None:
    rig = running()
    impose(rig.core, SpeedScaling(), 1.0, rig.now)
    assert rig.core.state == OperatorState.OPERATOR_HOLD


def test_drives_that_are_off_stay_off() -> None:
    rig = Rig()
    impose(rig.core, SpeedScaling(0.0, rig.now), 1.0, rig.now)
    assert rig.core.state == OperatorState.IDLE


@given(st.floats(allow_nan=True, allow_infinity=True), st.integers(0, 2 * STALE_NS))
def test_the_share_is_always_one_the_guard_takes(percent: float, silent_ns: int) -> None:
    allowed = judge(SpeedScaling(percent, T0), T0 + silent_ns)
    assert LEAST <= allowed.share <= 1.0
    if not allowed.pause:
        assert silent_ns <= STALE_NS
        assert allowed.share == min(1.0, percent / 100.0)
