"""The stream that `bench log` logs: the graph's fast topics at their rates and sizes, 1,040 messages a second together.

Numbers are those of seven joints with noise in their last digits, as sensors, filters and optimizers give them: a
stream of round numbers would be packed into nothing. Names and definitions repeat, as in the graph. All of it is a
function of the time: whoever makes the stream anew has the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mbrl_control.episode_log.definitions import full_definition
from mbrl_control.episode_log.schema import (
    BELIEF,
    CONTROLLER_COMMANDS,
    JOINT_STATES,
    PLAN,
    PLANNER_REPORT,
    RELAY_STATUS,
    SAFE_COMMAND,
    SAFETY_STATUS,
    Topic,
)
from mbrl_control.signals import Array

JOINTS, KNOTS = 7, 16
NAMES = [f"panda_joint{index + 1}" for index in range(JOINTS)]
TERMS = ["reach", "reach_terminal", "speed_near_goal", "speed_terminal", "smooth", "posture", "limits", "spread"]
PERIODS_MS: dict[Topic, int] = {
    JOINT_STATES: 4,
    BELIEF: 4,
    SAFE_COMMAND: 5,
    CONTROLLER_COMMANDS: 5,
    PLAN: 20,
    PLANNER_REPORT: 20,
    RELAY_STATUS: 50,
    SAFETY_STATUS: 50,
}
RATE_HZ = sum(1000 / period for period in PERIODS_MS.values())
"""Of the graph, and of the stream."""
_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Message:
    """One of the stream."""

    topic: Topic
    due_ns: int
    cdr: bytes


@dataclass(frozen=True, slots=True)
class Moment:
    """What the arm does at one time, [J] each."""

    position: Array
    velocity: Array
    command: Array
    effort: Array


def messages(start_ns: int, seconds: float, slower: int = 1) -> list[Message]:
    """In the order of their time; stamps from ``start_ns`` on. ``slower``: as many times longer between messages."""
    store, generator, rows = Store(), np.random.default_rng(0), list[Message]()
    for topic, period in PERIODS_MS.items():
        for offset in range(0, round(seconds * 1e3), period * slower):
            stamp_ns = start_ns + offset * _MS
            values = _values(topic, _moment(offset * 1e-3, generator), generator)
            rows.append(Message(topic, stamp_ns, store.cdr(topic, stamp_ns, values)))
    return sorted(rows, key=lambda row: row.due_ns)


def _moment(time_s: float, generator: np.random.Generator) -> Moment:
    pace = 1.0 + 0.3 * np.arange(JOINTS)
    noise = generator.normal(size=(4, JOINTS))
    return Moment(
        np.sin(pace * time_s) + 1e-5 * noise[0],
        pace * np.cos(pace * time_s) + 1e-3 * noise[1],
        pace * np.cos(pace * (time_s + 0.03)) + 1e-3 * noise[2],
        20.0 * np.sin(pace * time_s) + 0.1 * noise[3],
    )


def _values(topic: Topic, now: Moment, generator: np.random.Generator) -> dict[str, Any]:
    """Fields of a message but for stamps and number; those that are not named are zero or empty."""
    state = {"position": now.position, "velocity": now.velocity, "effort": now.effort}
    if topic is JOINT_STATES:
        return state | {"name": NAMES}
    if topic is BELIEF:
        return state | {"joint_names": NAMES, "covariance": generator.gamma(5.0, 1e-6, 3 * JOINTS)}
    if topic is SAFE_COMMAND:
        names = {"joint_names": NAMES, "drives_enabled": True}
        return names | {"requested": now.command + 1e-4 * generator.normal(size=JOINTS), "applied": now.command}
    if topic is CONTROLLER_COMMANDS:
        return {"data": now.command}
    if topic is PLAN:
        return _plan(now, generator)
    if topic is PLANNER_REPORT:
        numbers = ("lateness", "rollforward", "optimize", "total", "slack", "best_cost", "delay")
        spent = dict(zip(numbers, generator.gamma(3.0, 1e-3, len(numbers)).tolist(), strict=True))
        said = {"model_id": "panda/1", "method": "icem", "rollouts": "cpu, 1 lane of 1 thread", "iterations": 3}
        return said | spent | {"term_names": TERMS, "terms": generator.gamma(2.0, 1.0, len(TERMS))}
    if topic is RELAY_STATUS:
        return {"publishing": True, "last_sent": now.command}
    return {"state": 2, "speed_scale": 0.5, "model_id": "panda/1", "has_spread": True, "reasons": ["goal in force"]}


def _plan(now: Moment, generator: np.random.Generator) -> dict[str, Any]:
    def around(value: Array) -> Array:
        return np.asarray(value + 0.01 * generator.normal(size=(KNOTS, JOINTS)).cumsum(axis=0)).ravel()

    rows = {name: around(getattr(now, name)) for name in ("position", "velocity", "effort")}
    return rows | {
        "model_id": "panda/1", "joint_names": NAMES, "times": 0.02 * np.arange(KNOTS), "knots": around(now.command),
        "variance": generator.gamma(2.0, 1e-5, KNOTS * 3 * JOINTS), "epistemic": generator.gamma(2.0, 1e-3, KNOTS),
    }  # fmt: skip


class Store:
    """Serializes messages of the graph's fast topics."""

    def __init__(self) -> None:
        self._store = get_typestore(Stores.EMPTY)
        for topic in PERIODS_MS:
            types = get_types_from_msg(full_definition(topic.type), topic.type)
            known = self._store.fielddefs
            self._store.register({name: spec for name, spec in types.items() if name not in known})
        self._sequence = 0

    def cdr(self, topic: Topic, stamp_ns: int, values: Mapping[str, Any]) -> bytes:
        """Fields by name; those that are not given are zero, empty, ``stamp_ns`` or the number of the message."""
        self._sequence += 1
        kind = self._store.types[topic.type]
        given = {"sequence": self._sequence, "tick": self._sequence, "cycle": self._sequence, **values}
        fields = {
            name: given[name] if name in given else self._default(spec, stamp_ns)
            for name, spec in self._store.fielddefs[topic.type][1]
        }
        return bytes(self._store.serialize_cdr(kind(**fields), topic.type))

    def _default(self, spec: Any, stamp_ns: int) -> Any:
        """Of a field: zero, empty, or ``stamp_ns`` where it is a time; a message of such fields."""
        node, detail = spec
        if node == 1:
            return {"string": "", "bool": False}.get(detail[0], 0)
        if node == 2:
            if detail == "builtin_interfaces/msg/Time":
                return self._store.types[detail](stamp_ns // 10**9, stamp_ns % 10**9)
            inner = {name: self._default(each, stamp_ns) for name, each in self._store.fielddefs[detail][1]}
            return self._store.types[detail](**inner)
        (kind, element), size = detail
        return np.zeros(size) if kind == 1 and element[0] != "string" else [""] * size
