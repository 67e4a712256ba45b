"""Where a buffer lives: in memory up to a stated size and in a nameless file beyond, or for good in a folder.

buffer.json     what a row is made of, how many are kept; written last when a buffer is made, never changed
origins.jsonl   provenances, one a line with its check
rows.bin        rows of fixed size
header.bin      which of them count, in two slots by turns; locked while a process has the buffer open
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from mbrl_control.replay.buffer import PIECE, ReplayBuffer
from mbrl_control.replay.buffer_errors import BufferFault
from mbrl_control.replay.buffer_header import Counts, HeaderFile
from mbrl_control.replay.buffer_recovery import Reopened, recover
from mbrl_control.replay.layout import BufferSpec, spec_from_json, spec_to_json
from mbrl_control.replay.provenance import OriginTable
from mbrl_control.replay.storage import MappedStorage, MemoryStorage

FORMAT = "mbrl_control replay buffer 1"
SPEC, ORIGINS, ROWS, HEADER = "buffer.json", "origins.jsonl", "rows.bin", "header.bin"
MAP_ABOVE_BYTES = 1 << 30


def memory_buffer(spec: BufferSpec, name: str = "buffer", map_above_bytes: int = MAP_ABOVE_BYTES) -> ReplayBuffer:
    """A new buffer that ends with the process: in memory, and once its rows need more than ``map_above_bytes``, or its
    ring would, in a mapped file without a name (in TMPDIR)."""
    width = spec.layout.words
    slots = max(1, map_above_bytes // (8 * width))
    if spec.capacity is None or spec.capacity <= slots:
        return ReplayBuffer(name, spec, MemoryStorage(min(slots, spec.capacity or slots), width), OriginTable())
    return ReplayBuffer(name, spec, MemoryStorage(0, width).with_room(1), OriginTable())


def create_buffer(folder: Path, spec: BufferSpec) -> ReplayBuffer:
    """A new buffer in ``folder``, which must not exist or be empty. BufferFault when it is not, or cannot be made."""
    text = json.dumps({"format": FORMAT, **spec_to_json(spec)}, indent=1).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise BufferFault(folder, "folder", "is not empty", "open the buffer in it, or name a new folder")
        with ExitStack() as opened:
            header, storage, origins = _open_files(opened, folder, spec, zlib.crc32(text))
            header.write(Counts(0, 0, 0, clean=False))
            _write_whole(folder / SPEC, text)
            opened.pop_all()
    except OSError as error:
        raise BufferFault(folder, "folder", f"cannot be filled ({error.strerror})", "name a writable one") from error
    return ReplayBuffer(str(folder), spec, storage, origins, header)


def open_buffer(folder: Path) -> tuple[ReplayBuffer, Reopened]:
    """The buffer in ``folder`` with the rows that were committed, and what was found: read the report after a crash.

    BufferFault when there is none, another process has it open, or ``buffer.json`` is damaged.
    """
    try:
        text = (folder / SPEC).read_bytes()
        spec = _read_spec(folder / SPEC, text)
        with ExitStack() as opened:
            header, storage, origins = _open_files(opened, folder, spec, zlib.crc32(text))
            held, report = recover(storage.words, spec, header.found, len(origins))
            if not report.clean:
                _forget(storage, spec, held, report)  # first: killed in between, the next to open it drops them again
                header.write(held)
            opened.pop_all()
    except OSError as error:
        problem = f"cannot be opened ({error.strerror})"
        raise BufferFault(folder, "folder", problem, "name the folder of a buffer of this project") from error
    return ReplayBuffer(str(folder), spec, storage, origins, header, held), report


def _open_files(
    opened: ExitStack, folder: Path, spec: BufferSpec, spec_check: int
) -> tuple[HeaderFile, MappedStorage, OriginTable]:
    """The three files, closed again by ``opened`` unless it is told otherwise; the lock comes first."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(folder / HEADER, flags, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise BufferFault(folder, HEADER, "is locked", "close the buffer in the process that has it open") from error
    header = HeaderFile(descriptor, folder / HEADER, spec_check)
    opened.callback(header.close)
    storage = MappedStorage(os.open(folder / ROWS, flags, 0o644), folder / ROWS, spec.layout.words)
    opened.callback(storage.close)
    origins = OriginTable(folder / ORIGINS)
    opened.callback(origins.close)
    return header, storage, origins


def _forget(storage: MappedStorage, spec: BufferSpec, held: Counts, report: Reopened) -> None:
    """Rows that were dropped must not come back once the places between are filled."""
    end = held.first + held.count
    if spec.capacity is None:
        storage.finish(min(end, len(storage.words)))
        return
    free = min(spec.capacity - held.count, report.dropped + PIECE)
    nothing = np.zeros((1, spec.layout.words), dtype=np.uint64)
    for slot in (np.arange(end, end + free) % spec.capacity).tolist():
        if slot < len(storage.words):
            storage.write(slot, nothing)


def _read_spec(path: Path, text: bytes) -> BufferSpec:
    try:
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise BufferFault(path, "format", f"is {found['format']!r}, not {FORMAT!r}", "open it with that version")
        return spec_from_json(found)
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BufferFault(path, "fields", f"cannot be read ({error})", "restore the file, or make a new one") from error


def _write_whole(path: Path, data: bytes) -> None:
    """The file is there with all of its content, or not at all."""
    draft = path.with_suffix(".new")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
