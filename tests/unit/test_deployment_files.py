"""Files are replaced whole or not at all, and nothing unfinished stays behind."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from mbrl_control.deployment.files import replace_file, write_folder


def full(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "active.json"
    replace_file(target, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(target, b"new")
    with pytest.raises(OSError, match="No space"):
        write_folder(tmp_path / "2", {"manifest.json": b"{}"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"active.json": b"old"}


def test_a_draft_is_never_written_through_a_link_that_lies_in_its_place(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"somebody's")
    target = tmp_path / "registry" / "active.json"
    target.parent.mkdir()
    (target.parent / f".active.json.{threading.get_native_id()}").symlink_to(outside)
    replace_file(target, b"new")
    assert (outside.read_bytes(), target.read_bytes()) == (b"somebody's", b"new")
    assert [path.name for path in target.parent.iterdir()] == ["active.json"]


def test_the_draft_lies_where_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "1"
    bundle.mkdir()
    seen: list[str] = []
    real = os.fsync

    def look(handle: int) -> None:
        seen.extend(path.name for path in bundle.iterdir())
        real(handle)

    monkeypatch.setattr(os, "fsync", look)
    replace_file(bundle / "signature.json", b"signed", drafts=tmp_path)
    assert set(seen) == {"signature.json"}, "only after it was whole"
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
