"""Training rows as Ray Data blocks: Arrow tables in the cluster's object store, each there once, for all tasks.

Arrow tables are the format of Ray Data's blocks, so `RowBlocks.dataset` wraps what lies there already, without a copy.
A row keeps where it comes from: its time, its regime and its segment, and its weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

import numpy as np

from mbrl_control.learning.errors import ScaleOutError
from mbrl_control.signals import Array, Transitions

ROWS = 20_000
"""Of a block: some megabytes for seven joints."""
EXTRA = "pip install 'mbrl_control[ray]'"
_WEIGHT = "row_weight"
_OF_STEPS = "history"
"""The one field of three dimensions."""


@dataclass(frozen=True, slots=True)
class RowBlocks:
    """References to the blocks of one set of rows, in their order."""

    references: tuple[Any, ...]

    def dataset(self) -> Any:
        """The same blocks as a `ray.data.Dataset`, to look at, filter or write; ScaleOutError without its packages."""
        try:
            data = import_module("ray.data")
        except ImportError as error:
            raise ScaleOutError(f"Ray Data: {error}; {EXTRA}") from error
        return data.from_arrow_refs(list(self.references))


def store(ray: Any, rows: Transitions, weights: Array | None, per_block: int = ROWS) -> RowBlocks:
    """Put the rows, and weights [N] where there are some, into the object store of the cluster ``ray`` is in."""
    starts = range(0, len(rows), per_block)
    tables = (table_of(rows, weights, slice(start, start + per_block)) for start in starts)
    return RowBlocks(tuple(ray.put(table) for table in tables))


def table_of(rows: Transitions, weights: Array | None, part: slice) -> Any:
    """A part of the rows as an Arrow table: a column per field, vectors as lists of fixed length."""
    arrow = _arrow()
    columns = {field.name: _column(arrow, getattr(rows, field.name)[part]) for field in fields(rows)}
    if weights is not None:
        columns[_WEIGHT] = _column(arrow, weights[part])
    return arrow.table(columns)


def rows_of(tables: Sequence[Any]) -> tuple[Transitions, Array | None]:
    """What `table_of` made tables of, joined; arrays of their own, which may be written to."""
    columns = {name: np.concatenate([_array(table[name]) for table in tables]) for name in tables[0].column_names}
    weights = columns.pop(_WEIGHT, None)
    joints = columns["position"].shape[1]
    columns[_OF_STEPS] = columns[_OF_STEPS].reshape(len(columns["position"]), -1, joints)
    return Transitions(**columns), weights


def _column(arrow: Any, values: Any) -> Any:
    flat = np.ascontiguousarray(values)
    if flat.ndim == 1:
        return arrow.array(flat)
    return arrow.FixedSizeListArray.from_arrays(arrow.array(flat.reshape(-1)), int(np.prod(flat.shape[1:])))


def _array(column: Any) -> Any:
    whole = column.combine_chunks()
    if hasattr(whole.type, "list_size"):
        return whole.flatten().to_numpy(zero_copy_only=True).reshape(len(whole), whole.type.list_size)
    return whole.to_numpy(zero_copy_only=True)


def _arrow() -> Any:
    try:
        return import_module("pyarrow")
    except ImportError as error:
        raise ScaleOutError(f"rows travel as Arrow tables, and pyarrow is not installed; {EXTRA}") from error
