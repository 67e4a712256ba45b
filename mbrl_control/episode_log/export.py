"""Tables of a log: one per topic, a row per message, a column per number; CSV, or Parquet where pyarrow is installed.

Messages that name their joints (`joint_names`, `name`) give a column per joint, `position[elbow]`. Other lists, and
messages inside messages in lists, stand in one cell as JSON. Times are integer nanoseconds of the log's clock.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, is_dataclass, replace
from importlib import import_module
from itertools import chain, count
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import Decoder, LogReader, RawMessage, stamp_ns

_TIMES = ("log_time_ns", "publish_time_ns")
_NAMES = ("joint_names", "name")
_BATCH = 4096
"""Rows that a Parquet file takes at once."""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Exported:
    """One table."""

    path: Path
    topic: str
    rows: int
    columns: tuple[str, ...]


class _Sink(Protocol):
    def write(self, row: Row) -> None: ...

    def close(self) -> None: ...


def export(log: Path, folder: Path, kind: str = "csv", topics: Sequence[str] = ()) -> list[Exported]:
    """Write a table of every topic, or of ``topics`` (by their end, `joint_states`), into ``folder``, made anew.

    All of it or nothing: LogError for a topic that is not there, a damaged log, or a message that has other columns
    than the first of its topic.
    """
    part = folder.with_name(f"{folder.name}.partial")
    part.mkdir(parents=True)
    try:
        done = _export(log, part, kind, topics)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part)
        raise
    return [replace(table, path=folder / table.path.name) for table in done]


def _export(log: Path, folder: Path, kind: str, topics: Sequence[str]) -> list[Exported]:
    make = _SINKS[kind]
    decoder, tables = Decoder(log), dict[str, _Table]()
    with ExitStack() as stack:
        for raw in LogReader(log).raw():
            if topics and not any(raw.channel.topic == t or raw.channel.topic.endswith(f"/{t}") for t in topics):
                continue
            row = _row(raw, decoder)
            table = tables.get(raw.channel.topic)
            if table is None:
                taken = {other.path.stem.lower() for other in tables.values()}
                path = folder / f"{_free_name(raw.channel.topic, taken)}.{kind}"
                table = tables[raw.channel.topic] = _Table(path, raw.channel.topic, tuple(row), make(path, tuple(row)))
                stack.callback(table.sink.close)
            table.add(log, row)
    missing = [topic for topic in topics if not any(name == topic or name.endswith(f"/{topic}") for name in tables)]
    if missing:
        raise LogError(log, missing[0], "holds no message", "choose one that `mbrl-control log info` shows")
    return [Exported(table.path, topic, table.rows, table.columns) for topic, table in sorted(tables.items())]


@dataclass(slots=True)
class _Table:
    path: Path
    topic: str
    columns: tuple[str, ...]
    sink: _Sink
    rows: int = field(default=0)

    def add(self, log: Path, row: Row) -> None:
        if row.keys() != set(self.columns):  # their order may change, rows go by name
            changed = sorted(set(row) ^ set(self.columns))
            raise LogError(log, self.topic, f"message {self.rows} has other columns: {changed[:4]}", "export in parts")
        self.sink.write(row)
        self.rows += 1


def _row(raw: RawMessage, decoder: Decoder) -> Row:
    message = decoder.decode(raw)
    named = (value for name in _NAMES if isinstance(value := getattr(message, name, None), list))
    names = tuple(next(named, ()))
    names = names if len(set(names)) == len(names) else ()
    row: Row = dict(zip(_TIMES, (raw.log_time_ns, raw.publish_time_ns), strict=True))
    row.update(_columns(message, "", names))
    return row


def _columns(message: Any, prefix: str, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for each in fields(message):
        if each.name.startswith("__"):
            continue
        value, place = getattr(message, each.name), f"{prefix}{each.name}"
        if hasattr(value, "nanosec"):
            yield f"{place}_ns", stamp_ns(value)
        elif is_dataclass(value):
            yield from _columns(value, f"{place}.", names)
        elif not isinstance(value, list | np.ndarray):
            yield place, value
        elif each.name not in _NAMES and len(value) == len(names) > 0 and np.ndim(value) == 1:
            yield from ((f"{place}[{name}]", _plain(one)) for name, one in zip(names, value, strict=True))
        else:
            yield place, json.dumps(_plain(value))


def _plain(value: Any) -> Any:
    """What JSON knows."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if not f.name.startswith("__")}
    return value


def _free_name(topic: str, taken: Collection[str]) -> str:
    """Of a topic, which comes from a file: nothing that could lead out of the folder, and no name twice."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", topic).strip("_")[-64:] or "topic"
    return next(free for free in chain([name], (f"{name}_{n}" for n in count(2))) if free.lower() not in taken)


class _Csv:
    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self._file = path.open("x", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, columns)
        self._writer.writeheader()

    def write(self, row: Row) -> None:
        self._writer.writerow(row)

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        try:
            self._arrow: Any = import_module("pyarrow")
            self._writer_class: Any = import_module("pyarrow.parquet").ParquetWriter
        except ModuleNotFoundError as error:
            remedy = "install pyarrow, or export CSV"
            raise LogError(path, "format", "Parquet needs pyarrow, which is not installed", remedy) from error
        self._path = path
        self._rows: list[Row] = []
        self._writer: Any = None

    def write(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._writer is None:
            table = self._arrow.Table.from_pylist(self._rows)
            self._writer = self._writer_class(self._path, table.schema)
        else:
            table = self._arrow.Table.from_pylist(self._rows, schema=self._writer.schema)
        self._writer.write_table(table)
        self._rows = []

    def close(self) -> None:
        if self._rows:
            self._flush()
        if self._writer is not None:
            self._writer.close()


_SINKS: dict[str, Callable[[Path, tuple[str, ...]], _Sink]] = {"csv": _Csv, "parquet": _Parquet}
KINDS = tuple(_SINKS)
