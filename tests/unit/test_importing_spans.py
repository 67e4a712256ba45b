"""Spans of an import in which there are both state and commands."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.replay.importing.resample import Grid, Resampled, Stretch, common_spans


@given(st.lists(st.integers(0, 400), max_size=24, unique=True), st.lists(st.integers(0, 400), max_size=24, unique=True))
def test_common_spans_are_where_every_pair_of_stretches_says(states: list[int], commands: list[int]) -> None:
    """Stretches between every second pair of edges; the oracle compares each with each."""

    def stream(edges: list[int]) -> Resampled:
        pairs = list(zip(sorted(edges)[::2], sorted(edges)[1::2], strict=False))
        stretches = tuple(Stretch(np.arange(start, end, dtype=np.int64), {}, end) for start, end in pairs)
        return Resampled(Grid(1, 1, 3), stretches, (), 0, 0, ())

    state, command = stream(states), stream(commands)
    expected = [
        (max(int(one.stamp_ns[0]), int(other.stamp_ns[0])), min(one.end_ns, other.end_ns))
        for one in state.stretches
        for other in command.stretches
    ]
    assert common_spans(state, command) == tuple((start, end) for start, end in expected if end > start)
