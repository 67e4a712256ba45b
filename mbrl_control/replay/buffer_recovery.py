"""What a buffer's files still hold after a process was killed, or a file was cut: the rows that are whole.

Each row says its serial and carries a check. Of the rows that counted, the longest stretch without a bad one is kept;
what is dropped is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.buffer_header import Counts
from mbrl_control.replay.layout import CHECK, BufferSpec, Words
from mbrl_control.replay.row_check import row_checks

_AT_ONCE = 16384


@dataclass(frozen=True, slots=True)
class Reopened:
    """What was found when a buffer was opened."""

    rows: int
    """Held now."""
    clean: bool
    """It had been closed, and its files are as long as they were."""
    header_lost: bool
    """No counts could be trusted: the rows themselves were asked."""
    dropped: int
    """Rows that had counted and are not whole any more, or lie beyond one that is not."""
    uncommitted: int
    """Rows that were written but did not count yet; they are dropped, too."""

    def __str__(self) -> str:
        if self.clean:
            return f"{self.rows} rows, closed properly"
        lost = "; the counts were lost, the rows were asked" if self.header_lost else ""
        return f"{self.rows} rows; not closed: {self.dropped} damaged and {self.uncommitted} unfinished dropped{lost}"


def recover(words: Words, spec: BufferSpec, found: Counts | None, origins: int) -> tuple[Counts, Reopened]:
    """Counts of what can be trusted among the slots ``words`` [slots, W]; ``origins``: provenances that are known."""
    slots_needed = 0 if found is None else min(found.first + found.count, spec.capacity or found.first + found.count)
    if found is not None and found.clean and slots_needed <= len(words) and found.origins <= origins:
        return found, Reopened(found.count, True, False, 0, 0)
    first, count = (found.first, found.count) if found else _range_of_rows(words, spec, origins)
    begin, end = _longest(_whole(words, spec, np.arange(first, first + count), origins))
    free = min(_AT_ONCE, spec.capacity - count) if spec.capacity else _AT_ONCE
    behind = np.arange(first + count, first + count + free)
    uncommitted = int(_whole(words, spec, behind, origins).sum()) if found else 0
    held = Counts(first + begin, end - begin, origins, clean=False)
    return held, Reopened(end - begin, False, found is None, count - (end - begin), uncommitted)


def _whole(words: Words, spec: BufferSpec, serials: NDArray[np.int64], origins: int) -> NDArray[np.bool_]:
    """[N] whether the slot of each serial holds its row, undamaged."""
    good = np.zeros(len(serials), dtype=np.bool_)
    for begin in range(0, len(serials), _AT_ONCE):
        serial = serials[begin : begin + _AT_ONCE]
        slot = serial % spec.capacity if spec.capacity else serial
        there = slot < len(words)
        good[begin : begin + len(serial)][there] = _sound(words[slot[there]], spec, origins) & (
            _serials(words[slot[there]], spec) == serial[there]
        )
    return good


def _sound(words: Words, spec: BufferSpec, origins: int) -> NDArray[np.bool_]:
    rows = spec.layout.rows(words)
    return np.asarray((row_checks(words) == rows[CHECK]) & (rows["origin"] < origins), dtype=np.bool_)


def _serials(words: Words, spec: BufferSpec) -> NDArray[np.int64]:
    return np.asarray(spec.layout.rows(words)["serial"], dtype=np.int64)


def _range_of_rows(words: Words, spec: BufferSpec, origins: int) -> tuple[int, int]:
    """(first serial, rows) that a ring or file with these rows may hold."""
    newest = -1
    for begin in range(0, len(words), _AT_ONCE):
        part = words[begin : begin + _AT_ONCE]
        serial = _serials(part, spec)[_sound(part, spec, origins)]
        newest = max(newest, int(serial.max(initial=-1)))
    first = max(0, newest + 1 - spec.capacity) if spec.capacity else 0
    return first, newest + 1 - first


def _longest(good: NDArray[np.bool_]) -> tuple[int, int]:
    """[begin, end) of the longest stretch of True, the first of equals; (0, 0) without any."""
    edges = np.flatnonzero(np.diff(good, prepend=False, append=False))
    if len(edges) == 0:
        return 0, 0
    longest = int(np.argmax(edges[1::2] - edges[::2]))
    return int(edges[2 * longest]), int(edges[2 * longest + 1])
