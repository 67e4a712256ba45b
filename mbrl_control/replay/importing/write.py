"""The resampled streams as messages of this project's log, so that whatever reads logs reads these too.

`belief` is the recorded sample itself, its covariance the arm description's sensor noise. `safe_command` carries the
commands; one with drives off ends every stretch of them. `relay_status` publishes exactly while there are both, so no
training row reaches across a gap, however short it is. `safety_status` says what was carried, and
where a task ended (`replay.task_ends`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import merge
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mbrl_control.command_interface import ON_WIRE
from mbrl_control.episode_log.definitions import full_definition
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.rotation import FolderWriter, Limits
from mbrl_control.episode_log.schema import BELIEF, RELAY_STATUS, SAFE_COMMAND, SAFETY_STATUS, Topic
from mbrl_control.replay.importing.resample import Resampled, common_spans
from mbrl_control.replay.task_ends import TASK_ENDED
from mbrl_control.robot import Arm
from mbrl_control.signals import Array

_TOPICS = (BELIEF, SAFE_COMMAND, RELAY_STATUS, SAFETY_STATUS)
_LIMITS = Limits(quota_bytes=1 << 62)
"""An import is whole or fails: nothing of it makes room for the rest."""
_PROGRESS_EVERY = 1000
_Message = tuple[int, Topic, bytes]


def write_log(
    folder: Path,
    state: Resampled,
    command: Resampled,
    arm: Arm,
    payload_kg: float,
    ends_ns: tuple[int, ...],
    progress: Callable[[float], None],
) -> int:
    """Write the folder of a log, messages in the order of their stamps; how many. ``ends_ns``: where tasks ended,
    ascending. LogError when the disk is full."""
    encoder = _Encoder()
    begin = min(int(state.stretches[0].stamp_ns[0]), int(command.stretches[0].stamp_ns[0]))
    streams = merge(
        _statuses(encoder, begin, ends_ns, payload_kg),
        _relay(encoder, state, command),
        _commands(encoder, command, arm),
        _beliefs(encoder, state, arm),
        key=lambda message: message[0],
    )
    total, count = sum(len(s.stamp_ns) for part in (state, command) for s in part.stretches), 0
    with FolderWriter(folder, _LIMITS) as writer:
        for topic in _TOPICS:
            writer.add_topic(f"/{arm.name}/{topic.name}", topic.type)
        for stamp, topic, body in streams:
            writer.write(f"/{arm.name}/{topic.name}", body, stamp)
            count += 1
            if count % _PROGRESS_EVERY == 0:
                progress(min(count / total, 1.0))
    if writer.dropped or writer.fault:
        problem = f"did not take {writer.dropped.total()} messages or more ({writer.fault})"
        raise LogError(folder, "disk", problem, "free the disk")
    return count


def _statuses(encoder: _Encoder, begin_ns: int, ends_ns: tuple[int, ...], payload_kg: float) -> Iterator[_Message]:
    for stamp, reason in ((begin_ns, "imported"), *((end, TASK_ENDED) for end in ends_ns)):
        yield stamp, SAFETY_STATUS, encoder.cdr(SAFETY_STATUS, stamp=stamp, payload=payload_kg, reasons=[reason])


def _beliefs(encoder: _Encoder, state: Resampled, arm: Arm) -> Iterator[_Message]:
    covariance = np.zeros((arm.joints, 3))
    covariance[:, 0], covariance[:, 2] = arm.noise.position_std**2, arm.noise.velocity_std**2
    sequence = 0
    for stretch in state.stretches:
        effort = stretch.values.get("effort", np.zeros((len(stretch.stamp_ns), arm.joints)))
        rows = zip(
            stretch.stamp_ns.tolist(), stretch.values["position"], stretch.values["velocity"], effort, strict=True
        )
        for stamp, position, velocity, torque in rows:
            body = encoder.cdr(
                BELIEF, stamp=stamp, joint_names=list(arm.joint_names), position=position, velocity=velocity,
                effort=torque, covariance=covariance.reshape(-1), sequence=sequence,
            )  # fmt: skip
            sequence += 1
            yield stamp, BELIEF, body


def _commands(encoder: _Encoder, command: Resampled, arm: Arm) -> Iterator[_Message]:
    tick = 0
    for stretch in command.stretches:
        last: tuple[int, Array] = (stretch.end_ns, np.zeros(arm.joints))
        for stamp, applied in [*zip(stretch.stamp_ns.tolist(), stretch.values["command"], strict=True), last]:
            on = stamp < stretch.end_ns
            body = encoder.cdr(
                SAFE_COMMAND, stamp=stamp, tick=tick, sequence=tick, joint_names=list(arm.joint_names),
                interface=ON_WIRE.index(arm.interface), requested=applied, applied=applied, drives_enabled=on,
                reason="" if on else "end of the recorded commands",
            )  # fmt: skip
            tick += 1
            yield stamp, SAFE_COMMAND, body


def _relay(encoder: _Encoder, state: Resampled, command: Resampled) -> Iterator[_Message]:
    for start, end in common_spans(state, command):
        for stamp, publishing in ((start, True), (end, False)):
            yield stamp, RELAY_STATUS, encoder.cdr(RELAY_STATUS, stamp=stamp, publishing=publishing)


class _Encoder:
    """Serializes this project's messages without ROS; fields that are not given are zero or empty."""

    def __init__(self) -> None:
        self._store: Any = get_typestore(Stores.EMPTY)
        for topic in _TOPICS:
            types = get_types_from_msg(full_definition(topic.type), topic.type)
            self._store.register({name: spec for name, spec in types.items() if name not in self._store.fielddefs})
        self._empty = {topic: self._defaults(topic.type) for topic in _TOPICS}

    def cdr(self, topic: Topic, stamp: int, **values: Any) -> bytes:
        """One message; ``stamp`` in ns."""
        fields = {**self._empty[topic], "stamp": self._time(stamp), **values}
        return bytes(self._store.serialize_cdr(self._store.types[topic.type](**fields), topic.type))

    def _time(self, ns: int) -> Any:
        return self._store.types["builtin_interfaces/msg/Time"](ns // 1_000_000_000, ns % 1_000_000_000)

    def _defaults(self, kind: str) -> dict[str, Any]:
        empty: dict[str, Any] = {"string": "", "bool": False, "float64": 0.0, "float32": 0.0}
        fields = {}
        for name, (node, detail) in self._store.fielddefs[kind][1]:
            if node.name == "BASE":
                fields[name] = empty.get(detail[0], 0)
            elif node.name == "NAME":
                fields[name] = self._time(0)
            else:
                fields[name] = [] if detail[0][1][0] == "string" else np.zeros(0)
        return fields
