"""Figures of a tracking run whose every error is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mbrl_control.report.limits import limit_violations
from mbrl_control.report.reach import PHASES, phase_errors, task_of, track_summary
from mbrl_control.report.run_data import GoalEvent, Ticks
from mbrl_control.report.targets import misses
from mbrl_control.report.timing import goal_windows
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface
from sim.generate import ROBOTS
from sim.truth_file import TruthLog, TruthWriter, read_truth

MS = 1_000_000
T0 = 1_700_000_000_000_000_000
ARM = load_arm(ROBOTS / "planar.yaml", CommandInterface.EFFORT)


def moving(phase: str, begin_s: float) -> GoalEvent:
    """One metre along x in two seconds."""
    times, path = np.array([0.0, 2.0]), np.array([[0.0, 0.0, 0.5], [1.0, 0.0, 0.5]])
    return GoalEvent(T0 + round(begin_s * 1e9), phase, 0, path[0], 2.0, times, path)


def truth(tmp_path: Any, goal: GoalEvent, seconds: float) -> TruthLog:
    """The tool 3 mm beside its path in the first half, 5 mm in the second; far off before the goal."""
    from sim.arm_sim import TruthState

    path = tmp_path / "truth.bin"
    with TruthWriter(path, ARM, {"simulator": "mujoco", "command_interface": "effort"}) as writer:
        for step in range(round(seconds * 500)):
            elapsed = step / 500 - (goal.stamp_ns - T0) * 1e-9
            away = 0.5 if elapsed < 0.0 else 0.003 if elapsed < 1.0 else 0.005
            tool = np.array([0.5 * elapsed, away, 0.5])
            speed = np.zeros(2) + (1.05 * ARM.velocity if step == 7 else 0.0)
            writer.write(TruthState(T0 + step * 2 * MS, step, ARM.home, speed, np.zeros(2), tool, 0.0, False))
    return read_truth(path)


def test_the_rms_is_over_the_whole_motion_and_nothing_before_it(tmp_path: Any) -> None:
    goal = moving("nominal", 1.0)
    found = track_summary((goal,), truth(tmp_path, goal, 4.0), "nominal")
    assert found["rms"] == pytest.approx(np.sqrt((9.0 + 25.0) / 2.0), rel=2e-3)
    assert found["max"] == pytest.approx(5.0, abs=1e-6)
    assert found["median"] == pytest.approx(4.0, abs=1e-6)
    assert found["targets"] == 1


def test_a_motion_that_the_truth_does_not_cover_has_no_figure(tmp_path: Any) -> None:
    goal = moving("nominal", 1.0)
    log = truth(tmp_path, goal, 2.9)
    assert track_summary((goal,), log, "nominal")["rms"] is None
    assert track_summary((goal,), log, "fresh") == dict.fromkeys(("rms", "median", "p95", "max")) | {"targets": 0}


def test_a_run_is_judged_by_tracking_as_soon_as_a_goal_moves(tmp_path: Any) -> None:
    still = GoalEvent(T0, "nominal", 0, np.zeros(3))
    assert task_of((still,)) == ("reach_mm", "median")
    goals = (still, moving("nominal", 1.0))
    assert task_of(goals) == ("track_mm", "rms")
    assert set(phase_errors(goals[1:], truth(tmp_path, goals[1], 4.0))) == {f"track_mm_{phase}" for phase in PHASES}


def test_windows_are_as_long_as_their_goals() -> None:
    goals = (moving("nominal", 1.0), GoalEvent(T0 + round(5e9), "nominal", 1, np.zeros(3)))
    seconds = np.array([0.5, 1.5, 2.9, 3.5, 5.5, 7.9, 8.5])
    inside = goal_windows(T0 + np.round(seconds * 1e9).astype(np.int64), goals)
    assert inside.tolist() == [False, True, True, False, True, True, False]


def test_torques_beyond_their_limit_or_rate_are_counted_and_accelerations_are_not(tmp_path: Any) -> None:
    applied = np.zeros((20, 2))
    applied[5:9] = 0.5 * ARM.torque_rate * 0.005
    applied[9:] = 2.5 * ARM.torque_rate * 0.005
    applied[12, 0] = 1.01 * ARM.effort[0]
    index = np.arange(20)
    ticks = Ticks(T0 + index * 5 * MS, index, np.full(20, 2), applied, np.ones(20, dtype=bool))
    goal = moving("nominal", 0.0)
    found = limit_violations(truth(tmp_path, goal, 1.0), ticks, ARM)
    assert found == {"position": 0, "velocity": 1, "effort": 1, "effort_rate": 3}


def good() -> dict[str, Any]:
    rms = {"nominal": 8.0, "fresh": 3.0, "payload_nominal": 20.0, "payload": 12.0, "relearned": 4.0}
    return {f"track_mm_{phase}": {"rms": value} for phase, value in rms.items()} | {
        "excess_late": 0.0, "excess_missed": 0.0, "swap_missed_ticks": 0, "limit_violations": 0, "demo_s": 400.0,
        "plan_rate_hz": 50.0, "guard_rate_hz": 200.0, "invalid_reasons": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("track_mm_fresh", {"rms": 4.1}, "track_mm_fresh 4.1 above 4"),
        ("track_mm_relearned", {"rms": 7.3}, "track_mm_relearned (payload) 7.3 above 7.2"),
        ("track_mm_payload", {"rms": None}, "track_mm: a phase has no finite error of every target"),
        ("limit_violations", 1, "limit_violations 1 above 0"),
    ],
)
def test_what_tracking_misses_is_told_with_both_numbers(field: str, value: object, told: str) -> None:
    assert misses(good()) == []
    assert misses(good() | {field: value}) == [told]
