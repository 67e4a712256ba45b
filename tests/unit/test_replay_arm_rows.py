"""Rows cut from a log go into a buffer and come back the same."""

from __future__ import annotations

import numpy as np

from mbrl_control.replay.arm_rows import arm_layout, arm_steps, arm_transitions
from mbrl_control.replay.home import memory_buffer
from mbrl_control.replay.layout import BufferSpec
from mbrl_control.replay.provenance import Provenance, Source
from mbrl_control.replay.transitions import Grid, cut_transitions
from tests.unit.synthetic_log import NAMES, Arm, arm_streams


def test_transitions_come_back_to_the_last_bit() -> None:
    grid = Grid(0.012)
    rows = cut_transitions(arm_streams(Arm(), 4.0, np.random.default_rng(3)), grid)
    buffer = memory_buffer(BufferSpec(arm_layout(NAMES, grid.history), period_ns=grid.stride_ns))
    buffer.append(arm_steps(rows, (Provenance(Source.REAL, "excitation"),)))
    (part,) = buffer.parts()
    back = arm_transitions(part)
    for name in type(rows).__dataclass_fields__:
        np.testing.assert_array_equal(getattr(back, name), getattr(rows, name))
    assert np.shares_memory(back.position, part)
    assert part["truncated"].sum() == len(np.unique(rows.segment))
