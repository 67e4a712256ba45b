"""Memory that learning takes, over the raw size of the rows: of a buffer of millions, of a fit of it, of a `retrain`.

memory_ratio, file_ratio   a buffer alone: most resident memory (mapped pages among it), and its files
                           (`bench replay_memory`)
need_ratio                 a buffer in a folder and a fit of all its rows, in one process: most anonymous memory of
                           both together. This is what a machine must have
mapped_ratio               of the same process, the pages of the buffer's file that were in memory at once: the
                           kernel takes them back when others need the room, and the fit goes on, slower
retrain_ratio              a whole `retrain` of a log (decoded messages, streams, rows, fit, scores, export): most
                           anonymous memory per further raw byte of rows, from logs of two lengths
retrain_mb_per_minute      the same per minute of log, MB
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import replay_memory
from benchmarks.fit_contest import say
from benchmarks.fit_log import write_log
from benchmarks.peers import CHECKOUT
from benchmarks.replay_memory_child import HISTORY, JOINTS, RAW_ROW_BYTES
from mbrl_control.cli.locations import arm_file
from mbrl_control.deployment.keys import FOLDER_VARIABLE
from mbrl_control.replay.transitions import Grid, history_of
from mbrl_control.robot import load_arm

LIMIT = 1.5
"""Of each ratio but `mapped_ratio`."""
_MINUTES = (8.0, 24.0)
"""Of the logs: what does not grow with the log falls out of the difference. Even of the shorter one the arrays lie in
files (`replay.growing_array`), as those of any longer one do."""
_GRID = Grid(0.0)


def measure(rows: int, seed: int) -> dict[str, Any]:
    """JSON-ready, with ``misses``."""
    count = _room_for(rows)
    buffer = replay_memory.figures(replay_memory.measure_all(count, None, seed, replay_memory.OURS), count)
    found = buffer | fit_figures(_fitted(count, seed), buffer["raw_bytes"]) | retrain_figures(*_retrained(seed))
    say(f"buffer and fit {found['need_ratio']} of the raw size of {count} rows, retrain {found['retrain_ratio']}")
    return found | {"misses": [*buffer["misses"], *misses(found, rows)]}


def fit_figures(measured: dict[str, float], raw_bytes: int) -> dict[str, float]:
    """Of `fit_memory_child`."""
    return {
        "need_ratio": round(measured["anonymous_bytes"] / raw_bytes, 3),
        "mapped_ratio": round(measured["mapped_bytes"] / raw_bytes, 3),
    }


def retrain_figures(shorter: dict[str, Any], longer: dict[str, Any]) -> dict[str, Any]:
    """Of `fit_retrain_child`, each with the minutes of its log: what the longer one takes more."""
    minutes = longer["minutes"] - shorter["minutes"]
    per_minute = (longer["anonymous_bytes"] - shorter["anonymous_bytes"]) / minutes
    stages = {
        name: round((longer["stages"][name] - held) / minutes / 1e6, 2)
        for name, held in shorter["stages"].items()
        if name in longer["stages"]
    }
    return {
        "retrain_ratio": round(per_minute / _raw_per_minute(), 3),
        "retrain_mb_per_minute": round(per_minute / 1e6, 2),
        "retrain_stages_mb_per_minute": stages,
        "raw_mb_per_minute": round(_raw_per_minute() / 1e6, 2),
    }


def misses(found: dict[str, Any], rows: int) -> list[str]:
    """Beside those of the buffer alone; ``rows``: that were asked for."""
    told = [f"memory: {name} {found[name]} above {LIMIT}" for name in _HELD if not found[name] <= LIMIT]
    if found["rows"] != rows:
        told.append(f"memory was measured with {found['rows']} rows of {rows}: no more is free here")
    return told


_HELD = ("need_ratio", "retrain_ratio")


def _raw_per_minute() -> float:
    """Bytes of the rows that a minute of motion gives."""
    return 60e9 / _GRID.stride_ns * RAW_ROW_BYTES


def _room_for(rows: int) -> int:
    """As many as asked for, or as half of the free memory and disk hold."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    room = min(free, shutil.disk_usage(tempfile.gettempdir()).free)
    return min(rows, max(1000, room // (2 * RAW_ROW_BYTES)))


def _fitted(rows: int, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as home:
        return dict(_child("fit_memory_child", str(rows), str(seed), home))


def _retrained(seed: int) -> list[dict[str, Any]]:
    arm = load_arm(arm_file("panda"))
    assert (arm.joints, history_of(arm)) == (JOINTS, HISTORY)
    found = []
    for minutes in _MINUTES:
        with tempfile.TemporaryDirectory() as home:
            log = Path(home) / "log_0.mcap"
            write_log(log, arm, minutes, seed)
            found.append({"minutes": minutes, **_child("fit_retrain_child", str(log), str(seed), home)})
        say(f"retrain of {minutes:g} min: {found[-1]['anonymous_bytes'] / 1e6:.0f} MB, {found[-1]['stages']}")
    return found


def _child(module: str, *arguments: str) -> dict[str, Any]:
    """The line that a child of its own ends with; it signs with a key that ends with its HOME."""
    command = [sys.executable, "-P", "-m", f"benchmarks.{module}", *arguments]
    environment = os.environ | {FOLDER_VARIABLE: str(Path(arguments[-1]) / "keys")}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=CHECKOUT, env=environment)
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return values
