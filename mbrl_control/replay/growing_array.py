"""An array that grows piece by piece: in memory while it is small, then in a file without a name (in TMPDIR).

The file is written by calls and read through a private map. Pages of the map are no memory that the process must have:
the kernel takes them back when others need the room, and reads them again (not where TMPDIR is a tmpfs).
"""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.buffer_errors import BufferFault
from mbrl_control.replay.storage import write_all

MAP_ABOVE_BYTES = 1 << 20


class GrowingArray:
    """Pieces [n, ...] of one dtype and width become one array [N, ...]; at least one is needed."""

    def __init__(self, map_above_bytes: int = MAP_ABOVE_BYTES) -> None:
        self._map_above_bytes = map_above_bytes
        self._pieces: list[NDArray[Any]] = []
        self._held_bytes = self._written_bytes = 0
        self._file: IO[bytes] | None = None

    def append(self, piece: NDArray[Any]) -> None:
        """It is not copied while it is held: whoever gave it leaves it alone. BufferFault on a full or failing disk."""
        self._pieces.append(piece)
        self._held_bytes += piece.nbytes
        if self._held_bytes > self._map_above_bytes:
            self._write()

    def array(self) -> NDArray[Any]:
        """All pieces. A map keeps a file descriptor as long as it is used."""
        if self._file is None:
            return self._pieces[0] if len(self._pieces) == 1 else np.concatenate(self._pieces)
        self._write()
        like = self._pieces[0]
        mapped = mmap.mmap(self._file.fileno(), self._written_bytes, access=mmap.ACCESS_COPY)
        return np.frombuffer(mapped, dtype=like.dtype).reshape(-1, *like.shape[1:])

    def _write(self) -> None:
        """Everything but an empty piece, which says what the pieces are like."""
        if self._file is None:
            try:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the last reference to this)
            except OSError as error:
                problem = f"no file can be made there ({error.strerror})"
                raise BufferFault("temporary files", "TMPDIR", problem, "name a writable folder") from error
        where = Path(tempfile.gettempdir()) / "rows"
        for piece in self._pieces:
            if piece.nbytes:
                data = np.ascontiguousarray(piece).data.cast("B")
                write_all(self._file.fileno(), where, data, self._written_bytes)
                self._written_bytes += piece.nbytes
        self._pieces = [self._pieces[0][:0].copy()]
        self._held_bytes = 0
