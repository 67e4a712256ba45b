"""The four streams of a log that training rows are made of, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.command_interface import ON_WIRE
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import LogReader, stamp_ns
from mbrl_control.episode_log.schema import BELIEF, PHASE, RELAY_STATUS, SAFE_COMMAND, SAFETY_STATUS, Topic
from mbrl_control.signals import Array, CommandInterface


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
    """[C, J] rad/s or N m."""
    drives_enabled: NDArray[np.bool_]
    """[C] not where the command that followed is missing in the log, either."""
    relay_ns: NDArray[np.int64]
    """[R]."""
    publishing: NDArray[np.bool_]
    """[R]."""
    payload_ns: NDArray[np.int64]
    """[P] times at which the declared payload changed; the first declaration seen is not a change."""
    payload_kg: float
    """Declared at the end of the log."""
    interface: CommandInterface = CommandInterface.VELOCITY
    """What the commands are."""
    session_kg: tuple[float, ...] = ()
    """[P+1] declared before the first change and from each on; empty where only the last is known."""

    @property
    def payloads_kg(self) -> tuple[float, ...]:
        """[P+1] declared in each session, oldest first."""
        if self.session_kg or not len(self.payload_ns):
            return self.session_kg or (self.payload_kg,)
        raise ValueError("streams: payload_ns has changes whose masses nobody told: fill session_kg")


def read_streams(path: Path, phase: str | None = None, newest_ns: int | None = None) -> Streams:
    """Decode the needed topics of one log, whole or only the newest stretch of ``phase`` (as the topic says it).

    ``newest_ns``: only what was received in so long before the log's last message; None: everything.
    LogError when a topic is missing, inconsistent or not finite, or when there is no such phase.
    """
    reader = LogReader(path, newest_ns=newest_ns)
    found = reader.decoded((BELIEF, SAFE_COMMAND, RELAY_STATUS, SAFETY_STATUS))
    if phase is not None:
        begin, end = phase_stretch(path, reader, phase)
        found = {topic: [m for m in rows if begin <= stamp_ns(m.stamp) < end] for topic, rows in found.items()}
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
        drives_enabled=_in_force(commands),
        relay_ns=_stamps(relays),
        publishing=np.array([m.publishing and not m.dry_run for m in relays], dtype=np.bool_),
        payload_ns=_payload_changes(statuses),
        payload_kg=statuses[-1].payload if statuses else 0.0,
        interface=_interface(path, commands),
        session_kg=_payloads(path, statuses),
    )


def phase_stretch(path: Path, reader: LogReader, phase: str) -> tuple[int, int]:
    """[begin, end) ns of the newest stretch of ``phase``; open-ended while it lasts."""
    marks = sorted((published, message.data) for _, published, message in reader.messages((PHASE,)))
    newest = max((i for i, (_, name) in enumerate(marks) if name == phase), default=None)
    if newest is None:
        known = ", ".join(sorted({name for _, name in marks})) or "none"
        raise LogError(path, PHASE.name, f"never was '{phase}'", f"name one of its phases: {known}")
    later = [published for published, name in marks[newest + 1 :] if name != phase]
    return marks[newest][0], later[0] if later else 2**63 - 1


def _ordered(messages: list[Any]) -> list[Any]:
    """Sort by stamp; of equal stamps the last one logged stays."""
    by_stamp = {stamp_ns(m.stamp): m for m in messages}
    return [by_stamp[stamp] for stamp in sorted(by_stamp)]


def _stamps(messages: list[Any]) -> NDArray[np.int64]:
    return np.array([stamp_ns(m.stamp) for m in messages], dtype=np.int64)


def _in_force(commands: list[Any]) -> NDArray[np.bool_]:
    """[C] drives on, and the next command that was sent is in the log: else nobody knows until when this one held."""
    follows = [later.sequence - one.sequence <= 1 for one, later in pairwise(commands)]
    return np.array([m.drives_enabled for m in commands], dtype=np.bool_) & np.array([*follows, True], dtype=np.bool_)


def _joint_names(path: Path, *streams: tuple[Topic, list[Any]]) -> tuple[str, ...]:
    names = tuple(streams[0][1][0].joint_names)
    for topic, messages in streams:
        if any(tuple(m.joint_names) != names for m in messages):
            raise LogError(path, f"{topic.name}.joint_names", f"differ from {list(names)}", "give the log of one arm")
    return names


def _interface(path: Path, commands: list[Any]) -> CommandInterface:
    """Logs from before there were torques say nothing: they hold velocities."""
    numbers = {getattr(command, "interface", 0) for command in commands}
    if len(numbers) != 1 or not numbers <= {0, 1}:
        raise LogError(path, f"{SAFE_COMMAND.name}.interface", f"is {sorted(numbers)}", "give a log of one interface")
    return ON_WIRE[numbers.pop()]


def _matrix(path: Path, topic: Topic, messages: list[Any], field: str, joints: int) -> Array:
    rows = [getattr(m, field) for m in messages]
    if any(len(row) != joints for row in rows):
        raise LogError(path, f"{topic.name}.{field}", f"has not {joints} entries", "give the log of one arm")
    values = np.asarray(rows, dtype=np.float64)
    if not np.isfinite(values).all():
        raise LogError(path, f"{topic.name}.{field}", "is not finite", "leave this log out")
    return values


def _payloads(path: Path, statuses: list[Any]) -> tuple[float, ...]:
    """Each declared one, repetitions left out; none declared is none carried."""
    told = [float(m.payload) for m in statuses] or [0.0]
    if not all(np.isfinite(mass) and mass >= 0.0 for mass in told):
        raise LogError(path, f"{SAFETY_STATUS.name}.payload", "is negative or not finite", "leave this log out")
    return (told[0], *(now for before, now in pairwise(told) if now != before))


def _payload_changes(statuses: list[Any]) -> NDArray[np.int64]:
    payload = np.array([m.payload for m in statuses], dtype=np.float64)
    changed = np.flatnonzero(np.diff(payload) != 0.0) + 1
    return _stamps(statuses)[changed] if len(statuses) else np.empty(0, dtype=np.int64)
