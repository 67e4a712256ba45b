"""One contestant of `bench replay_memory` in a process of its own: fills itself, is read, measures itself."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from mbrl_control.replay.arm_rows import arm_layout, arm_steps
from mbrl_control.replay.batch import Batch
from mbrl_control.replay.buffer import ReplayBuffer
from mbrl_control.replay.home import create_buffer, memory_buffer
from mbrl_control.replay.layout import BufferSpec
from mbrl_control.replay.provenance import Provenance, Source
from mbrl_control.replay.transitions import select
from mbrl_control.signals import Transitions

JOINTS, HISTORY, PERIOD_NS = 7, 3, 10_000_000
RAW_ROW_BYTES = 8 * (JOINTS * (6 + HISTORY) + 3)
"""Six quantities and the past commands of each joint; stamp, session, segment."""
BLOCK = 50_000
BATCH, BATCHES = 256, 400
SPEC = BufferSpec(arm_layout(tuple(f"joint_{number}" for number in range(JOINTS)), HISTORY), None, PERIOD_NS)
_NAMES = [field.name for field in fields(Transitions)]

Draw = Callable[[np.random.Generator], None]


def blocks(rows: int, seed: int) -> Iterator[Transitions]:
    """``rows`` rows in blocks; the numbers repeat, which no contestant makes use of, stamps do not."""
    generator = np.random.default_rng(seed)
    count = min(BLOCK, rows)
    values = {name: generator.normal(size=(count, JOINTS)) for name in _NAMES if name not in _OTHERS}
    history, number = generator.normal(size=(count, HISTORY, JOINTS)), np.arange(count)
    block = Transitions(
        **values, history=history, stamp_ns=number, session=np.zeros(count, np.int64), segment=number // 1000
    )
    for begin in range(0, rows, count):
        moved = replace(block, stamp_ns=(begin + number) * PERIOD_NS, segment=begin // 1000 + block.segment)
        yield moved if begin + count <= rows else select(moved, number[: rows - begin])


_OTHERS = ("history", "stamp_ns", "session", "segment")


def mapped(rows: int, seed: int, home: Path) -> Draw:
    return _buffer(create_buffer(home / "buffer", SPEC), rows, seed)


def memory(rows: int, seed: int, home: Path) -> Draw:
    room = (rows + 1) * SPEC.layout.record.itemsize
    return _buffer(memory_buffer(SPEC, map_above_bytes=room), rows, seed)


def _buffer(buffer: ReplayBuffer, rows: int, seed: int) -> Draw:
    origin = (Provenance(Source.REAL, "excitation"),)
    for block in blocks(rows, seed):
        buffer.append(arm_steps(block, origin, first_episode=buffer.next_episode))
    buffer.sync()
    batch = Batch.empty(SPEC.layout, BATCH)
    for part in buffer.parts():
        _touch(part["position"])
    return lambda generator: buffer.sample(batch, generator)


def arrays(rows: int, seed: int, home: Path) -> Draw:
    held: dict[str, np.ndarray] = {}
    begin = 0
    for block in blocks(rows, seed):
        for name in _NAMES:
            values = getattr(block, name)
            held.setdefault(name, np.empty((rows, *values.shape[1:]), values.dtype))[begin : begin + len(block)] = (
                values
            )
        begin += len(block)
    for values in held.values():
        _touch(values)

    def draw(generator: np.random.Generator) -> None:
        chosen = generator.integers(0, rows, size=BATCH)
        for values in held.values():
            values[chosen]

    return draw


def tuples(rows: int, seed: int, home: Path) -> Draw:
    held: list[tuple[np.ndarray, ...]] = []
    for block in blocks(rows, seed):
        columns = [getattr(block, name) for name in _NAMES]
        held += [tuple(column[row].copy() for column in columns) for row in range(len(block))]

    def draw(generator: np.random.Generator) -> None:
        chosen = [held[place] for place in generator.integers(0, rows, size=BATCH).tolist()]
        for column in zip(*chosen, strict=True):
            np.stack(column)

    return draw


CONTESTANTS = {"mapped": mapped, "memory": memory, "arrays": arrays, "tuples": tuples}


def measure(name: str, rows: int, seed: int, home: Path) -> dict[str, float]:
    """Most resident memory above that before the first row; seconds; bytes of files."""
    before, began = status("VmRSS"), time.perf_counter()
    draw = CONTESTANTS[name](rows, seed, home)
    filled = time.perf_counter()
    generator = np.random.default_rng(seed)
    for _ in range(BATCHES):
        draw(generator)
    drawn = time.perf_counter()
    return {
        "rows": rows,
        "resident_bytes": status("VmHWM") - before,
        "file_bytes": sum(path.stat().st_size for path in home.rglob("*") if path.is_file()),
        "append_s": filled - began,
        "sample_s": drawn - filled,
        "sampled": BATCH * BATCHES,
    }


def _touch(values: np.ndarray) -> None:
    """Read something of every row, and so every page."""
    for begin in range(0, len(values), BLOCK):
        assert np.isfinite(values[begin : begin + BLOCK]).all()


def status(name: str) -> int:
    """Bytes, of Linux's /proc/self/status."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))))
