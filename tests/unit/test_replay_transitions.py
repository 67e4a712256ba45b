"""Training rows against closed-form answers on a synthetic arm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.episode_log.reader import LogReader
from mbrl_control.episode_log.writer import LogWriter
from mbrl_control.replay.delay import estimate_delay
from mbrl_control.replay.held import HeldSignal
from mbrl_control.replay.streams import read_streams
from mbrl_control.replay.transitions import (
    Grid,
    cut_transitions,
    transitions_from_logs,
    transitions_from_streams,
)
from tests.unit.synthetic_log import T0_NS, Arm, arm_streams, write_streams

MS = 1_000_000


def test_held_mean_is_the_exact_integral() -> None:
    stamps = np.array([0, 5, 10, 20]) * MS
    signal = HeldSignal(stamps, np.array([[1.0], [2.0], [4.0], [0.0]]))
    mean = signal.mean(np.array([0, 3, 10]) * MS, np.array([20, 13, 40]) * MS)
    np.testing.assert_allclose(mean[:, 0], [55 / 20, (2 + 10 + 12) / 10, 40 / 30])


def test_rows_follow_the_time_grid() -> None:
    """Commands that name their own tick: every mean is known in closed form."""
    streams = arm_streams(Arm(noise=0.0), 2.0, np.random.default_rng(0))
    ticks = np.arange(len(streams.command_ns), dtype=float)
    streams = replace(streams, applied=np.stack([ticks, -ticks], axis=1))
    rows = cut_transitions(streams, Grid(delay_s=0.015))
    start = (rows.stamp_ns - T0_NS) / (5 * MS) - 3
    np.testing.assert_allclose(rows.action[:, 0], _held_ramp_mean(start, start + 4), atol=1e-9)
    for k in range(3):
        shift = 4 * (3 - k)
        np.testing.assert_allclose(rows.history[:, k, 1], -_held_ramp_mean(start - shift, start - shift + 4), atol=1e-9)


def _held_ramp_mean(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    def integral(x: np.ndarray) -> np.ndarray:
        whole = np.floor(x)
        return whole * (whole - 1) / 2 + whole * (x - whole)

    return (integral(end) - integral(start)) / (end - start)


def test_history_holds_the_actions_before() -> None:
    rows = cut_transitions(arm_streams(Arm(), 4.0, np.random.default_rng(3)), Grid(0.012))
    assert len(np.unique(rows.segment)) == 1
    for k in range(1, 4):
        np.testing.assert_allclose(rows.history[6:, -k], rows.action[6 - 2 * k : -2 * k], atol=1e-9)
    np.testing.assert_allclose(rows.next_position[:-2], rows.position[2:], atol=1e-12)


def test_gaps_drives_off_and_relay_silence_cost_exactly_the_rows_that_read_them() -> None:
    whole = arm_streams(Arm(), 6.0, np.random.default_rng(4))
    grid = Grid(0.010)
    baseline = cut_transitions(whole, grid)
    at = T0_NS + 3_000 * MS
    keep = (whole.belief_ns < at) | (whole.belief_ns > at + 40 * MS)
    gap = replace(whole, **{n: getattr(whole, n)[keep] for n in ("belief_ns", "position", "velocity", "effort")})
    off = replace(whole, drives_enabled=np.abs(whole.command_ns - at) > 20 * MS)
    silent = replace(whole, publishing=np.abs(whole.relay_ns - at) > 10 * MS)
    for broken, before, after in ((gap, 20, 40), (off, 10, 100), (silent, 20, 120)):
        rows = cut_transitions(broken, grid)
        lost = np.setdiff1d(baseline.stamp_ns, rows.stamp_ns)
        assert len(lost) > 0
        assert len(np.unique(rows.segment)) == 2
        assert lost.min() >= at - (before + 25) * MS
        assert lost.max() <= at + (after + 25) * MS
        kept = np.isin(baseline.stamp_ns, rows.stamp_ns)
        np.testing.assert_allclose(baseline.action[kept], rows.action, atol=1e-9)


def test_sessions_grow_with_payload_and_log() -> None:
    rng = np.random.default_rng(5)
    first = arm_streams(Arm(), 4.0, rng)
    first = replace(first, payload_ns=np.array([T0_NS + 2_000 * MS]))
    second = arm_streams(Arm(), 2.0, rng, start_ns=T0_NS + 60_000 * MS)
    rows = transitions_from_streams([first, second], Grid(0.012))
    assert np.unique(rows.session).tolist() == [0, 1, 2]
    assert np.all(np.diff(rows.session) >= 0)
    assert np.all(np.diff(rows.segment) >= 0)
    assert not np.any(np.abs(rows.stamp_ns - T0_NS - 2_000 * MS) < 10 * MS)


def test_logs_read_back_give_the_same_rows(tmp_path: Path) -> None:
    streams = replace(arm_streams(Arm(), 3.0, np.random.default_rng(6)), payload_ns=np.array([T0_NS + 1_500 * MS]))
    write_streams(tmp_path / "a.mcap", streams)
    direct = cut_transitions(streams, Grid(0.012))
    read = transitions_from_logs([tmp_path / "a.mcap"], Grid(0.012))
    for name in type(direct).__dataclass_fields__:
        np.testing.assert_array_equal(getattr(direct, name), getattr(read, name))


def test_nothing_usable_is_one_clear_error() -> None:
    streams = arm_streams(Arm(), 2.0, np.random.default_rng(7))
    with pytest.raises(ValueError, match="no row"):
        transitions_from_streams([replace(streams, drives_enabled=np.zeros_like(streams.drives_enabled))], Grid(0.0))
    with pytest.raises(ValueError, match="stride_ns"):
        Grid(0.0, stride_ns=7_000_000)


def test_a_single_missing_command_costs_the_rows_that_read_it_and_changes_no_other(tmp_path: Path) -> None:
    """One dropped by a full queue: the gap in time is shorter than what counts as one, the numbers tell."""
    streams = arm_streams(Arm(), 6.0, np.random.default_rng(11))
    write_streams(tmp_path / "whole.mcap", streams)
    missing = int(streams.command_ns[400])
    with LogWriter(tmp_path / "lacking.mcap") as writer:
        known: set[str] = set()
        for raw in LogReader(tmp_path / "whole.mcap").raw():
            topic = raw.channel.topic
            if topic not in known:
                known.add(topic)
                writer.add_topic(topic, raw.channel.type, raw.channel.definition)
            if (topic, raw.log_time_ns) != ("/arm/safe_command", missing):
                writer.write(topic, raw.cdr, raw.log_time_ns)
    grid = Grid(0.012)
    whole, rows = (cut_transitions(read_streams(tmp_path / f"{name}.mcap"), grid) for name in ("whole", "lacking"))
    shared = np.isin(whole.stamp_ns, rows.stamp_ns)
    assert shared.sum() == len(rows)
    for name in ("position", "history", "action", "next_position", "next_velocity", "next_effort"):
        np.testing.assert_allclose(getattr(rows, name), getattr(whole, name)[shared], atol=1e-12)
    left_out = whole.stamp_ns[~shared]
    reach, delay = 60 * MS, 12 * MS
    reads = (whole.stamp_ns - delay - reach < missing + 5 * MS) & (whole.stamp_ns + 20 * MS - delay > missing - 5 * MS)
    np.testing.assert_array_equal(left_out, whole.stamp_ns[reads])


def test_non_finite_beliefs_are_refused(tmp_path: Path) -> None:
    streams = arm_streams(Arm(), 1.0, np.random.default_rng(8))
    streams.velocity[10, 0] = np.nan
    write_streams(tmp_path / "nan.mcap", streams)
    first = r"belief\.velocity: is not finite in 1 of its messages, the first number 10 .*, stamp 1700000000\.04"
    with pytest.raises(ValueError, match=rf"nan\.mcap: {first}"):
        read_streams(tmp_path / "nan.mcap")


@pytest.mark.parametrize(
    ("delay_ms", "lag_ms"), [(0, (20.0, 60.0)), (7, (35.0, 55.0)), (18, (90.0, 25.0)), (33, (8.0, 15.0))]
)
def test_known_delay_is_found_within_a_millisecond(delay_ms: int, lag_ms: tuple[float, float]) -> None:
    streams = arm_streams(Arm(delay_ms, lag_ms, noise=0.02), 20.0, np.random.default_rng(delay_ms))
    found = estimate_delay(streams)
    assert abs(found.delay_s * 1e3 - delay_ms) <= 1.0
    np.testing.assert_allclose(found.lag_s * 1e3, lag_ms, rtol=0.1, atol=1.0)
    assert found.residual_ratio < 0.9


def test_a_log_at_rest_tells_no_delay() -> None:
    streams = arm_streams(Arm(), 5.0, np.random.default_rng(9))
    with pytest.raises(ValueError, match="cannot be estimated"):
        estimate_delay(replace(streams, applied=np.zeros_like(streams.applied)))
