"""A file that ends where it ended once, although a logger goes on writing it."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def open_first(path: Path, size: int) -> BinaryIO:
    """The first ``size`` bytes of a file, or all of a shorter one, to read; OSError as `open`."""
    return io.BufferedReader(_FirstBytes(io.FileIO(path), size))


class _FirstBytes(io.RawIOBase):
    def __init__(self, file: io.FileIO, size: int) -> None:
        self._file, self._size = file, size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        left = max(0, self._size - self._file.tell())
        return self._file.readinto(memoryview(buffer)[:left])

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence != os.SEEK_END:
            return self._file.seek(offset, whence)
        return self._file.seek(min(self._size, os.fstat(self._file.fileno()).st_size) + offset)

    def close(self) -> None:
        self._file.close()
        super().close()
