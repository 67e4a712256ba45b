"""Memory and disk that a replay buffer takes for its rows, against their raw size; beside it the simplest ways.

Rows of the 7-joint arm with three past commands, as they are cut from logs. Each contestant fills itself with them in a
process of its own, then reads every row once and draws batches of 256 at random.

    mapped   = a buffer in a folder          memory = a buffer without one, all of it in memory
    arrays   = one NumPy array per field     tuples = a list of tuples, one per row, of --rows / 100, extrapolated
    raw      = bytes of the fields of `signals.Transitions`, no more
    *_ratio  = most resident memory above that before the first row, or bytes of all files, over raw

Resident memory counts mapped pages of files, which the kernel takes back when others need them.

Example: `mbrl-control bench replay_memory --rows 10000000`. Needs 6 GB of disk and memory at that size, minutes. Ends
with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.replay_memory_child import CONTESTANTS, RAW_ROW_BYTES

LIMITS = {"memory_ratio": 1.5, "file_ratio": 1.5}
OURS = ("mapped", "memory")
TUPLES_PART = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="on the disk to write to; by default that for temporary files")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.rows < 1000:
        parser.error("--rows: at least 1000, a page of memory must not matter")
    print(json.dumps(figures(measure_all(options.rows, options.folder, options.seed), options.rows)), flush=True)


def measure_all(
    rows: int, folder: Path | None, seed: int, names: Iterable[str] = tuple(CONTESTANTS)
) -> dict[str, dict[str, float]]:
    """What each contestant measured of itself."""
    found = {}
    for name in names:
        count = max(1, rows // TUPLES_PART) if name == "tuples" else rows
        with tempfile.TemporaryDirectory(dir=folder) as home:
            arguments = [name, str(count), str(seed), home]
            command = [sys.executable, "-m", "benchmarks.replay_memory_child", *arguments]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[name] = json.loads(done.stdout)
        mib = found[name]["resident_bytes"] / 2**20
        print(f"{name}: {mib:.0f} MiB for {count} rows", file=sys.stderr, flush=True)
    return found


def figures(found: dict[str, dict[str, float]], rows: int) -> dict[str, Any]:
    """JSON-ready; the limits hold for ours."""
    table: dict[str, Any] = {name: _of_one(measured) for name, measured in found.items()}
    if "tuples" in table:
        table["tuples"]["extrapolated"] = True
    result: dict[str, Any] = {
        "rows": rows,
        "raw_bytes": rows * RAW_ROW_BYTES,
        "memory_ratio": max(table[name]["memory_ratio"] for name in OURS),
        "file_ratio": table["mapped"]["file_ratio"],
    }
    misses = [f"{name} {result[name]} above {limit}" for name, limit in LIMITS.items() if not result[name] <= limit]
    return result | {"contestants": table, "misses": misses}


def _of_one(measured: dict[str, float]) -> dict[str, Any]:
    raw = measured["rows"] * RAW_ROW_BYTES
    return {
        "measured_rows": measured["rows"],
        "memory_ratio": round(measured["resident_bytes"] / raw, 3),
        "file_ratio": round(measured["file_bytes"] / raw, 3),
        "append_rows_per_s": round(measured["rows"] / measured["append_s"]),
        "random_rows_per_s": round(measured["sampled"] / measured["sample_s"]),
    }


if __name__ == "__main__":
    main()
