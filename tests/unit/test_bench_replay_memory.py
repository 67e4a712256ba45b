"""`bench replay_memory` measures what it says: raw bytes, rows given, limits."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from benchmarks.replay_memory import figures
from benchmarks.replay_memory_child import BLOCK, CONTESTANTS, RAW_ROW_BYTES, blocks, measure
from mbrl_control.signals import Transitions


@pytest.mark.parametrize("rows", [1200, BLOCK + 1300])
def test_blocks_are_as_many_rows_of_the_raw_size(rows: int) -> None:
    parts = list(blocks(rows, 0))
    columns = ([getattr(part, field.name) for part in parts] for field in fields(Transitions))
    given = Transitions(*map(np.concatenate, columns))
    assert sum(getattr(given, field.name).nbytes for field in fields(given)) == rows * RAW_ROW_BYTES
    assert (np.diff(given.stamp_ns) > 0).all()
    assert (np.diff(given.segment) >= 0).all()


@pytest.mark.parametrize("name", CONTESTANTS)
def test_each_contestant_holds_the_rows(name: str, tmp_path: Path) -> None:
    measured = measure(name, 1500, 0, tmp_path)
    assert measured["rows"] == 1500
    assert (measured["file_bytes"] >= 1500 * RAW_ROW_BYTES) == (name == "mapped")


def test_what_takes_too_much_is_a_miss() -> None:
    one = {"rows": 10, "file_bytes": 0, "append_s": 1.0, "sample_s": 1.0, "sampled": 5}
    raw = 10 * RAW_ROW_BYTES
    found = {name: one | {"resident_bytes": raw * (1.6 if name == "memory" else 1.1)} for name in CONTESTANTS}
    assert figures(found, 10)["misses"] == ["memory_ratio 1.6 above 1.5"]
