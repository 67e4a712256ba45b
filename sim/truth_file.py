"""The simulator's truth on disk: one JSON header line, then fixed-size records. Readable after a kill at any moment.

Record, little endian: int64 stamp_ns, int64 step, float64 position [J], velocity [J], effort [J], tool [3],
payload_mass, brakes (0 or 1). A partial last record is ignored by the reader.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.robot import Arm
from mbrl_control.signals import Array
from sim.arm_sim import TruthState

FORMAT = "mbrl_control truth 1"
_FIRST = {"simulator": "mujoco", "command_interface": "velocity"}
FLUSH_NS = 100_000_000
"""Longest stretch of simulated time that a kill can take away."""


class TruthFileError(ValueError):
    """A truth file that cannot be read; names file, field and remedy."""


@dataclass(frozen=True, slots=True)
class TruthLog:
    """A truth file as arrays of N steps."""

    robot: str
    joint_names: tuple[str, ...]
    robot_sha256: tuple[str, ...]
    """Of the arm description and the URDF that the simulator ran with."""
    simulation: dict[str, Any]
    """Which simulator, which command interface; of older files, what there was then."""
    stamp_ns: NDArray[np.int64]
    """[N]"""
    step: NDArray[np.int64]
    """[N]"""
    position: Array
    """[N, J] rad."""
    velocity: Array
    """[N, J] rad/s."""
    effort: Array
    """[N, J] N m."""
    tool: Array
    """[N, 3] m, base frame."""
    payload_mass: Array
    """[N] kg."""
    brakes: NDArray[np.bool_]
    """[N]"""

    def __len__(self) -> int:
        return len(self.stamp_ns)


class TruthWriter:
    """Appends one record per physics step; hands them to the operating system every 100 ms of simulated time."""

    def __init__(self, path: str | Path, arm: Arm, simulation: Mapping[str, Any]) -> None:
        """``simulation``: JSON-ready facts about the simulator, see :func:`sim.engines.simulation_facts`."""
        self._file = Path(path).open("xb")  # noqa: SIM115  # "x": never over an older run; closed by close()
        header = {
            "format": FORMAT,
            "robot": arm.name,
            "joint_names": arm.joint_names,
            "robot_sha256": arm.sha256,
            "simulation": dict(simulation),
        }
        self._file.write(json.dumps(header).encode() + b"\n")
        self._file.flush()
        self._record = struct.Struct(f"<qq{3 * arm.joints + 5}d")
        self._flushed_ns: int | None = None

    def write(self, truth: TruthState) -> None:
        """Take one state; stamps must not decrease."""
        numbers = (*truth.position, *truth.velocity, *truth.effort, *truth.tool, truth.payload_mass, truth.brakes)
        self._file.write(self._record.pack(truth.stamp_ns, truth.step, *numbers))
        if self._flushed_ns is None:
            self._flushed_ns = truth.stamp_ns
        elif truth.stamp_ns - self._flushed_ns >= FLUSH_NS:
            self._file.flush()
            self._flushed_ns = truth.stamp_ns

    def close(self) -> None:
        """Hand the rest to the operating system and close."""
        self._file.close()

    def __enter__(self) -> TruthWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_truth(path: str | Path) -> TruthLog:
    """Every whole record of a truth file.

    Raises:
        TruthFileError: no such file, or not a truth file.
    """
    path = Path(path)
    if not path.is_file():
        raise TruthFileError(f"{path}: no such file; give the truth file that the simulator wrote")
    line, _, body = path.read_bytes().partition(b"\n")
    header = _header(path, line)
    joints = len(header["joint_names"])
    names = ("position", "velocity", "effort")
    record = np.dtype(
        [("stamp_ns", "<i8"), ("step", "<i8")]
        + [(name, "<f8", (joints,)) for name in names]
        + [("tool", "<f8", (3,)), ("payload_mass", "<f8"), ("brakes", "<f8")]
    )
    rows = np.frombuffer(body, dtype=record, count=len(body) // record.itemsize)
    columns = {name: rows[name].copy() for name in ("stamp_ns", "step", *names, "tool", "payload_mass")}
    columns["brakes"] = rows["brakes"] > 0.5
    names, sha256 = tuple(header["joint_names"]), tuple(header["robot_sha256"])
    simulation = header.get("simulation", _FIRST)
    return TruthLog(robot=header["robot"], joint_names=names, robot_sha256=sha256, simulation=simulation, **columns)


def _header(path: Path, line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError as error:
        raise TruthFileError(f"{path}: header: not JSON; give a truth file, not another log") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise TruthFileError(f"{path}: header: format is not {FORMAT!r}; give a truth file of this version")
    missing = [key for key in ("robot", "joint_names", "robot_sha256") if key not in header]
    if missing:
        raise TruthFileError(f"{path}: header: {missing[0]} is missing; give a truth file of this version")
    return header
