"""Windows of k steps: consecutive rows of one run, so that none crosses an episode's end, a gap or a ring's seam.

Rows of one run have the same number in the column ``run`` and lie one after the other, so a window is whole when its
two ends are of one run and lie on the same side of the seam. Where the newest row meets the oldest is no place inside
of it either, as windows are taken by serial. ``step`` takes every so many rows: rows cut from a log every 10 ms for a
model of 20 ms have 2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.batch import Batch
from mbrl_control.replay.buffer import ReplayBuffer
from mbrl_control.replay.buffer_errors import BufferFault
from mbrl_control.replay.layout import Rows

_TRIES = 16
"""Rounds of drawing starts at random before all of them are looked up."""


def sample_windows(buffer: ReplayBuffer, batch: Batch, generator: np.random.Generator, step: int = 1) -> None:
    """Fill ``batch`` [B, k] with windows drawn uniformly from all there are, with replacement, in one gather.

    BufferFault when the buffer holds none.
    """
    windows, length = batch.words.shape[:2]
    starts = _draw_starts(buffer, windows, _span(length, step), generator)
    buffer.gather(starts[:, None] + step * np.arange(length), batch)


def window(buffer: ReplayBuffer, start: int, length: int, step: int = 1) -> Rows:
    """[length] rows from serial ``start`` on, a view. BufferFault when no window starts there."""
    rows = buffer.view(start, _span(length, step))[::step]
    if rows[0]["run"] != rows[-1]["run"]:
        raise BufferFault(buffer.name, "window", f"at {start} crosses an end or a gap", "see `window_starts`")
    return rows


def window_starts(buffer: ReplayBuffer, length: int, step: int = 1) -> NDArray[np.int64]:
    """[M] serials at which a window starts, ascending; 8 bytes for each."""
    return _all_starts(buffer, _span(length, step))


def _draw_starts(buffer: ReplayBuffer, wanted: int, span: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draws of any row, those kept at which a window starts: uniform over these, and no table of them is needed."""
    found = np.empty(0, dtype=np.int64)
    choices = len(buffer) - span + 1
    for _ in range(_TRIES if choices > 0 else 0):
        starts = buffer.first + generator.integers(0, choices, size=wanted)
        found = np.concatenate([found, starts[_is_whole(buffer, starts, span)]])
        if len(found) >= wanted:
            return found[:wanted]
    known = _all_starts(buffer, span)
    if len(known) == 0:
        remedy = "take shorter windows or append longer episodes"
        raise BufferFault(buffer.name, "windows", f"of {span} consecutive rows are none", remedy)
    return np.concatenate([found, known[generator.integers(0, len(known), size=wanted - len(found))]])


def _is_whole(buffer: ReplayBuffer, starts: NDArray[np.int64], span: int) -> NDArray[np.bool_]:
    one_run = buffer.runs(starts) == buffer.runs(starts + span - 1)
    return np.asarray(one_run & (buffer.slots_of(starts) + span <= buffer.slots), dtype=np.bool_)


def _all_starts(buffer: ReplayBuffer, span: int) -> NDArray[np.int64]:
    starts, serial = [np.empty(0, dtype=np.int64)], buffer.first
    for part in buffer.parts():
        run = part["run"]
        if len(part) >= span:
            starts.append(serial + np.flatnonzero(run[: len(run) - span + 1] == run[span - 1 :]))
        serial += len(part)
    return np.concatenate(starts)


def _span(length: int, step: int) -> int:
    if length < 1 or step < 1:
        raise BufferFault("window", "length, step", f"are {length}, {step}", "give positive numbers")
    return (length - 1) * step + 1
