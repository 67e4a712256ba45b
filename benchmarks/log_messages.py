"""The stream that `bench log` logs: a graph's fast topics at 1 kHz together, every value a function of its time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mbrl_control.episode_log.definitions import full_definition
from mbrl_control.episode_log.schema import BELIEF, RELAY_STATUS, SAFE_COMMAND, SAFETY_STATUS, Topic
from mbrl_control.signals import Array

JOINTS = 7
NAMES = tuple(f"joint{index + 1}" for index in range(JOINTS))
PERIODS_MS: dict[Topic, int] = {BELIEF: 2, SAFE_COMMAND: 2, RELAY_STATUS: 50, SAFETY_STATUS: 50}
"""500 + 500 + 20 + 20 messages a second."""
_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Message:
    """One of the stream."""

    topic: Topic
    due_ns: int
    cdr: bytes


def position_at(seconds: Array) -> Array:
    """[N] s -> [N, J] rad."""
    return np.sin(seconds[:, None] * (1.0 + np.arange(JOINTS)))


def command_at(seconds: Array) -> Array:
    """[N] s -> [N, J] rad/s."""
    return np.cos(seconds[:, None] * (2.0 + np.arange(JOINTS)))


def messages(start_ns: int, seconds: float) -> list[Message]:
    """In the order of their time; stamps from ``start_ns`` on."""
    store, rows = Store(), list[Message]()
    for topic, period in PERIODS_MS.items():
        offsets = np.arange(0, round(seconds * 1e3), period) * _MS
        due_s: Array = np.asarray(offsets * 1e-9, dtype=np.float64)
        positions, commands = position_at(due_s), command_at(due_s)
        for offset, position, command in zip(offsets.tolist(), positions, commands, strict=True):
            values = {
                "joint_names": list(NAMES), "position": position, "velocity": command, "effort": position,
                "applied": command, "requested": command, "drives_enabled": True, "publishing": True,
                "sequence": len(rows) + 1, "covariance": np.zeros(3 * JOINTS),
            }  # fmt: skip
            cdr = store.cdr(topic, start_ns + offset, values)
            rows.append(Message(topic, start_ns + offset, cdr))
    return sorted(rows, key=lambda row: row.due_ns)


class Store:
    """Serializes messages of the graph's fast topics."""

    def __init__(self) -> None:
        self._store = get_typestore(Stores.EMPTY)
        for topic in PERIODS_MS:
            types = get_types_from_msg(full_definition(topic.type), topic.type)
            known = self._store.fielddefs
            self._store.register({name: spec for name, spec in types.items() if name not in known})

    def cdr(self, topic: Topic, stamp_ns: int, values: Mapping[str, Any]) -> bytes:
        """Fields by name, as far as the topic has them; all others are zero or empty."""
        stamp = self._store.types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
        told = {**values, "stamp": stamp}
        kind = self._store.types[topic.type]
        fields = {name: told.get(name, self._empty(spec)) for name, spec in self._store.fielddefs[topic.type][1]}
        return bytes(self._store.serialize_cdr(kind(**fields), topic.type))

    def _empty(self, spec: Any) -> Any:
        """Zero of a field: numbers, texts, times, lists of numbers or texts."""
        node, detail = spec
        if node == 1:
            return {"string": "", "bool": False}.get(detail[0], 0)
        if node == 2:
            return self._store.types["builtin_interfaces/msg/Time"](0, 0)
        (_, element), size = detail
        return [""] * size if element[0] == "string" else np.zeros(size)
