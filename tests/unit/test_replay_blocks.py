"""Held-out blocks are whole, apart from the training rows, and the same whenever the log is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mbrl_control.replay.blocks import (
    BLOCK_NS,
    MARGIN_NS,
    newest_regime,
    require_blocks,
    split_blocks,
    thin_to_model_step,
)
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.transitions import Grid, cut_transitions, select, transitions_from_streams
from mbrl_control.signals import Transitions
from tests.unit.synthetic_log import T0_NS, Arm, arm_streams

STRIDE = 10_000_000


@pytest.fixture(scope="module")
def rows() -> Transitions:
    return cut_transitions(arm_streams(Arm(), 80.0, np.random.default_rng(0)), Grid(0.012))


def test_one_block_of_four_is_held_out_with_margins(rows: Transitions) -> None:
    split = split_blocks(rows, STRIDE)
    assert split.blocks == 10
    assert not np.any(split.train & split.held)
    held_ns, train_ns = rows.stamp_ns[split.held], rows.stamp_ns[split.train]
    place = np.searchsorted(train_ns, held_ns)
    after = np.minimum(place, len(train_ns) - 1)
    apart = np.minimum(np.abs(held_ns - train_ns[np.maximum(place - 1, 0)]), np.abs(train_ns[after] - held_ns))
    assert apart.min() >= MARGIN_NS
    assert len(held_ns) == pytest.approx(10 * 140, rel=0.05)


def test_a_longer_log_keeps_the_blocks_of_the_shorter_one() -> None:
    streams = arm_streams(Arm(), 90.0, np.random.default_rng(1))
    long = cut_transitions(streams, Grid(0.012))
    short = select(long, long.stamp_ns < T0_NS + 50 * 1_000_000_000)
    held_short = set((short.stamp_ns[split_blocks(short, STRIDE).held] // BLOCK_NS).tolist())
    held_long = set((long.stamp_ns[split_blocks(long, STRIDE).held] // BLOCK_NS).tolist())
    assert held_short <= held_long


def test_too_little_of_the_newest_regime_is_refused(rows: Transitions) -> None:
    split = split_blocks(rows, STRIDE)
    assert require_blocks(rows, split.held) == 10
    changed = replace(arm_streams(Arm(), 80.0, np.random.default_rng(0)), payload_ns=np.array([T0_NS + 40_000_000_000]))
    two = transitions_from_streams([changed], Grid(0.012))
    with pytest.raises(TooLittleData, match="64 s"):
        require_blocks(two, split_blocks(two, STRIDE).held)
    assert newest_regime(two).sum() < len(two)


def test_thinned_rows_follow_each_other(rows: Transitions) -> None:
    held = select(rows, split_blocks(rows, STRIDE).held)
    thin = thin_to_model_step(held, STRIDE, 20_000_000)
    together = np.diff(thin.segment) == 0
    np.testing.assert_allclose(thin.next_position[:-1][together], thin.position[1:][together], atol=1e-12)
    assert len(np.unique(thin.segment)) == 10
    assert len(thin) == pytest.approx(len(held) / 2, abs=10)
