"""How much of a file of rows counts: two slots by turns, each with its own check, written after the rows.

A write that is cut short spoils the slot it goes into; the other one still says what counted before.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from mbrl_control.replay.storage import write_all

_SLOT = struct.Struct("<8sIIQQQQ")
_CHECK = struct.Struct("<I")
_MAGIC = b"mbrlrows"
_DISTANCE = 512
"""Of the slots in the file: the least that a disk writes at once."""
_MOST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Counts:
    """What counts."""

    first: int
    """Serial of the oldest row."""
    count: int
    """Rows."""
    origins: int
    """Entries of the table of provenances."""
    clean: bool
    """The buffer was closed; everything before is on the disk."""


class HeaderFile:
    """The file of counts of one buffer."""

    def __init__(self, descriptor: int, path: Path, spec_check: int) -> None:
        """Take over ``descriptor`` of ``path``; ``spec_check`` binds the counts to what a row is made of."""
        self._descriptor = descriptor
        self._path = path
        self._spec_check = spec_check
        found = [_unpack(os.pread(descriptor, _DISTANCE, slot * _DISTANCE), spec_check) for slot in (0, 1)]
        self._generation, self.found = max(
            (pair for pair in found if pair), key=lambda pair: pair[0], default=(0, None)
        )

    found: Counts | None
    """Newest counts in the file when it was opened; None: there are none that can be trusted."""

    def write(self, counts: Counts) -> None:
        """Counts from now on, whatever kills the process."""
        self._generation += 1
        body = _SLOT.pack(
            _MAGIC, self._spec_check, counts.clean, self._generation, counts.first, counts.count, counts.origins
        )
        data = body + _CHECK.pack(zlib.crc32(body))
        write_all(self._descriptor, self._path, data, self._generation % 2 * _DISTANCE)

    def sync(self) -> None:
        """On the disk when this returns."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Gives up the lock, too."""
        os.close(self._descriptor)


def _unpack(data: bytes, spec_check: int) -> tuple[int, Counts] | None:
    body, check = data[: _SLOT.size], data[_SLOT.size : _SLOT.size + _CHECK.size]
    if len(check) < _CHECK.size or _CHECK.unpack(check)[0] != zlib.crc32(body):
        return None
    magic, spec, clean, generation, first, count, origins = _SLOT.unpack(body)
    if magic != _MAGIC or spec != spec_check or first + count > _MOST:
        return None
    return generation, Counts(first, count, origins, bool(clean))
