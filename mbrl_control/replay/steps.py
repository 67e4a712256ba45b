"""What is appended to a buffer: steps in the order of time, checked as a whole before a row of them is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.buffer_errors import BufferFault
from mbrl_control.replay.layout import CHECK, DTYPES, OWN_COLUMNS, Field, Layout, Rows, Words
from mbrl_control.replay.provenance import Provenance
from mbrl_control.replay.row_check import row_checks

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Steps:
    """N steps. Steps of one episode follow each other; episode numbers never fall."""

    fields: Mapping[str, NDArray[Any]]
    """[N, ...] by name, exactly those of the buffer's layout."""
    stamp_ns: NDArray[np.int64]
    """[N]."""
    episode: NDArray[np.int64]
    """[N] not negative."""
    terminal: NDArray[np.bool_]
    """[N] nothing follows this step: the task ended there."""
    truncated: NDArray[np.bool_]
    """[N] the record ends here, the task does not."""
    origins: tuple[Provenance, ...]
    origin: NDArray[np.uint32]
    """[N] index into ``origins``."""

    def __len__(self) -> int:
        return len(self.stamp_ns)

    def part(self, begin: int, end: int) -> Steps:
        """Views of the steps ``begin`` to ``end``."""
        chosen = slice(begin, end)
        return Steps(
            fields={name: values[chosen] for name, values in self.fields.items()},
            stamp_ns=self.stamp_ns[chosen],
            episode=self.episode[chosen],
            terminal=self.terminal[chosen],
            truncated=self.truncated[chosen],
            origins=self.origins,
            origin=self.origin[chosen],
        )


@dataclass(frozen=True, slots=True)
class Last:
    """The newest step of a buffer, as far as the next one is compared with it."""

    stamp_ns: int
    episode: int
    ended: bool


def check_steps(layout: Layout, steps: Steps, last_episode: int, where: str) -> None:
    """BufferFault that names the field, and the steps at fault by their number."""
    expected = {field.name for field in layout.fields}
    if set(steps.fields) != expected:
        different = ", ".join(sorted(set(steps.fields) ^ expected))
        raise BufferFault(where, "fields", f"differ from the layout in {different}", "give exactly its fields")
    for field in layout.fields:
        _check_field(field, steps.fields[field.name], len(steps), where)
    for name in ("stamp_ns", "episode", "terminal", "truncated", "origin"):
        values = getattr(steps, name)
        target = np.dtype(OWN_COLUMNS[name])
        if values.shape != (len(steps),) or not np.can_cast(values.dtype, target, "safe"):
            found = f"is {values.dtype}{list(values.shape)}"
            raise BufferFault(where, name, found, f"give {target}[{len(steps)}]")
    _refuse(where, "origin", steps.origin >= len(steps.origins), "names no provenance given", "index `origins`")
    falls = np.diff(steps.episode, prepend=np.int64(last_episode)) < 0
    _refuse(where, "episode", falls | (steps.episode < 0), "falls", "number episodes from `next_episode` on")


def _check_field(field: Field, values: NDArray[Any], count: int, where: str) -> None:
    target = np.dtype(DTYPES[field.dtype])
    if values.shape != (count, *field.shape):
        raise BufferFault(where, field.name, f"has shape {values.shape}", f"give {(count, *field.shape)}")
    floating = target.kind == "f"
    if not np.can_cast(values.dtype, target, "same_kind" if floating else "safe") or (values.dtype.kind == "b"):
        raise BufferFault(where, field.name, f"is {values.dtype}", f"give {field.dtype}")
    if floating:
        axes = tuple(range(1, values.ndim))
        _refuse(where, field.name, ~np.isfinite(values).all(axis=axes), "is not finite", "leave these steps out")
        beyond = (np.abs(values) > np.finfo(target).max).any(axis=axes)
        _refuse(where, field.name, beyond, f"is beyond {field.dtype}", "state float64 in the layout")


def _refuse(where: str, field: str, bad: NDArray[np.bool_], problem: str, remedy: str) -> None:
    if bad.any():
        numbers = np.flatnonzero(bad)
        shown = ", ".join(map(str, numbers[:_SHOWN].tolist())) + (", ..." if len(numbers) > _SHOWN else "")
        raise BufferFault(
            where, field, f"{problem} in {len(numbers)} steps ({shown})", f"{remedy}; nothing was written"
        )


def number_runs(steps: Steps, last: Last | None, next_run: int, period_ns: int | None) -> NDArray[np.int64]:
    """[N] run of each step: a new one where the episode changes or has ended, and after a gap."""
    ended = steps.terminal | steps.truncated
    gap = np.diff(steps.stamp_ns)
    breaks = np.ones(len(steps), dtype=np.bool_)
    breaks[1:] = (np.diff(steps.episode) != 0) | ended[:-1] | _is_gap(gap, period_ns)
    if last is not None and len(steps):
        gap_before = steps.stamp_ns[:1] - last.stamp_ns
        breaks[0] = steps.episode[0] != last.episode or last.ended or bool(_is_gap(gap_before, period_ns)[0])
    return next_run - 1 + np.cumsum(breaks, dtype=np.int64)


def _is_gap(distance_ns: NDArray[np.int64], period_ns: int | None) -> NDArray[np.bool_]:
    return distance_ns <= 0 if period_ns is None else distance_ns != period_ns


def encode(
    layout: Layout, steps: Steps, serial: int, run: NDArray[np.int64], origin: NDArray[np.uint32], words: Words
) -> Rows:
    """Fill ``words`` [N, W] with the rows of the steps, numbered from ``serial``; the same as records."""
    words[:] = 0  # padding is part of what is checked
    rows = layout.rows(words)
    for field in layout.fields:
        rows[field.name] = steps.fields[field.name]
    for name in ("stamp_ns", "episode", "terminal", "truncated"):
        rows[name] = getattr(steps, name)
    rows["serial"] = np.arange(serial, serial + len(steps))
    rows["run"] = run
    rows["origin"] = origin
    rows[CHECK] = row_checks(words)
    return rows
