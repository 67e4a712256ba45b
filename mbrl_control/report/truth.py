"""Reader of the simulator's truth file. The simulator itself is not imported: its opinion of the format is not needed.

One JSON header line, then little-endian records: int64 stamp_ns, int64 step, float64 position [J], velocity [J],
effort [J], tool [3], payload_mass, brakes. A partial last record is ignored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbrl_control.report.errors import ReportError
from mbrl_control.signals import Array

_FORMAT = "mbrl_control truth 1"


@dataclass(frozen=True, slots=True)
class Truth:
    """N simulator steps."""

    robot: str
    robot_sha256: tuple[str, ...]
    stamp_ns: NDArray[np.int64]
    step: NDArray[np.int64]
    position: Array
    """[N, J] rad."""
    velocity: Array
    """[N, J] rad/s."""
    tool: Array
    """[N, 3] m, base frame."""


def read_truth(path: Path) -> Truth:
    """All whole records. ReportError when the file is missing, foreign or empty."""
    if not path.is_file():
        raise ReportError(f"{path}: no such file; give the folder of a demo run")
    line, _, body = path.read_bytes().partition(b"\n")
    try:
        header = json.loads(line)
    except ValueError as error:
        raise ReportError(f"{path}: header: not JSON; give the truth file that the simulator wrote") from error
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise ReportError(f"{path}: header.format: is not {_FORMAT!r}; give a truth file of this version")
    joints = len(header["joint_names"])
    fields = [(name, "<f8", (joints,)) for name in ("position", "velocity", "effort")]
    record = np.dtype(
        [("stamp_ns", "<i8"), ("step", "<i8"), *fields, ("tool", "<f8", (3,)), ("payload", "<f8"), ("brakes", "<f8")]
    )
    rows = np.frombuffer(body, dtype=record, count=len(body) // record.itemsize)
    if len(rows) == 0:
        raise ReportError(f"{path}: records: none; give a run in which the simulator moved")
    columns = {name: rows[name].copy() for name in ("stamp_ns", "step", "position", "velocity", "tool")}
    return Truth(header["robot"], tuple(header["robot_sha256"]), **columns)
