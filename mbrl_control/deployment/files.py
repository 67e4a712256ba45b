"""Files that are either whole or absent after a crash."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from pathlib import Path


def write_folder(target: Path, content: dict[str, bytes]) -> None:
    """Write all files into a hidden neighbour and rename it to ``target``; FileExistsError when target exists."""
    if target.exists():
        raise FileExistsError(f"{target}: exists already; a bundle is never overwritten")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=target.parent))
    try:
        for name, data in content.items():
            _write_synced(draft / name, data)
        draft.chmod(0o755)
        _sync_folder(draft)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _sync_folder(target.parent)


def replace_file(target: Path, data: bytes, drafts: Path | None = None) -> None:
    """Replace ``target`` in one step; OSError leaves it as it was.

    ``drafts``: folder of the unfinished file, on the same file system, where the target's own must hold nothing else.
    """
    draft = (drafts or target.parent) / f".{target.name}.{threading.get_native_id()}"
    draft.unlink(missing_ok=True)  # of a process that was killed
    try:
        _write_synced(draft, data)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def remove_file(target: Path) -> None:
    """Take ``target`` away for good; nothing where there is none."""
    target.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:  # of its own making: never through a link that somebody put there
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
