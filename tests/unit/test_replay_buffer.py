"""Replay buffers against plain lists: append, wrap, sample, windows, reopen, and files cut anywhere."""

from __future__ import annotations

import os
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mbrl_control.replay.batch import Batch
from mbrl_control.replay.buffer import ReplayBuffer
from mbrl_control.replay.buffer_errors import BufferFault
from mbrl_control.replay.home import HEADER, ORIGINS, ROWS, create_buffer, memory_buffer, open_buffer
from mbrl_control.replay.layout import BufferSpec
from mbrl_control.replay.mixer import Mixer, turns
from mbrl_control.replay.mixer import given as given_by
from mbrl_control.replay.windows import sample_windows, window, window_starts
from tests.unit.replay_support import LAYOUT, as_list, rows_as_list, steps


def held(buffer: ReplayBuffer) -> list[tuple[Any, ...]]:
    return [row for part in buffer.parts() for row in rows_as_list(part, buffer.origins)]


class Machine(RuleBasedStateMachine):
    """A buffer in a folder beside a list."""

    capacity: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        self.folder = Path(self.home.name) / "buffer"
        self.spec = BufferSpec(LAYOUT, self.capacity, 10)
        self.buffer = create_buffer(self.folder, self.spec)
        self.generator = np.random.default_rng(0)
        self.oracle: list[tuple[Any, ...]] = []
        self.reopened_at: set[int] = set()

    @rule(count=st.integers(0, 40), stamp=st.integers(0, 3), fresh=st.booleans())
    def append(self, count: int, stamp: int, fresh: bool) -> None:
        episode = self.buffer.next_episode if fresh else max(0, self.buffer.next_episode - 1)
        added = steps(count, episode, self.generator, stamp)
        self.buffer.append(added)
        self.oracle += as_list(added)
        self.oracle = self.oracle[-self.capacity :] if self.capacity else self.oracle

    @rule(clean=st.booleans())
    def reopen(self, clean: bool) -> None:
        if clean:
            self.buffer.close()
        else:  # as a kill would: nothing is said to be finished
            assert self.buffer._header is not None
            self.buffer._header.close()
        self.buffer, report = open_buffer(self.folder)
        self.reopened_at.add(self.buffer.end)
        assert (report.dropped, report.uncommitted) == (0, 0)
        assert report.clean or not clean

    @rule()
    def sample(self) -> None:
        batch = Batch.empty(LAYOUT, 16)
        if not self.oracle:
            with pytest.raises(BufferFault, match="none to sample"):
                self.buffer.sample(batch, self.generator)
            return
        self.buffer.sample(batch, self.generator)
        places = batch.rows["serial"] - self.buffer.first
        assert rows_as_list(batch.rows, self.buffer.origins) == [self.oracle[place] for place in places]

    @rule(length=st.integers(1, 4), step=st.integers(1, 2))
    def windows(self, length: int, step: int) -> None:
        starts = window_starts(self.buffer, length, step).tolist()
        assert starts == self.expected_starts((length - 1) * step + 1)
        batch = Batch.empty(LAYOUT, 8, length)
        if not starts:
            with pytest.raises(BufferFault, match="windows"):
                sample_windows(self.buffer, batch, self.generator, step)
            return
        sample_windows(self.buffer, batch, self.generator, step)
        assert set(batch.rows["serial"][:, 0].tolist()) <= set(starts)
        assert (np.diff(batch.rows["serial"], axis=1) == step).all()
        np.testing.assert_array_equal(
            window(self.buffer, starts[-1], length, step)["serial"][-1:], starts[-1] + (length - 1) * step
        )

    def expected_starts(self, span: int) -> list[int]:
        first, end = self.buffer.first, self.buffer.end
        joined = [
            before[3] == after[3] and after[2] - before[2] == 10 and not before[4] and not before[5]
            and first + place + 1 not in self.reopened_at
            for place, (before, after) in enumerate(pairwise(self.oracle))
        ]  # fmt: skip
        return [
            start
            for start in range(first, end - span + 1)
            if all(joined[start - first : start - first + span - 1])
            and (self.capacity is None or start % self.capacity + span <= self.capacity)
        ]

    @invariant()
    def holds_what_the_list_holds(self) -> None:
        assert len(self.buffer) == len(self.oracle)
        assert held(self.buffer) == self.oracle

    def teardown(self) -> None:
        self.buffer.close()
        self.home.cleanup()


class Ring(Machine):
    capacity = 23


TestAppendOnly = Machine.TestCase
TestRing = Ring.TestCase
TestAppendOnly.settings = TestRing.settings = settings(max_examples=20, stateful_step_count=15)


@settings(max_examples=60)
@given(
    capacity=st.sampled_from([None, 30]),
    cuts=st.dictionaries(st.sampled_from([ROWS, HEADER, ORIGINS]), st.floats(0, 1), min_size=1),
)
def test_of_files_cut_anywhere_every_row_is_as_written(capacity: int | None, cuts: dict[str, float]) -> None:
    generator = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "buffer"
        written: list[tuple[Any, ...]] = []
        with create_buffer(folder, BufferSpec(LAYOUT, capacity, 10)) as buffer:
            for _ in range(5):
                added = steps(17, buffer.next_episode, generator)
                buffer.append(added)
                written += as_list(added)
        for name, share in cuts.items():
            content = (folder / name).read_bytes()
            (folder / name).write_bytes(content[: int(share * len(content))])
        reopened, report = open_buffer(folder)
        with reopened:
            assert held(reopened) == written[reopened.first : reopened.end]
            assert report.rows == len(reopened)
            added = steps(3, reopened.next_episode, generator)
            reopened.append(added)
            assert held(reopened)[-3:] == as_list(added)


class Killed(BaseException):
    """In the place of SIGKILL."""


@pytest.mark.parametrize("capacity", [None, 30])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_killed_at_any_write_a_buffer_holds_what_counted(
    capacity: int | None, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write in turn is the last one, of which a share reaches the file."""
    whole = os.pwrite
    for fatal in range(1, 14):
        calls = 0

        def write(descriptor: int, data: Any, offset: int, last: int = fatal) -> int:
            nonlocal calls
            calls += 1
            if calls == last:
                whole(descriptor, bytes(data)[: int(share * len(data))], offset)
                raise Killed
            return whole(descriptor, data, offset)

        generator, folder, written = np.random.default_rng(5), tmp_path / str(fatal), list[tuple[Any, ...]]()
        buffer = create_buffer(folder, BufferSpec(LAYOUT, capacity, 10))
        counted = 0
        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", write)
            killed = False
            while not killed:
                added = steps(17, buffer.next_episode, generator)
                written += as_list(added)
                counted = buffer.end
                try:
                    buffer.append(added)
                except Killed:
                    killed = True
        assert buffer._header is not None
        buffer._header.close()
        reopened, report = open_buffer(folder)
        with reopened:
            assert held(reopened) == written[reopened.first : reopened.end]
            assert reopened.end in (counted, counted + 17)
            assert len(reopened) >= min(counted, (capacity or counted) - 17)
            assert report.dropped == 0


def test_a_rotten_row_is_found_and_said(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    buffer = create_buffer(tmp_path / "b", BufferSpec(LAYOUT))
    buffer.append(steps(20, 0, generator))
    with (tmp_path / "b" / ROWS).open("r+b") as file:
        file.seek(12 * LAYOUT.record.itemsize + 3)
        file.write(b"\xff")
    assert buffer._header is not None
    buffer._header.close()
    reopened, report = open_buffer(tmp_path / "b")
    assert (len(reopened), report.dropped, report.clean) == (12, 8, False)


def test_bad_steps_are_refused_whole(tmp_path: Path) -> None:
    buffer = memory_buffer(BufferSpec(LAYOUT))
    bad = steps(6, 0, np.random.default_rng(0))
    bad.fields["state"][4, 1] = np.nan
    with pytest.raises(BufferFault, match=r"state: is not finite in 1 steps \(4\)"):
        buffer.append(bad)
    assert len(buffer) == 0


def test_a_buffer_is_open_in_one_place(tmp_path: Path) -> None:
    with create_buffer(tmp_path / "b", BufferSpec(LAYOUT)), pytest.raises(BufferFault, match="locked"):
        open_buffer(tmp_path / "b")


@pytest.mark.parametrize("capacity", [None, 500])
def test_above_its_size_a_buffer_moves_into_a_file_and_keeps_its_rows(capacity: int | None) -> None:
    generator = np.random.default_rng(3)
    limit = 100 * LAYOUT.record.itemsize
    buffer = memory_buffer(BufferSpec(LAYOUT, capacity), map_above_bytes=limit)
    written: list[tuple[Any, ...]] = []
    for _ in range(7):
        added = steps(90, buffer.next_episode, generator)
        buffer.append(added)
        written += as_list(added)
    assert held(buffer) == (written[-capacity:] if capacity else written)


def test_a_view_is_no_copy() -> None:
    buffer = memory_buffer(BufferSpec(LAYOUT))
    buffer.append(steps(9, 0, np.random.default_rng(0)))
    view = buffer.view(2, 4)
    assert np.shares_memory(view, buffer.parts()[0])
    assert not view.flags.writeable


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(0, 500))
def test_shares_are_within_one_row_always(ratio: list[int], rows: int) -> None:
    table = turns(ratio)
    counts = given_by(table, rows)
    assert counts.sum() == rows
    assert (np.abs(counts * sum(ratio) - rows * np.array(ratio)) < sum(ratio)).all()
    assert (given_by(table, rows + 1) >= counts).all()


def test_a_mixed_batch_keeps_shares_and_provenance() -> None:
    generator = np.random.default_rng(4)
    buffers = {name: memory_buffer(BufferSpec(LAYOUT), name) for name in ("real", "synthetic")}
    sources: dict[str, list[tuple[Any, ...]]] = {}
    for name, buffer in buffers.items():
        added = steps(50, 0, generator)
        buffer.append(added)
        sources[name] = as_list(added)
    mixer, counts = Mixer(buffers, {"real": 1, "synthetic": 19}), {"real": 0, "synthetic": 0}
    batch = Batch.empty(LAYOUT, 7)
    for _ in range(20):
        for name, part in mixer.sample(batch, generator).items():
            rows = batch.rows[part]
            counts[name] += len(rows)
            assert all(row in sources[name] for row in rows_as_list(rows, mixer.origins))
    assert counts == {"real": 7, "synthetic": 133}
