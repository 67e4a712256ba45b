"""Where rows lie: in memory, or in a file that is read through a map and written by calls.

Written by calls, because a store into a map on a full disk kills the process (SIGBUS) where a call says so.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import Protocol

import numpy as np

from mbrl_control.replay.buffer_errors import BufferFault
from mbrl_control.replay.layout import Words

GROWTH_BYTES = 1 << 26
"""By which a file grows; what is not written yet takes no room on the disk."""


class Storage(Protocol):
    """Slots for rows of W words."""

    @property
    def words(self) -> Words:
        """[slots, W], read-only. A view stays valid; its rows change when their slots are written again."""
        ...

    def with_room(self, slots: int) -> Storage:
        """A storage with at least so many slots and the same rows: itself where it can."""
        ...

    def write(self, slot: int, words: Words) -> None:
        """Put rows [n, W] into the slots from ``slot``; BufferFault on a full or failing disk."""
        ...

    def finish(self, slots: int) -> None:
        """Put on the disk, and give back what lies beyond ``slots``."""
        ...

    def sync(self) -> None:
        """On the disk when this returns."""
        ...

    def close(self) -> None:
        """Views stay valid."""
        ...


class MemoryStorage:
    """A fixed number of slots in memory, which the kernel provides as they are written; more go into a file."""

    def __init__(self, slots: int, width: int) -> None:
        self._words: Words = np.empty((slots, width), dtype=np.uint64)
        self.words: Words = self._words.view()
        self.words.flags.writeable = False

    def with_room(self, slots: int) -> Storage:
        """Itself, or a copy in a file of the folder for temporary files (TMPDIR), gone with the process."""
        if slots <= len(self._words):
            return self
        with tempfile.TemporaryFile() as file:
            moved = MappedStorage(os.dup(file.fileno()), Path(tempfile.gettempdir()) / "rows", self._words.shape[1])
        grown = moved.with_room(slots)
        rows = max(1, GROWTH_BYTES // (8 * self._words.shape[1]))
        for begin in range(0, len(self._words), rows):
            grown.write(begin, self._words[begin : begin + rows])
        return grown

    def write(self, slot: int, words: Words) -> None:
        self._words[slot : slot + len(words)] = words

    def finish(self, slots: int) -> None:
        """Nothing outlives the process."""

    def sync(self) -> None:
        """Nothing outlives the process."""

    def close(self) -> None:
        """Memory goes with its last view."""


class MappedStorage:
    """Slots in a file, which grows as needed."""

    def __init__(self, descriptor: int, path: Path, width: int) -> None:
        """Take over ``descriptor`` of the file ``path``; whole rows found there keep their slots."""
        self._descriptor = descriptor
        self._path = path
        self._row_bytes = 8 * width
        self._map(os.fstat(descriptor).st_size // self._row_bytes)

    @property
    def words(self) -> Words:
        return self._words

    def with_room(self, slots: int) -> Storage:
        if slots > len(self._words):
            step = max(1, GROWTH_BYTES // self._row_bytes)
            grown = -(-slots // step) * step
            os.ftruncate(self._descriptor, grown * self._row_bytes)
            self._map(grown)
        return self

    def write(self, slot: int, words: Words) -> None:
        write_all(self._descriptor, self._path, words.data.cast("B"), slot * self._row_bytes)

    def finish(self, slots: int) -> None:
        """The file is then exactly as long as its rows."""
        self._map(slots)  # before the file is cut: nobody may read a map beyond its end
        os.ftruncate(self._descriptor, slots * self._row_bytes)
        self.sync()

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def _map(self, slots: int) -> None:
        width = self._row_bytes // 8
        if slots == 0:  # nothing to map
            self._words: Words = np.empty((0, width), dtype=np.uint64)
            return
        mapped = mmap.mmap(self._descriptor, slots * self._row_bytes, access=mmap.ACCESS_READ)
        self._words = np.frombuffer(mapped, dtype=np.uint64).reshape(slots, width)


def write_all(descriptor: int, path: Path, data: bytes | memoryview, offset: int) -> None:
    """Write everything at ``offset`` of the file; BufferFault on a full or failing disk."""
    left = memoryview(data)
    while left:
        try:
            done = os.pwrite(descriptor, left, offset)
        except OSError as error:
            raise BufferFault(path, "file", f"cannot be written ({error.strerror})", "make room on the disk") from error
        left, offset = left[done:], offset + done
