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
class Table:
    """Chosen messages of one topic, increasing in their stamps."""

    stamp_ns: NDArray[np.int64]
    """[N]"""
    scalars: Mapping[str, NDArray[Any]]
    """[N] each."""
    joint_names: frozenset[tuple[str, ...]]
    """Every order that is named."""
    _vectors: Mapping[str, tuple[Array, NDArray[np.bool_]]]
    """[N, width], and [N] which rows were of another width."""
    _path: Path
    _topic: Topic

    def __len__(self) -> int:
        return len(self.stamp_ns)

    def matrix(self, name: str, joints: int) -> Array:
        """[N, J]; LogError where a row is of another width or not finite."""
        values, odd = self._vectors[name]
        where = f"{self._topic.name}.{name}"
        if values.shape[1] != joints or odd.any():
            raise LogError(self._path, where, f"has not {joints} entries", "give the log of one arm")
        if not np.isfinite(values).all():
            raise LogError(self._path, where, "is not finite", "leave this log out")
        return values


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
        chosen = _chosen(stamps, begin_ns, end_ns)
        used = set(_seen(self._order)[chosen].tolist()) if self._fields.named else set()
        return Table(
            stamps[chosen],
            {name: _seen(values)[chosen] for name, values in self._scalars.items()},
            frozenset(names for names, number in self._orders.items() if number in used),
            {name: vectors.rows(chosen) for name, vectors in self._vectors.items()},
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


def _chosen(stamps: NDArray[np.int64], begin_ns: int, end_ns: int) -> NDArray[np.int64] | slice:
    if (np.diff(stamps) > 0).all():
        return slice(*np.searchsorted(stamps, [begin_ns, max(begin_ns, end_ns)]).tolist())
    order = np.flatnonzero((stamps >= begin_ns) & (stamps < end_ns))
    order = order[np.argsort(stamps[order], kind="stable")]
    last = np.append(np.diff(stamps[order]) != 0, True)[: len(order)]
    return np.asarray(order[last], dtype=np.int64)


def _seen(values: array[Any]) -> NDArray[Any]:
    """The same memory as an array."""
    dtype = np.dtype(values.typecode).str  # `q` is int64, but of another name
    return np.frombuffer(values, dtype=dtype) if values else np.empty(0, dtype=dtype)
