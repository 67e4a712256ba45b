"""What docs/replay.md guarantees of samples, mixes, numbers and folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.replay.batch import Batch
from mbrl_control.replay.buffer import ReplayBuffer
from mbrl_control.replay.buffer_errors import BufferFault
from mbrl_control.replay.home import create_buffer, memory_buffer
from mbrl_control.replay.layout import BufferSpec
from mbrl_control.replay.mixer import Mixer
from mbrl_control.replay.windows import sample_windows, window_starts
from tests.unit.replay_support import LAYOUT, steps

LARGEST = float(np.finfo(np.float32).max)


def evenly(counts: Any) -> bool:
    """Within five standard deviations of equal shares, and none without."""
    mean = counts.sum() / len(counts)
    return bool((np.abs(counts - mean) < 5.0 * np.sqrt(mean)).all() and counts.min() > 0)


def filled(capacity: int | None, lengths: list[int]) -> ReplayBuffer:
    """Episodes of so many steps, without ends in between."""
    generator, buffer = np.random.default_rng(0), memory_buffer(BufferSpec(LAYOUT, capacity, 10))
    for length in lengths:
        number = np.full(length, buffer.next_episode)
        added = replace(steps(length, 0, generator), episode=number, terminal=np.zeros(length, dtype=np.bool_))
        buffer.append(replace(added, truncated=np.arange(length) == length - 1))
    return buffer


@pytest.mark.parametrize("capacity", [None, 23])
def test_rows_are_drawn_evenly(capacity: int | None) -> None:
    buffer, batch = filled(capacity, [20, 17]), Batch.empty(LAYOUT, 40_000)
    buffer.sample(batch, np.random.default_rng(1))
    assert evenly(np.bincount(batch.rows["serial"] - buffer.first, minlength=len(buffer)))


@pytest.mark.parametrize(
    ("capacity", "lengths"),
    [(None, [20, 3, 17]), (31, [20, 3, 17, 9]), (None, [2] * 2000 + [6] + [2] * 2000)],
    ids=["append-only", "ring", "rare"],
)
def test_windows_are_drawn_evenly_also_where_they_are_rare(capacity: int | None, lengths: list[int]) -> None:
    buffer, batch, generator = filled(capacity, lengths), Batch.empty(LAYOUT, 16, 4), np.random.default_rng(2)
    starts, drawn = window_starts(buffer, 4), list[int]()
    for _ in range(300):
        sample_windows(buffer, batch, generator)
        drawn += batch.rows["serial"][:, 0].tolist()
    assert set(drawn) == set(starts.tolist())
    assert evenly(np.unique(drawn, return_counts=True)[1])


def test_a_mixer_goes_on_where_it_was() -> None:
    buffers = {"real": filled(None, [30]), "synthetic": filled(None, [30])}
    batch, generator = Batch.empty(LAYOUT, 7), np.random.default_rng(3)
    whole = Mixer(buffers, {"real": 3, "synthetic": 8})
    expected = [whole.sample(batch, generator) for _ in range(12)]
    parts, drawn = [], 0
    for _ in range(12):
        mixer = Mixer(buffers, {"real": 3, "synthetic": 8}, drawn)
        parts.append(mixer.sample(batch, generator))
        drawn = mixer.drawn
    assert parts == expected


@given(st.floats(-LARGEST, LARGEST, width=64))
def test_a_float32_field_keeps_what_it_says(value: float) -> None:
    buffer = memory_buffer(BufferSpec(LAYOUT), map_above_bytes=10_000)
    added = steps(1, 0, np.random.default_rng(4))
    buffer.append(replace(added, fields={**added.fields, "reward": np.array([value])}))
    kept = float(buffer.parts()[0]["reward"][0])
    assert abs(kept - value) <= 2.0**-24 * abs(value) + 2.0**-150


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"reward": np.array([1.0001 * LARGEST])}, r"reward: is beyond float32 in 1 steps \(0\)"),
        ({"reward": np.array([1 + 2j])}, "reward: is complex128"),
        ({"state": np.zeros((1, 3))}, r"state: has shape \(1, 3\)"),
        ({"other": np.zeros(1)}, "fields: differ from the layout in other"),
    ],
)
def test_what_a_field_cannot_hold_is_refused(change: dict[str, Any], match: str) -> None:
    buffer, added = memory_buffer(BufferSpec(LAYOUT)), steps(1, 0, np.random.default_rng(5))
    with pytest.raises(BufferFault, match=match):
        buffer.append(replace(added, fields={**added.fields, **change}))
    assert len(buffer) == 0


def test_episodes_that_fall_are_refused_also_across_appends() -> None:
    buffer = filled(None, [5, 5])
    with pytest.raises(BufferFault, match=r"episode: falls in 1 steps \(0\)"):
        buffer.append(steps(4, 0, np.random.default_rng(6)))
    assert len(buffer) == 10


def test_a_folder_that_holds_something_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BufferFault, match="folder: is not empty"):
        create_buffer(tmp_path, BufferSpec(LAYOUT))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
