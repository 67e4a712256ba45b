"""Rows of a golden recording are found in whatever log they come, and no row is cut from any of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_control.replay.blocks import MARGIN_NS
from mbrl_control.replay.golden_rows import coincident_ns, without
from mbrl_control.replay.held import interpolate
from mbrl_control.replay.streams import Streams
from mbrl_control.replay.transitions import Grid, cut_transitions
from tests.unit.synthetic_log import T0_NS, Arm, arm_streams

WHOLE = arm_streams(Arm(), 20.0, np.random.default_rng(0))
GRID = Grid(0.012)


def cut(streams: Streams, begin_ns: int, end_ns: int, every: int = 1) -> Streams:
    """What another log has of the same motion, every so many beliefs."""
    chosen = np.flatnonzero((streams.belief_ns >= begin_ns) & (streams.belief_ns < end_ns))[::every]
    fields = {name: getattr(streams, name)[chosen] for name in ("belief_ns", "position", "velocity", "effort")}
    return replace(streams, **fields)


@settings(max_examples=40)
@given(begin=st.integers(0, 15_000), length=st.integers(100, 8_000), every=st.sampled_from([1, 2, 5]))
def test_exactly_the_golden_stretch_is_left_out(begin: int, length: int, every: int) -> None:
    """Whatever stretch of a log is golden, at whatever rate the log has it: its rows go, all others stay."""
    begin_ns, end_ns = T0_NS + begin * 1_000_000, T0_NS + (begin + length) * 1_000_000
    golden, log = cut(WHOLE, begin_ns, end_ns), cut(WHOLE, 0, 2**62, every)
    stamps = coincident_ns(log, golden)
    inside = (log.belief_ns >= golden.belief_ns[0]) & (log.belief_ns <= golden.belief_ns[-1])
    np.testing.assert_array_equal(stamps, log.belief_ns[inside])
    before, after = cut_transitions(log, GRID).stamp_ns, cut_transitions(without(log, stamps), GRID).stamp_ns
    assert set(after) <= set(before)
    reach = (GRID.history + 1) * GRID.dt_ns + round(GRID.delay_s * 1e9)
    for moment in after.tolist():
        assert not ((stamps > moment - reach) & (stamps < moment + GRID.dt_ns)).any()
    gone = np.setdiff1d(before, after)
    if len(gone):
        assert gone.min() >= stamps[0] - MARGIN_NS - reach
        assert gone.max() <= stamps[-1] + MARGIN_NS + reach


def test_a_resampled_copy_is_the_same_recording() -> None:
    """As an import onto another grid writes it: between two samples, on their line."""
    at = np.arange(T0_NS, T0_NS + 15_000_000_000, 7_000_000)
    names = ("position", "velocity", "effort")
    values = {name: interpolate(WHOLE.belief_ns, getattr(WHOLE, name), at) for name in names}
    np.testing.assert_array_equal(coincident_ns(replace(WHOLE, belief_ns=at, **values), WHOLE), at)


def test_another_recording_with_the_same_stamps_is_not() -> None:
    other = arm_streams(Arm(), 20.0, np.random.default_rng(1))
    np.testing.assert_array_equal(other.belief_ns, WHOLE.belief_ns)
    away = np.abs(other.position - WHOLE.position).max(axis=1)
    assert len(coincident_ns(other, WHOLE)) <= (away < 1e-5).sum() < 0.01 * len(away)
    assert len(coincident_ns(replace(other, belief_ns=other.belief_ns + 10**12), WHOLE)) == 0


def test_a_log_without_golden_rows_is_itself() -> None:
    assert without(WHOLE, np.empty(0, dtype=np.int64)) is WHOLE
