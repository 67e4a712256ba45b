"""Files that somebody else may have written are read whole, once, and with no more memory than they take."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from mbrl_control.deployment.plain import NotPlain, read_plain

LIMIT = 64 << 20


@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_a_file_costs_its_own_size_and_not_what_is_allowed(tmp_path: Path, size: int) -> None:
    """Memory that is asked for is touched where a process locks its memory: that held up the planner at every swap."""
    (tmp_path / "file").write_bytes(content := os.urandom(size))
    tracemalloc.start()
    try:
        data, status = read_plain(tmp_path / "file", LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert data == content
    assert status.st_size == size
    assert peak < 2 * size + 300_000


def test_what_is_larger_or_no_plain_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    assert read_plain(tmp_path / "file", 4)[0] == b"1234"
    with pytest.raises(NotPlain, match="4 bytes, more than the 3 allowed"):
        read_plain(tmp_path / "file", 3)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(NotPlain, match="is a link"):
        read_plain(tmp_path / "link", 4)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotPlain, match="no plain file"):
        read_plain(tmp_path / "pipe", 4)


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1234")
    stat = os.fstat

    def looked_at(handle: int) -> os.stat_result:
        found = stat(handle)
        with path.open("ab") as file:
            file.write(b"5")
        return found

    monkeypatch.setattr("mbrl_control.deployment.plain.os.fstat", looked_at)
    with pytest.raises(NotPlain, match="grew"):
        read_plain(path, 100)
