"""The delay from command to motion is found while an arm moves, whatever it is, and kept where nothing tells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.lag_model import LagModel
from mbrl_control.planning.latency import LONGEST_STEPS, DelayObserver, acting_commands
from mbrl_control.planning.rollforward import TimeGrid
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import Array, BeliefState

ROBOTS = Path(__file__).parents[2] / "sim/robots"
MS = 1_000_000
T0 = 1_790_000_000_000 * MS
DT_MS, GUARD_MS = 20, 5
GRID = TimeGrid(DT_MS * MS, 15 * MS, 3, GUARD_MS * MS)
NOTHING = np.zeros(7)


@pytest.fixture(scope="module")
def arm() -> Arm:
    return load_arm(ROBOTS / "panda.yaml")


def commands_of(arm: Arm, seconds: float, amplitude: float, seed: int = 0) -> Array:
    """[T, J] rad/s every guard tick: three sines per joint, as an excitation or a figure eight has."""
    generator, time = np.random.default_rng(seed), np.arange(0.0, seconds, GUARD_MS * 1e-3)[:, None]
    waves = [
        np.sin(2 * np.pi * generator.uniform(0.3, 1.5, arm.joints) * time + generator.uniform(0, 6, arm.joints))
        for _ in range(3)
    ]
    return amplitude * np.sum(waves, axis=0)


def seen_by_the_model(arm: Arm, delay_ms: int) -> float:
    """A model step takes the mean command; a servo weighs the end of the step more, as if commands acted earlier by
    dt^2 / (12 lag)."""
    return max(0.0, delay_ms - DT_MS**2 / (12e3 * float(arm.servo_lag_s.mean())))


def watched(
    arm: Arm,
    delay_ms: int,
    commands: Array,
    noise: float = 0.002,
    start_ms: int = 15,
    rhythm_ms: tuple[int, ...] = (DT_MS,),
) -> DelayObserver:
    """An observer after an exact servo has followed these commands, each ``delay_ms`` late, measured with noise after
    each of ``rhythm_ms`` in turn."""
    model, fine = LagModel(arm.servo_lag_s, DT_MS * 1e-3), LagModel(arm.servo_lag_s, 1e-3)
    observer, history = DelayObserver(arm, GRID.dt_ns, start_ms * MS, 3.0), CommandHistory(arm.joints)
    history.append(T0 - 500 * MS, np.zeros(arm.joints))
    generator = np.random.default_rng(1)
    q, dq, grid = arm.home, np.zeros(arm.joints), replace(GRID, delay_ns=start_ms * MS)
    ends = len(commands) * GUARD_MS
    measured_at = set(np.cumsum(np.resize(rhythm_ms, ends // min(rhythm_ms))).tolist())
    for tick in range(ends):
        if tick % GUARD_MS == 0:
            history.append(T0 + tick * MS, commands[tick // GUARD_MS])
        if tick in measured_at:
            measured = dq + noise * generator.standard_normal(arm.joints)
            belief = BeliefState(T0 + tick * MS, q, measured, np.zeros((arm.joints, 2, 2)), np.zeros(arm.joints))
            observer.observe(belief, history, grid, model, NOTHING)
            grid = replace(grid, delay_ns=observer.delay_ns)
        late = tick - delay_ms
        q, dq = fine.advance(q, dq, commands[late // GUARD_MS] if late >= 0 else np.zeros(arm.joints))
    return observer


@pytest.mark.parametrize("delay_ms", [0, 7, 15, 23, 40, 60, 80])
def test_every_delay_is_found_to_half_a_millisecond(arm: Arm, delay_ms: int) -> None:
    observer = watched(arm, delay_ms, commands_of(arm, 8.0, 0.2))
    assert observer.delay_ns / MS == pytest.approx(seen_by_the_model(arm, delay_ms), abs=0.5)


@pytest.mark.parametrize("rhythm_ms", [(16, 24), (16, 16, 24, 24), (10,)])
def test_uneven_states_tell_it_as_well(arm: Arm, rhythm_ms: tuple[int, ...]) -> None:
    observer = watched(arm, 40, commands_of(arm, 8.0, 0.2), rhythm_ms=rhythm_ms)
    assert observer.delay_ns / MS == pytest.approx(seen_by_the_model(arm, 40), abs=2.0)


@pytest.mark.parametrize("amplitude", [0.0, 0.0005])
def test_where_nothing_tells_the_delay_stays(arm: Arm, amplitude: float) -> None:
    """Rest, and motion below the noise."""
    assert watched(arm, 60, commands_of(arm, 8.0, amplitude)).delay_ns == 15 * MS


def test_perfect_rest_without_noise_moves_nothing(arm: Arm) -> None:
    assert watched(arm, 60, commands_of(arm, 4.0, 0.0), noise=0.0).delay_ns == 15 * MS


def test_a_blocked_arm_and_a_belief_out_of_order_are_no_delay(arm: Arm) -> None:
    """For seconds every joint stands while the commands go on: contact answers to no command."""
    commands = commands_of(arm, 8.0, 0.2)
    observer, history = watched(arm, 40, commands), CommandHistory(arm.joints)
    found, model = observer.delay_ns, LagModel(arm.servo_lag_s, DT_MS * 1e-3)
    for tick, command in enumerate(commands):
        history.append(T0 + tick * GUARD_MS * MS, command)
    still = BeliefState(T0, arm.home, np.zeros(arm.joints), np.zeros((7, 2, 2)), np.zeros(7))
    grid = replace(GRID, delay_ns=found)
    for cycle in range(275, 375):
        observer.observe(replace(still, stamp_ns=T0 + cycle * DT_MS * MS), history, grid, model, NOTHING)
        observer.observe(replace(still, stamp_ns=T0 + (cycle - 5) * DT_MS * MS), history, grid, model, NOTHING)
    assert observer.delay_ns == pytest.approx(found, abs=MS)


def test_a_delay_that_changes_is_followed_within_seconds(arm: Arm) -> None:
    first = watched(arm, 20, commands_of(arm, 6.0, 0.2))
    again = watched(arm, 50, commands_of(arm, 6.0, 0.2, seed=3), start_ms=round(first.delay_ns / MS))
    assert first.delay_ns / MS == pytest.approx(seen_by_the_model(arm, 20), abs=0.5)
    assert again.delay_ns / MS == pytest.approx(seen_by_the_model(arm, 50), abs=0.5)


def test_a_pause_and_a_belief_that_is_not_finite_teach_nothing(arm: Arm) -> None:
    observer = watched(arm, 40, commands_of(arm, 8.0, 0.2))
    found, history, model = observer.delay_ns, CommandHistory(arm.joints), LagModel(arm.servo_lag_s, 0.02)
    history.append(T0, np.zeros(arm.joints))
    bad = BeliefState(T0, arm.home, np.full(arm.joints, np.nan), np.zeros((7, 2, 2)), np.zeros(7))
    for cycle in range(50):
        observer.pause()
        observer.observe(replace(bad, stamp_ns=T0 + 20 * cycle * MS), history, GRID, model, NOTHING)
        observer.observe(replace(bad, stamp_ns=T0 + 20 * (cycle + 1) * MS), history, GRID, model, NOTHING)
    assert observer.delay_ns == found


def test_acting_commands_are_the_means_of_the_shifted_windows(arm: Arm) -> None:
    history, generator = CommandHistory(arm.joints), np.random.default_rng(0)
    for tick in range(60):
        history.append(T0 + tick * GUARD_MS * MS, generator.normal(size=arm.joints))
    begin = T0 + 200 * MS
    acted = acting_commands(begin, history, GRID)
    assert len(acted) == LONGEST_STEPS * 10 + 1
    for tenth in (0, 1, 17, len(acted) - 1):
        start = begin - 2 * tenth * MS
        np.testing.assert_allclose(acted[tenth], history.mean(start, start + DT_MS * MS), atol=1e-12)
