"""What a row of a replay buffer is made of: stated fields, then columns that every row has, then its check.

A row is one record of fixed size, so that a random batch is one gather whatever the number of fields, and a
contiguous stretch of rows is a view. The record is a whole number of 8-byte words; its last word is the check.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.buffer_errors import BufferFault

Words = NDArray[np.uint64]
"""[..., W] rows as words."""
Rows = NDArray[np.void]
"""[...] rows as records: ``rows["position"]`` is a view [..., J]."""

DTYPES = {"float64": "<f8", "float32": "<f4", "int64": "<i8", "uint8": "|u1"}
OWN_COLUMNS = {
    "serial": "<i8",
    "run": "<i8",
    "episode": "<i8",
    "stamp_ns": "<i8",
    "origin": "<u4",
    "terminal": "|b1",
    "truncated": "|b1",
}
"""Of every row. serial: number of the row since the buffer was made; run: rows of one run are consecutive steps;
origin: index into the table of provenances. Both ways to end are kept, as they differ in what follows: nothing after a
terminal state, something unseen after a truncation."""
CHECK = "check"
MAX_ROW_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Field:
    """One quantity of a row."""

    name: str
    shape: tuple[int, ...]
    """Of one row; () for a number."""
    dtype: str
    """A key of DTYPES. In float32 a value x is kept to within 2^-24 |x| + 2^-150; values beyond its range are
    refused."""
    unit: str

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name in (*OWN_COLUMNS, CHECK):
            raise BufferFault("layout", "name", f"{self.name!r} is no free name", "choose another identifier")
        if self.dtype not in DTYPES:
            raise BufferFault("layout", self.name, f"dtype {self.dtype!r} is unknown", f"one of {', '.join(DTYPES)}")
        if not all(isinstance(size, int) and size > 0 for size in self.shape):
            raise BufferFault("layout", self.name, f"shape {self.shape} is not positive", "leave empty fields out")

    @property
    def row_bytes(self) -> int:
        """Of this field alone."""
        return np.dtype(DTYPES[self.dtype]).itemsize * math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """Fields of a row. Buffers of equal layouts can be mixed."""

    fields: tuple[Field, ...]
    labels: tuple[str, ...] = ()
    """Names of the entries along the last axis, joints for example: rows of other joints are another layout."""

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if not names or len(set(names)) != len(names):
            raise BufferFault("layout", "fields", f"{names} are none or not all different", "name each field once")
        size = sum(field.row_bytes for field in self.fields)
        if size > MAX_ROW_BYTES:
            raise BufferFault("layout", "fields", f"a row of {size} bytes", f"keep it within {MAX_ROW_BYTES}")

    @cached_property
    def record(self) -> np.dtype[np.void]:
        """Record type: widest entries first, so that each is aligned; the check in the last word."""
        entries = [(field.name, DTYPES[field.dtype], field.shape) for field in self.fields]
        entries += [(name, code, ()) for name, code in OWN_COLUMNS.items()]
        entries.sort(key=lambda entry: -np.dtype(entry[1]).itemsize)
        offsets, end = [], 0
        for _, code, shape in entries:
            offsets.append(end)
            end += np.dtype(code).itemsize * math.prod(shape)
        end = -(-end // 8) * 8
        return np.dtype(
            {
                "names": [*(name for name, _, _ in entries), CHECK],
                "formats": [*((code, shape) for _, code, shape in entries), "<u8"],
                "offsets": [*offsets, end],
                "itemsize": end + 8,
            }
        )

    @property
    def words(self) -> int:
        """W, words of a row."""
        return self.record.itemsize // 8

    def rows(self, words: Words) -> Rows:
        """Words [..., W] as records [...]: a view."""
        return words.view(self.record)[..., 0]


@dataclass(frozen=True, slots=True)
class BufferSpec:
    """What a buffer holds and how long it keeps it."""

    layout: Layout
    capacity: int | None = None
    """Rows of a ring, which drops the oldest; None: append-only, everything is kept."""
    period_ns: int | None = None
    """Distance of the stamps of consecutive steps; another distance is a gap. None: any increasing stamps follow."""

    def __post_init__(self) -> None:
        for name in ("capacity", "period_ns"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value <= 0):
                raise BufferFault("buffer", name, f"is {value!r}", "give a positive whole number, or none")


def spec_to_json(spec: BufferSpec) -> dict[str, Any]:
    """What `spec_from_json` reads."""
    fields = [
        {"name": field.name, "shape": list(field.shape), "dtype": field.dtype, "unit": field.unit}
        for field in spec.layout.fields
    ]
    labels = list(spec.layout.labels)
    return {"capacity": spec.capacity, "period_ns": spec.period_ns, "fields": fields, "labels": labels}


def spec_from_json(found: dict[str, Any]) -> BufferSpec:
    """BufferFault, KeyError or TypeError where ``found`` is none."""
    fields = tuple(
        Field(_text(field["name"]), tuple(field["shape"]), _text(field["dtype"]), _text(field["unit"]))
        for field in found["fields"]
    )
    return BufferSpec(Layout(fields, _texts(found["labels"])), found["capacity"], found["period_ns"])


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(_text(value) for value in values)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
