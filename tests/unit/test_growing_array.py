"""Arrays that grow: what was put in comes out, in memory or from a file; rows cut in pieces are those cut at once."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import mbrl_control.replay.growing_array as growing_module
import mbrl_control.replay.transitions as transitions_module
from mbrl_control.replay.buffer_errors import BufferFault
from mbrl_control.replay.growing_array import GrowingArray
from mbrl_control.replay.transitions import Grid, cut_transitions, select, transitions_from_streams
from mbrl_control.signals import Transitions
from tests.unit.synthetic_log import Arm, arm_streams


@st.composite
def pieces(draw: st.DrawFn) -> list[np.ndarray]:
    dtype = draw(st.sampled_from(["float64", "int64", "bool"]))
    width = draw(st.sampled_from([(), (3,), (2, 3), (0, 3)]))
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=6))
    return [draw(arrays(dtype, (length, *width))) for length in lengths]


@given(pieces(), st.integers(0, 300))
def test_the_pieces_come_out_in_their_order(given_pieces: list[np.ndarray], map_above_bytes: int) -> None:
    grown = GrowingArray(map_above_bytes)
    for piece in given_pieces:
        grown.append(piece)
    expected = np.concatenate(given_pieces)
    for found in (grown.array(), grown.array()):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == expected.tobytes()


def test_a_map_outlives_what_it_was_grown_by_and_may_be_written_to() -> None:
    grown = GrowingArray(0)
    grown.append(np.arange(6.0).reshape(3, 2)[:, ::-1])
    first, second = grown.array(), grown.array()
    del grown
    first[0, 0] = 7.0
    assert first.tolist() == [[7.0, 0.0], [3.0, 2.0], [5.0, 4.0]]
    assert second[0, 0] == 1.0


def test_a_full_disk_and_a_missing_folder_are_errors_that_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", lambda: io.FileIO("/dev/full", "r+"))
        with pytest.raises(BufferFault, match=r"cannot be written \(No space left on device\); make room"):
            GrowingArray(0).append(np.zeros(3))
    monkeypatch.setattr(tempfile, "tempdir", "/does/not/exist")
    with pytest.raises(BufferFault, match=r"TMPDIR.*No such file.*writable folder"):
        GrowingArray(0).append(np.zeros(3))


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of 97 rows, files from 500 bytes on."""
    monkeypatch.setattr(transitions_module, "_PIECE", 97)
    monkeypatch.setattr(growing_module.GrowingArray.__init__, "__defaults__", (500,))


def test_rows_in_pieces_are_the_same_rows_to_the_bit(request: pytest.FixtureRequest) -> None:
    streams = [arm_streams(Arm(), seconds, np.random.default_rng(3), int(2e9 * seconds)) for seconds in (3.0, 5.0)]
    whole = [cut_transitions(each, Grid(0.012)) for each in streams]
    chosen = np.arange(sum(map(len, whole))) % 3 == 1
    request.getfixturevalue("in_pieces")
    rows = transitions_from_streams(streams, Grid(0.012))
    expected = {name: np.concatenate([getattr(part, name) for part in whole]) for name in _NAMES}
    expected["session"] = np.repeat([0, 1], [len(part) for part in whole])
    expected["segment"] = np.concatenate([whole[0].segment, whole[1].segment + whole[0].segment[-1] + 1])
    for name in _NAMES:
        np.testing.assert_array_equal(getattr(rows, name), expected[name])
        for by in (chosen, np.flatnonzero(chosen)):
            np.testing.assert_array_equal(getattr(select(rows, by), name), expected[name][chosen])
    assert len(select(rows, np.zeros(len(rows), dtype=bool))) == 0


_NAMES = tuple(Transitions.__dataclass_fields__)


def test_what_lies_in_a_file_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    grown = GrowingArray(0)
    grown.append(np.arange(5))
    assert list(tmp_path.iterdir()) == []
    assert grown.array().tolist() == [0, 1, 2, 3, 4]
