"""CSV and Parquet: one table, or one for the state and one for the commands."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.unpacking import require_unpacked
from mbrl_control.replay.importing.mapping import Columns, CommandColumns, ImportMap, StateColumns, Tables
from mbrl_control.replay.importing.series import (
    MOST_NUMBERS,
    UNCUT,
    UNKNOWN,
    BadRows,
    Recording,
    Series,
    append_bad,
    earliest,
    left_out,
    merged,
    too_long,
)
from mbrl_control.robot import Arm

SUFFIXES = (".csv", ".parquet")
_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_TRUE, _FALSE = ("true", "1", "1.0"), ("false", "0", "0.0")
_LARGEST_NS = 2**62


@dataclass(frozen=True, slots=True)
class _Table:
    """The wanted columns of one file."""

    row: NDArray[np.int64]
    """[N] line of a CSV file (the head is line 1), row of a Parquet file from 0."""
    stamp_ns: NDArray[np.int64]
    numbers: NDArray[np.float64]
    """[N, C]; NaN for an empty cell."""
    enabled: NDArray[np.bool_]
    until_ns: NDArray[np.int64]
    """[N] of `Series`: a row between this one and the next could not be read."""
    bad: tuple[BadRows, ...]


def read_tables(source: Path, mapping: ImportMap, tables: Tables, arm: Arm) -> Recording:
    """State and commands of a table, or of a folder of tables. LogError for a file that cannot be read at all."""
    paths = [_path(source, part) for part in (tables.state, tables.command)]
    state, bad_state = _series(paths[0], tables.state, mapping, tables, arm)
    command, bad_command = _series(paths[1], tables.command, mapping, tables, arm)
    return Recording(state, command, bad_state + bad_command, tuple(dict.fromkeys(paths)))


def _path(source: Path, part: StateColumns | CommandColumns) -> Path:
    if not source.is_dir():
        return source
    if part.file is None or Path(part.file).name != part.file:
        raise LogError(source, "tables.*.file", f"is {part.file}", "name a file of this folder, for state and command")
    return source / part.file


def _series(
    path: Path, part: StateColumns | CommandColumns, mapping: ImportMap, tables: Tables, arm: Arm
) -> tuple[Series, tuple[BadRows, ...]]:
    """Rows with every cell empty hold no sample of this kind: tables with several rates are written so."""
    wanted = {
        name: _columns(getattr(part, name), mapping, arm)
        for name in ("position", "velocity", "effort", "command")
        if getattr(part, name, None) is not None
    }
    names = [column for columns in wanted.values() for column in columns]
    enabled = part.enabled if isinstance(part, CommandColumns) else None
    reader = _read_parquet if path.suffix.lower() == ".parquet" else _read_csv
    table = reader(path, part, names, enabled, tables.delimiter)
    there = ~np.isnan(table.numbers).all(axis=1)
    one_part = np.zeros(len(table.row), dtype=np.int64)
    values = {name: table.numbers[:, i * arm.joints : (i + 1) * arm.joints] for i, name in enumerate(wanted)}
    series = Series((path.name,), one_part, table.row, table.stamp_ns, table.until_ns, values)
    off = left_out(series, there & ~table.enabled, "no command in force") if enabled is not None else ()
    until = np.where(table.enabled, UNCUT, table.stamp_ns)
    return series.without(~(there & table.enabled), until), table.bad + off


def _columns(given: Columns, mapping: ImportMap, arm: Arm) -> list[str]:
    if isinstance(given, str):
        return [given.replace("{joint}", name) for name in mapping.sources(arm)]
    return [given[place] for place in mapping.order(arm)]


def _places(path: Path, head: Sequence[str], names: Sequence[str]) -> list[int]:
    for name in names:
        if head.count(name) != 1:
            problem = "is not in the table" if name not in head else "is there more than once"
            known = ", ".join(list(dict.fromkeys(head))[:40])
            raise LogError(path, f"column {name!r}", problem, f"correct the map; columns: {known}")
    return [head.index(name) for name in names]


def _read_csv(
    path: Path, part: StateColumns | CommandColumns, names: list[str], enabled: str | None, delimiter: str
) -> _Table:
    rows, stamps, until, numbers, flags = array("q"), array("q"), array("q"), array("d"), array("b")
    bad: list[BadRows] = []
    with _csv(path, delimiter) as lines:
        head: list[str] = next(lines, [])
        time, *places = _places(path, head, [part.time, *names])
        flag = None if enabled is None else _places(path, head, [enabled])[0]
        for line, cells in ((lines.line_num, cells) for cells in lines if cells):
            try:
                if len(cells) != len(head):
                    raise _BadCell(f"has {len(cells)} cells, the head has {len(head)}")
                stamp = _stamp(cells[time], _NS[part.time_unit])
                found = [_number(cells[place]) for place in places]
                on = flag is None or _in_force(cells[flag], found)
            except _BadCell as error:
                append_bad(bad, path.name, line, str(error))
                if until:
                    until[-1] = UNKNOWN
                continue
            rows.append(line)
            stamps.append(stamp)
            numbers.extend(found)
            flags.append(on)
            until.append(UNCUT)
            if len(numbers) > MOST_NUMBERS:
                raise too_long(path, "file")
    table = (
        np.frombuffer(numbers, dtype=np.float64).reshape(len(rows), len(names)) if rows else np.empty((0, len(names)))
    )
    return _Table(_int64(rows), _int64(stamps), table, np.array(flags, dtype=np.bool_), _int64(until), tuple(bad))


class _BadCell(ValueError):
    """A row that is not a sample; only its own reader sees this."""


@contextmanager
def _csv(path: Path, delimiter: str) -> Iterator[Any]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            yield csv.reader(stream, delimiter=delimiter, strict=True)
    except OSError as error:
        raise LogError(path, "file", f"cannot be read ({error.strerror})", "check the path") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise LogError(path, "file", f"is no CSV in UTF-8 ({error})", "export it anew, or repair it there") from error


def _stamp(cell: str, unit_ns: int) -> int:
    """Exact: a float has no room for nanoseconds since 1970."""
    try:
        exact = Decimal(cell)
        stamp = int((exact * unit_ns).to_integral_value()) if exact.is_finite() and abs(exact) < 10**20 else None
    except ArithmeticError:  # no number, or one whose exponent no context has
        stamp = None
    if stamp is None or abs(stamp) > _LARGEST_NS:
        raise _BadCell("time is not a number")
    return stamp


def _number(cell: str) -> float:
    if not cell.strip():
        return float("nan")
    try:
        if "_" in cell:  # Python's own digit separator
            raise ValueError
        value = float(cell)
    except ValueError as error:
        raise _BadCell(f"{cell[:40]!r} is not a number") from error
    if not np.isfinite(value):
        raise _BadCell("holds a number that is not finite")
    return value


def _in_force(cell: str, numbers: list[float]) -> bool:
    """A row that is empty in both is one of another rate, and says nothing of commands."""
    return (not cell.strip() and bool(np.isnan(numbers).all())) or _truth(cell)


def _truth(cell: str) -> bool:
    text = cell.strip().lower()
    if text not in (*_TRUE, *_FALSE):
        raise _BadCell(f"{cell[:40]!r} is neither true nor false")
    return text in _TRUE


def _int64(values: array[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _read_parquet(
    path: Path, part: StateColumns | CommandColumns, names: list[str], enabled: str | None, delimiter: str
) -> _Table:
    arrow, parquet = _pyarrow(path)
    try:
        file = parquet.ParquetFile(path)
        wanted = [part.time, *names, *([] if enabled is None else [enabled])]
        _places(path, list(file.schema_arrow.names), wanted)
        _require_room(path, file.metadata, len(wanted))
        table = file.read(columns=list(dict.fromkeys(wanted)))
        numbers = np.stack([_floats(path, arrow, table, name) for name in names], axis=1)
        flags = np.ones(len(table), dtype=np.bool_)
        if enabled is not None:
            told = _floats(path, arrow, table, enabled)
            flags = np.asarray((told == 1.0) | (np.isnan(told) & np.isnan(numbers).all(axis=1)))
        stamps, timed = _stamps(path, arrow, table[part.time], _NS[part.time_unit])
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read as Parquet ({str(error)[:200]})"
        raise LogError(path, "file", problem, "give a whole Parquet file") from error
    rows = np.arange(len(table), dtype=np.int64)
    broken = merged((path.name, int(row), "time is not a number") for row in np.flatnonzero(~timed))
    until = earliest(timed, np.where(timed, UNCUT, UNKNOWN))
    return _Table(rows[timed], stamps[timed], numbers[timed], flags[timed], until, broken)


def _require_room(path: Path, metadata: Any, columns: int) -> None:
    """What a file of some kilobytes may claim by repetition is asked before it is made."""
    if metadata.num_rows * columns > MOST_NUMBERS:
        raise too_long(path, "rows")
    pages = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    require_unpacked(path, "rows", path.stat().st_size, max(pages, 8 * metadata.num_rows * columns))


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        remedy = "install the extra: pip install 'mbrl_control[data]'; or give CSV"
        raise LogError(path, "format", "Parquet needs pyarrow, which is not installed", remedy) from error


def _floats(path: Path, arrow: Any, table: Any, name: str) -> NDArray[np.float64]:
    column = table[name]
    kind = column.type
    if not (arrow.types.is_integer(kind) or arrow.types.is_floating(kind) or arrow.types.is_boolean(kind)):
        raise LogError(path, f"column {name!r}", f"holds {kind}", "write it as numbers")
    return np.asarray(column.cast(arrow.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _stamps(path: Path, arrow: Any, column: Any, unit_ns: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """[N] ns, and which of them are times at all."""
    if arrow.types.is_timestamp(column.type):
        column, unit_ns = column.cast(arrow.timestamp("ns")).cast(arrow.int64()), 1
    if arrow.types.is_integer(column.type):
        whole = column.cast(arrow.int64())
        values = np.asarray(whole.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
        largest = _LARGEST_NS // unit_ns
        timed = ~np.asarray(column.is_null().to_numpy(zero_copy_only=False))
        timed &= (values > -largest) & (values < largest)
        return np.where(timed, values, 0) * unit_ns, timed
    if not arrow.types.is_floating(column.type):
        raise LogError(path, "time", f"holds {column.type}", "write it as numbers or time stamps")
    seconds = np.asarray(column.cast(arrow.float64()).to_numpy(zero_copy_only=False)) * unit_ns
    timed = np.abs(seconds) < _LARGEST_NS  # false for NaN
    return np.rint(np.where(timed, seconds, 0.0)).astype(np.int64), timed
