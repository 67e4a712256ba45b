"""The four streams of a log that training rows are made of, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import LogReader, stamp_ns
from mbrl_control.episode_log.schema import BELIEF, RELAY_STATUS, SAFE_COMMAND, SAFETY_STATUS, Topic
from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class Streams:
    """Stamps strictly increase within each stream."""

    joint_names: tuple[str, ...]
    belief_ns: NDArray[np.int64]
    """[B]."""
    position: Array
    """[B, J] rad."""
    velocity: Array
    """[B, J] rad/s."""
    effort: Array
    """[B, J] N m."""
    command_ns: NDArray[np.int64]
    """[C]."""
    applied: Array
    """[C, J] rad/s."""
    drives_enabled: NDArray[np.bool_]
    """[C]."""
    relay_ns: NDArray[np.int64]
    """[R]."""
    publishing: NDArray[np.bool_]
    """[R]."""
    payload_ns: NDArray[np.int64]
    """[P] times at which the declared payload changed; the first declaration seen is not a change."""
    payload_kg: float
    """Declared at the end of the log."""


def read_streams(path: Path) -> Streams:
    """Decode the needed topics of one log. LogError when one is missing, inconsistent or not finite."""
    found = LogReader(path).decoded((BELIEF, SAFE_COMMAND, RELAY_STATUS, SAFETY_STATUS))
    for topic in (BELIEF, SAFE_COMMAND, RELAY_STATUS):
        if not found[topic]:
            raise LogError(path, topic.name, "holds no message", "log the whole graph while the arm moves")
    beliefs, commands, relays = (_ordered(found[t]) for t in (BELIEF, SAFE_COMMAND, RELAY_STATUS))
    statuses = _ordered(found[SAFETY_STATUS])
    names = _joint_names(path, (BELIEF, beliefs), (SAFE_COMMAND, commands))
    count = len(names)
    return Streams(
        joint_names=names,
        belief_ns=_stamps(beliefs),
        position=_matrix(path, BELIEF, beliefs, "position", count),
        velocity=_matrix(path, BELIEF, beliefs, "velocity", count),
        effort=_matrix(path, BELIEF, beliefs, "effort", count),
        command_ns=_stamps(commands),
        applied=_matrix(path, SAFE_COMMAND, commands, "applied", count),
        drives_enabled=np.array([m.drives_enabled for m in commands], dtype=np.bool_),
        relay_ns=_stamps(relays),
        publishing=np.array([m.publishing and not m.dry_run for m in relays], dtype=np.bool_),
        payload_ns=_payload_changes(statuses),
        payload_kg=statuses[-1].payload if statuses else 0.0,
    )


def _ordered(messages: list[Any]) -> list[Any]:
    """Sort by stamp; of equal stamps the last one logged stays."""
    by_stamp = {stamp_ns(m.stamp): m for m in messages}
    return [by_stamp[stamp] for stamp in sorted(by_stamp)]


def _stamps(messages: list[Any]) -> NDArray[np.int64]:
    return np.array([stamp_ns(m.stamp) for m in messages], dtype=np.int64)


def _joint_names(path: Path, *streams: tuple[Topic, list[Any]]) -> tuple[str, ...]:
    names = tuple(streams[0][1][0].joint_names)
    for topic, messages in streams:
        if any(tuple(m.joint_names) != names for m in messages):
            raise LogError(path, f"{topic.name}.joint_names", f"differ from {list(names)}", "give the log of one arm")
    return names


def _matrix(path: Path, topic: Topic, messages: list[Any], field: str, joints: int) -> Array:
    rows = [getattr(m, field) for m in messages]
    if any(len(row) != joints for row in rows):
        raise LogError(path, f"{topic.name}.{field}", f"has not {joints} entries", "give the log of one arm")
    values = np.asarray(rows, dtype=np.float64)
    if not np.isfinite(values).all():
        raise LogError(path, f"{topic.name}.{field}", "is not finite", "leave this log out")
    return values


def _payload_changes(statuses: list[Any]) -> NDArray[np.int64]:
    payload = np.array([m.payload for m in statuses], dtype=np.float64)
    changed = np.flatnonzero(np.diff(payload) != 0.0) + 1
    return _stamps(statuses)[changed] if len(statuses) else np.empty(0, dtype=np.int64)
