"""The episodes of `bench plan` on disk: one line each, so that what was killed goes on where it ended."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

EPISODES = "episodes.csv"
_NUMBERS = ("cost", "end", "cpu_ms", "optimizer_ms")


class NotToBeResumed(ValueError):
    """What is there does not belong to this run; says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One episode."""

    task: str
    planner: str
    setting: str
    seed: int
    cost: float
    end: float
    cpu_ms: float
    """Median per plan, whole cycle; a peer's is of its optimizer alone."""
    optimizer_ms: float
    """Median per plan of the optimizer alone, for everybody."""
    failed: int
    evaluations: int
    """Sequences scored per plan: samples of all iterations."""
    model: str
    """Of the weights that all planned with, the beginning of their hash."""
    machine: str
    """Processor times of two of them do not compare."""


_HEADER = list(Row.__dataclass_fields__)


def read_rows(path: Path) -> list[Row]:
    """As far as they came: a line that was cut off by the end of the process is taken from the file.

    NotToBeResumed for the file of another version.
    """
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        print(f"{path}: the last line is not whole and is left out", file=sys.stderr)
        path.write_bytes(whole)
    table = csv.DictReader(whole.decode("utf-8").splitlines())
    if table.fieldnames is not None and list(table.fieldnames) != _HEADER:
        raise NotToBeResumed(f"{path}: columns {table.fieldnames}, expected {_HEADER}; begin anew, in another --out")
    return [
        Row(
            **{name: row[name] for name in ("task", "planner", "setting", "model", "machine")},
            **{name: float(row[name]) for name in _NUMBERS},
            **{name: int(row[name]) for name in ("seed", "failed", "evaluations")},
        )
        for row in table
    ]


class RowFile:
    """Appends; each row is on the disk before the next episode. A context manager."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        if self._file.tell() == 0:
            self._writer.writerow(_HEADER)

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, row: Row) -> None:
        self._writer.writerow(astuple(row))
        self._file.flush()
        os.fsync(self._file.fileno())


def require_model(rows: Sequence[Row], task: str, model: str, path: Path) -> None:
    """NotToBeResumed where ``rows`` of a task were played with other weights."""
    others = sorted({row.model for row in rows if row.task == task} - {model})
    if others:
        raise NotToBeResumed(
            f"{path}: {task} was played with the weights {', '.join(others)}, here they are {model}: bring back "
            "models/ and the folder's .safetensors as they were, or begin anew in another --out"
        )


def machine() -> str:
    """Processor and how many of them, as `/proc/cpuinfo` names it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Hardware"))]
    return f"{named[0] if named else os.uname().machine} x {len(os.sched_getaffinity(0))}"
