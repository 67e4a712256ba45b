"""What a reader takes out of a source: samples with the number of their row, and the rows that it could not use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbrl_control.episode_log.errors import LogError
from mbrl_control.signals import Array

UNCUT = 2**63 - 1
"""ns, of `Series.until_ns`."""
UNKNOWN = -1
"""A row was left out that tells no time: what was before it held at its own stamp, that is all."""
MOST_NUMBERS = 1 << 27
"""Of one kind of one source: 1 GiB, of which an import holds some copies; 1.7 h of seven joints at 1 kHz."""


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one kind, ``N`` rows in the order of the source."""

    names: tuple[str, ...]
    """Where the rows are: one file or topic, or one name per part (an episode)."""
    part: NDArray[np.int64]
    """[N] samples of different parts are never joined."""
    row: NDArray[np.int64]
    """[N] number in the source: line of a CSV file, message of a topic, row of a data set."""
    stamp_ns: NDArray[np.int64]
    """[N]."""
    until_ns: NDArray[np.int64]
    """[N] not in force beyond: behind it a row was left out, or no command was in force; `UNCUT` where neither was."""
    values: dict[str, Array]
    """`position`, `velocity`, `effort` or `command`: [N, J], joints in the arm's order."""

    def __len__(self) -> int:
        return len(self.stamp_ns)

    def where(self, index: int) -> str:
        """File, topic or episode of a sample."""
        return self.names[int(self.part[index])] if len(self.names) > 1 else self.names[0]

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Series:
        """The chosen samples, by mask or index."""
        values = {name: array[chosen] for name, array in self.values.items()}
        columns = {name: getattr(self, name)[chosen] for name in ("part", "row", "stamp_ns", "until_ns")}
        return replace(self, **columns, values=values)

    def without(self, bad: NDArray[np.bool_], until_ns: NDArray[np.int64] | None = None) -> Series:
        """Without the samples of a mask [N]; ``until_ns`` [N] is what each says of the kept one before it (or of
        itself), None: that it ended at their own stamps."""
        said = np.where(bad, self.stamp_ns, UNCUT) if until_ns is None else until_ns
        return replace(self.select(~bad), until_ns=earliest(~bad, np.minimum(self.until_ns, said)))


def earliest(kept: NDArray[np.bool_], until_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each row that is kept [K of N]: the earliest that is said by it and those between it and the next one kept."""
    place = np.flatnonzero(kept)
    return np.minimum.reduceat(until_ns, place) if len(place) else np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class BadRows:
    """Neighbouring rows that were left out for one reason, both ends included."""

    where: str
    first: int
    last: int
    why: str


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """Last samples of an episode whose task was over, as its source says: it was not only cut off there."""

    state_ns: int
    command_ns: int


@dataclass(frozen=True, slots=True)
class Recording:
    """All that was read of a source."""

    state: Series
    command: Series
    bad: tuple[BadRows, ...]
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    """What a reader had to assume or pass over."""
    task_ends: tuple[TaskEnd, ...] = ()


def too_long(source: Path, field: str) -> LogError:
    """What is said of a recording of more than `MOST_NUMBERS`."""
    remedy = "cut it into parts and import each: `retrain` learns from several logs"
    return LogError(source, field, f"holds more than {MOST_NUMBERS} numbers, which an import keeps in memory", remedy)


def merged(rows: Iterable[tuple[str, int, str]]) -> tuple[BadRows, ...]:
    """(where, row, why) as ranges of neighbours."""
    found: list[BadRows] = []
    for where, row, why in rows:
        append_bad(found, where, row, why)
    return tuple(found)


def append_bad(found: list[BadRows], where: str, row: int, why: str) -> None:
    """One more row, as part of the last range where it is its neighbour."""
    last = found[-1] if found else None
    if last is not None and (last.where, last.last + 1, last.why) == (where, row, why):
        found[-1] = replace(last, last=row)
    else:
        found.append(BadRows(where, row, row, why))


def left_out(series: Series, bad: NDArray[np.bool_], why: str) -> tuple[BadRows, ...]:
    """The rows of a mask [N], to be reported."""
    return merged((series.where(i), int(series.row[i]), why) for i in np.flatnonzero(bad).tolist())
