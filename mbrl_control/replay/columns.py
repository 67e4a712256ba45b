"""Fields of one topic as arrays that grow while a log is decoded: kept as objects, messages take ten times as much.

Nothing is judged while messages come in: what is wrong counts only in those that are asked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import stamp_ns
from mbrl_control.episode_log.schema import Topic
from mbrl_control.signals import Array

BACKWARD = "stamped before the message that came just before: sorted by stamp"
REPEATED = "the same stamp again in a later message: left out, the last one counts"


@dataclass(frozen=True, slots=True)
class Fields:
    """What is wanted of a topic's messages, beside their stamp."""

    scalars: Mapping[str, str] = field(default_factory=dict)
    """Type code of each (`array.array`)."""
    optional: tuple[str, ...] = ()
    """Scalars that older logs do not have: 0."""
    vectors: tuple[str, ...] = ()
    """One float64 per joint."""
    named: bool = False
    """`joint_names`, the order of the vectors."""


@dataclass(frozen=True, slots=True)
class Repair:
    """Messages of one topic that were not taken as they came."""

    field: str
    """Topic, or topic and field."""
    what: str
    """What is wrong with them, and what was done about it."""
    messages: int
    """How many."""
    first: int
    """Number of the first of them: of the topic's messages, in the order in which they were read, from 0."""
    first_ns: int
    """Its stamp."""

    @property
    def told(self) -> str:
        """How many and which, in one clause."""
        stamp = f"{self.first_ns // 10**9}.{self.first_ns % 10**9:09d} s"
        return f"{self.messages} of its messages, the first number {self.first} (from 0), stamp {stamp}"


@dataclass(frozen=True, slots=True)
class Table:
    """Chosen messages of one topic, increasing in their stamps."""

    stamp_ns: NDArray[np.int64]
    """[N]"""
    scalars: Mapping[str, NDArray[Any]]
    """[N] each."""
    joint_names: frozenset[tuple[str, ...]]
    """Every order that is named."""
    repairs: tuple[Repair, ...]
    """What was done to the order of the messages."""
    _vectors: Mapping[str, tuple[Array, NDArray[np.bool_]]]
    """[N, width], and [N] which rows were of another width."""
    _number: NDArray[np.int64] | slice
    """[N] of the topic's messages."""
    _path: Path
    _topic: Topic

    def __len__(self) -> int:
        return len(self.stamp_ns)

    def entries(self, name: str, joints: int) -> Array:
        """[N, J], finite or not; LogError where a row is of another width."""
        values, odd = self._vectors[name]
        self.refuse(name, odd | (values.shape[1] != joints), f"has not {joints} entries", "give the log of one arm")
        return values

    def matrix(self, name: str, joints: int) -> Array:
        """[N, J]; LogError where a row is of another width or not finite."""
        values = self.entries(name, joints)
        broken = np.asarray(~np.isfinite(values).all(axis=1))
        self.refuse(name, broken, "is not finite", "leave this log out")
        return values

    def refuse(self, field: str, bad: NDArray[np.bool_], problem: str, remedy: str) -> None:
        """LogError that names the first row of a mask [N], where there is one."""
        if bad.any():
            found = self.repaired(field, problem, bad)
            raise LogError(self._path, found.field, f"{problem} in {found.told}", remedy)

    def repaired(self, field: str, what: str, rows: NDArray[np.bool_]) -> Repair:
        """What is said of the rows of a mask [N]; at least one."""
        first = int(np.argmax(rows))
        number = self._number.start + first if isinstance(self._number, slice) else int(self._number[first])
        return Repair(f"{self._topic.name}.{field}", what, int(rows.sum()), number, int(self.stamp_ns[first]))


class Columns:
    """Takes in the messages of one topic, decoded, one by one."""

    def __init__(self, path: Path, topic: Topic, fields: Fields) -> None:
        self._path, self._topic, self._fields = path, topic, fields
        self._stamps = array("q")
        self._scalars = {name: array(code) for name, code in fields.scalars.items()}
        self._vectors = {name: _Vectors() for name in fields.vectors}
        self._orders: dict[tuple[str, ...], int] = {}
        self._order = array("q")

    def add(self, message: Any) -> None:
        """LogError where it has other fields than wanted: the definition is the log's own."""
        try:
            for name, values in self._scalars.items():
                values.append(getattr(message, name, 0) if name in self._fields.optional else getattr(message, name))
            for name, vectors in self._vectors.items():
                vectors.add(getattr(message, name))
            if self._fields.named:
                self._order.append(self._orders.setdefault(tuple(message.joint_names), len(self._orders)))
            self._stamps.append(stamp_ns(message.stamp))
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            problem = f"has other fields than {self._topic.type} ({error})"
            raise LogError(self._path, self._topic.name, problem, "give a log of this graph") from error

    def between(self, begin_ns: int, end_ns: int) -> Table:
        """Those stamped in [begin, end), sorted; of equal stamps the last one taken in. Where they came in that order,
        its arrays are views into the columns."""
        stamps = _seen(self._stamps)
        chosen, repaired = _chosen(stamps, begin_ns, end_ns)
        used = set(_seen(self._order)[chosen].tolist()) if self._fields.named else set()
        return Table(
            stamps[chosen],
            {name: _seen(values)[chosen] for name, values in self._scalars.items()},
            frozenset(names for names, number in self._orders.items() if number in used),
            tuple(
                Repair(self._topic.name, what, len(numbers), int(numbers[0]), int(stamps[numbers[0]]))
                for what, numbers in repaired.items()
                if len(numbers)
            ),
            {name: vectors.rows(chosen) for name, vectors in self._vectors.items()},
            chosen,
            self._path,
            self._topic,
        )


class _Vectors:
    """One field's rows, one after the other, as wide as the first of them."""

    def __init__(self) -> None:
        self._values, self._odd = array("d"), array("b")
        self._width = 0

    def add(self, row: Sequence[float]) -> None:
        self._width = self._width if self._odd else len(row)
        odd = len(row) != self._width
        self._values.frombytes(np.asarray([0.0] * self._width if odd else row, dtype=np.float64).tobytes())
        self._odd.append(odd)

    def rows(self, chosen: NDArray[np.int64] | slice) -> tuple[Array, NDArray[np.bool_]]:
        """[N, width], and [N] which of them were of another width: zeros stand in their place."""
        odd = _seen(self._odd)
        values: Array = _seen(self._values).reshape(len(odd), self._width)
        return values[chosen], odd[chosen].astype(np.bool_)


def _chosen(
    stamps: NDArray[np.int64], begin_ns: int, end_ns: int
) -> tuple[NDArray[np.int64] | slice, dict[str, NDArray[np.int64]]]:
    """Numbers of the messages in the order of their stamps; of those between the bounds that were not taken as they
    came, in the order in which they came, by what was done."""
    if (np.diff(stamps) > 0).all():
        return slice(*np.searchsorted(stamps, [begin_ns, max(begin_ns, end_ns)]).tolist()), {}
    came = np.flatnonzero((stamps >= begin_ns) & (stamps < end_ns))
    order = came[np.argsort(stamps[came], kind="stable")]
    last = np.append(np.diff(stamps[order]) != 0, True)[: len(order)]
    return np.asarray(order[last], dtype=np.int64), {
        BACKWARD: came[1:][np.diff(stamps[came]) < 0],
        REPEATED: np.sort(order[~last]),
    }


def _seen(values: array[Any]) -> NDArray[Any]:
    """The same memory as an array."""
    dtype = np.dtype(values.typecode).str  # `q` is int64, but of another name
    return np.frombuffer(values, dtype=dtype) if values else np.empty(0, dtype=dtype)
