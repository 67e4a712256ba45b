"""Files of replay buffers: closed ones, damaged ones, and openings that are killed themselves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mbrl_control.replay import home
from mbrl_control.replay.buffer_errors import BufferFault
from mbrl_control.replay.home import HEADER, ORIGINS, ROWS, create_buffer, open_buffer
from mbrl_control.replay.layout import BufferSpec
from tests.unit.replay_support import LAYOUT, as_list, rows_as_list, steps


class Killed(BaseException):
    """In the place of SIGKILL."""


def test_a_closed_buffer_is_closed_once_and_takes_nothing(tmp_path: Path) -> None:
    """Its descriptors may be those of another file by then."""
    generator = np.random.default_rng(6)
    buffer = create_buffer(tmp_path / "b", BufferSpec(LAYOUT))
    added = steps(20, 0, generator)
    buffer.append(added)
    buffer.close()
    with (tmp_path / "other").open("w+b") as first, (tmp_path / "another").open("w+b") as second:
        buffer.close()
        for call in (buffer.sync, lambda: buffer.append(steps(3, buffer.next_episode, generator))):
            with pytest.raises(BufferFault, match="is closed"):
                call()
        for file in (first, second):
            file.write(b"untouched")
            file.flush()
            file.seek(0)
            assert file.read() == b"untouched"
    (rows,) = buffer.parts()
    assert rows_as_list(rows, buffer.origins) == as_list(added)


def test_a_damaged_provenance_is_refused_before_a_row_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    with create_buffer(folder, BufferSpec(LAYOUT)) as buffer:
        buffer.append(steps(40, 0, np.random.default_rng(7)))
    sound = {path: path.read_bytes() for path in folder.iterdir()}
    damaged = bytearray(sound[folder / ORIGINS])
    damaged[20] ^= 0x01
    (folder / ORIGINS).write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(BufferFault, match=r"origins\.jsonl: line 1: is damaged; restore"):
            open_buffer(folder)
    (folder / ORIGINS).write_bytes(sound[folder / ORIGINS])
    assert {path: path.read_bytes() for path in folder.iterdir()} == sound
    reopened, report = open_buffer(folder)
    with reopened:
        assert report.clean


def test_rows_that_were_dropped_do_not_come_back_whenever_the_opening_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ring of 30 whose row 16 is bad: 14 are dropped, and each write of that opening in turn is the last one."""
    monkeypatch.setattr(home, "PIECE", 2)
    whole, generator = os.pwrite, np.random.default_rng(8)
    for fatal in range(1, 16):
        folder = tmp_path / str(fatal)
        buffer = create_buffer(folder, BufferSpec(LAYOUT, 30, 10))
        buffer.append(steps(30, 0, generator))
        assert buffer._header is not None
        buffer._header.close()
        with (folder / ROWS).open("r+b") as file:
            file.seek(16 * LAYOUT.record.itemsize + 3)
            file.write(b"\xff")
        calls = 0

        def write(descriptor: int, data: Any, offset: int, last: int = fatal) -> int:
            nonlocal calls
            calls += 1
            if calls == last:
                raise Killed
            return whole(descriptor, data, offset)

        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", write)
            with pytest.raises(Killed):
                open_buffer(folder)
        reopened, _ = open_buffer(folder)
        assert reopened.end == 16
        reopened.append(steps(2, reopened.next_episode, generator))
        assert reopened._header is not None
        reopened._header.close()
        (folder / HEADER).unlink()  # so that the rows themselves are asked
        with open_buffer(folder)[0] as asked:
            assert (asked.first, asked.end) == (0, 18), fatal
