"""The four streams of a log that training rows are made of, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbrl_control.command_interface import ON_WIRE
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.episode_log.schema import BELIEF, PHASE, RELAY_STATUS, SAFE_COMMAND, SAFETY_STATUS
from mbrl_control.replay.columns import Columns, Fields, Repair, Table
from mbrl_control.replay.growing_array import GrowingArray
from mbrl_control.replay.measured_effort import measured_effort
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
    unmeasured_ns: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """[U] stamps of the beliefs whose effort was not measured, where others' was: zero stands in its place."""
    effort_absent: tuple[str, ...] = ()
    """Joints whose effort no belief holds: zeros."""
    repairs: tuple[Repair, ...] = ()
    """Messages that were not taken as they came."""

    @property
    def payloads_kg(self) -> tuple[float, ...]:
        """[P+1] declared in each session, oldest first."""
        if self.session_kg or not len(self.payload_ns):
            return self.session_kg or (self.payload_kg,)
        raise ValueError("streams: payload_ns has changes whose masses nobody told: fill session_kg")


def read_streams(path: Path, phase: str | None = None, newest_ns: int | None = None) -> Streams:
    """Decode the needed topics of one log, whole or only the newest stretch of ``phase`` (as the topic says it).

    ``newest_ns``: only what was received in so long before the log's last message; None: everything.
    LogError when a topic is missing, inconsistent or, but for efforts, not finite (it names the first such message), or
    when there is no such phase. What was mended is in `Streams.repairs`.
    """
    return streams_of(LogReader(path, newest_ns=newest_ns), phase)


def streams_of(reader: LogReader, phase: str | None = None) -> Streams:
    """As `read_streams`, of what ``reader`` gives; it goes through the log twice where a phase is asked for."""
    path = reader.path
    columns = {topic: Columns(path, topic, fields) for topic, fields in _FIELDS.items()}
    for topic, _, message in reader.messages(tuple(columns)):
        columns[topic].add(message)
    span = (-_END_NS, _END_NS) if phase is None else phase_stretch(path, reader, phase)
    found = {topic: each.between(*span) for topic, each in columns.items()}
    for topic in (BELIEF, SAFE_COMMAND, RELAY_STATUS):
        if not len(found[topic]):
            raise LogError(path, topic.name, "holds no message", "log the whole graph while the arm moves")
    beliefs, commands, relays, statuses = (found[topic] for topic in _FIELDS)
    names = _joint_names(path, beliefs, commands)
    measured = measured_effort(beliefs, names)
    wanted = ((beliefs, "position"), (beliefs, "velocity"), (commands, "applied"))
    matrices = [table.matrix(name, len(names)) for table, name in wanted]
    position, velocity, applied, effort = _settled([*matrices, measured.effort])
    payload = statuses.scalars["payload"]
    return Streams(
        joint_names=names,
        belief_ns=beliefs.stamp_ns,
        position=position,
        velocity=velocity,
        effort=effort,
        command_ns=commands.stamp_ns,
        applied=applied,
        drives_enabled=_in_force(commands),
        relay_ns=relays.stamp_ns,
        publishing=(relays.scalars["publishing"] != 0) & (relays.scalars["dry_run"] == 0),
        payload_ns=statuses.stamp_ns[1:][np.diff(payload) != 0.0],
        payload_kg=float(payload[-1]) if len(payload) else 0.0,
        interface=_interface(path, commands),
        session_kg=_payloads(statuses),
        unmeasured_ns=measured.unmeasured_ns,
        effort_absent=measured.absent,
        repairs=(*(repair for table in found.values() for repair in table.repairs), *measured.repairs),
    )


_FIELDS = {
    BELIEF: Fields(vectors=("position", "velocity", "effort"), named=True),
    SAFE_COMMAND: Fields(
        {"drives_enabled": "b", "sequence": "Q", "interface": "B"}, ("interface",), ("applied",), named=True
    ),
    RELAY_STATUS: Fields({"publishing": "b", "dry_run": "b"}),
    SAFETY_STATUS: Fields({"payload": "d"}),
}
_END_NS = 2**63 - 1


def phase_stretch(path: Path, reader: LogReader, phase: str) -> tuple[int, int]:
    """[begin, end) ns of the newest stretch of ``phase``; open-ended while it lasts."""
    marks = sorted((published, message.data) for _, published, message in reader.messages((PHASE,)))
    newest = max((i for i, (_, name) in enumerate(marks) if name == phase), default=None)
    if newest is None:
        known = ", ".join(sorted({name for _, name in marks})) or "none"
        raise LogError(path, PHASE.name, f"never was '{phase}'", f"name one of its phases: {known}")
    later = [published for published, name in marks[newest + 1 :] if name != phase]
    return marks[newest][0], later[0] if later else _END_NS


def _settled(matrices: Sequence[Array]) -> list[Array]:
    """The same, side by side in one array: of a long log in one file, and so in one descriptor."""
    grown = GrowingArray()
    for matrix in matrices:
        grown.append(matrix.reshape(-1))
    parts = np.split(grown.array(), np.cumsum([matrix.size for matrix in matrices])[:-1])
    return [part.reshape(matrix.shape) for part, matrix in zip(parts, matrices, strict=True)]


def _in_force(commands: Table) -> NDArray[np.bool_]:
    """[C] drives on, and the next command that was sent is in the log: else nobody knows until when this one held."""
    step = np.diff(commands.scalars["sequence"]).astype(np.int64)  # of unsigned numbers, which wrap: also backwards
    return np.asarray((commands.scalars["drives_enabled"] != 0) & np.append(step <= 1, True), dtype=np.bool_)


def _joint_names(path: Path, beliefs: Table, commands: Table) -> tuple[str, ...]:
    """Of all messages of both; LogError where there is more than one order."""
    told = sorted(beliefs.joint_names)
    for topic, table in ((BELIEF, beliefs), (SAFE_COMMAND, commands)):
        if table.joint_names != {told[0]}:
            raise LogError(path, f"{topic.name}.joint_names", f"differ from {list(told[0])}", "give the log of one arm")
    return told[0]


def _interface(path: Path, commands: Table) -> CommandInterface:
    """Logs from before there were torques say nothing: they hold velocities."""
    numbers = set(commands.scalars["interface"].tolist())
    if len(numbers) != 1 or not numbers <= {0, 1}:
        raise LogError(path, f"{SAFE_COMMAND.name}.interface", f"is {sorted(numbers)}", "give a log of one interface")
    return ON_WIRE[numbers.pop()]


def _payloads(statuses: Table) -> tuple[float, ...]:
    """Each declared one, repetitions left out; none declared is none carried."""
    payload = statuses.scalars["payload"]
    bad = ~(np.isfinite(payload) & (payload >= 0.0))
    statuses.refuse("payload", bad, "is negative or not finite", "leave this log out")
    told = payload if len(payload) else np.zeros(1)
    return tuple(told[np.append(True, np.diff(told) != 0.0)].tolist())
