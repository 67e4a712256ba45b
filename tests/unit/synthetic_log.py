"""Logs of a synthetic arm whose delay and lag are known exactly, for the tests of log, replay and report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from scipy.signal import lfilter

from mbrl_control.episode_log.definitions import full_definition
from mbrl_control.episode_log.schema import GRAPH_TOPICS, Topic
from mbrl_control.episode_log.writer import LogWriter
from mbrl_control.replay.streams import Streams

T0_NS = 1_700_000_000_000_000_000
NAMES = ("shoulder", "elbow")


def message_types() -> Any:
    """Typestore with every message of the graph."""
    store = get_typestore(Stores.EMPTY)
    for topic in GRAPH_TOPICS:
        types = get_types_from_msg(full_definition(topic.type), topic.type)
        store.register({name: spec for name, spec in types.items() if name not in store.fielddefs})
    return store


STORE = message_types()


def time_message(ns: int) -> Any:
    return STORE.types["builtin_interfaces/msg/Time"](ns // 1_000_000_000, ns % 1_000_000_000)


def fill(kind: type, values: dict[str, Any]) -> Any:
    """A message with zero or empty values except for ``values``."""
    empty = {"string": "", "bool": False, "float64": 0.0, "float32": 0.0}
    fields: dict[str, Any] = {}
    for name, (node, detail) in STORE.fielddefs[kind.__msgtype__][1]:
        if name in values:
            fields[name] = values[name]
        elif node == 1:
            fields[name] = empty.get(detail[0], 0)
        elif node == 2:
            fields[name] = time_message(T0_NS)
        else:
            element, size = detail
            text = element[0] == 1 and element[1][0] == "string"
            fields[name] = [""] * size if text else np.zeros(size)
    return kind(**fields)


def message(topic: Topic, **values: Any) -> bytes:
    """Serialized message of ``topic``; a `stamp` is given in nanoseconds."""
    values = {k: time_message(v) if k in _TIMES else v for k, v in values.items()}
    return bytes(STORE.serialize_cdr(fill(STORE.types[topic.type], values), topic.type))


_TIMES = ("stamp", "start", "belief_stamp", "optimized_stamp", "deadline")


@dataclass(frozen=True, slots=True)
class Arm:
    """Two joints with a first-order velocity lag behind a pure delay."""

    delay_ms: int = 12
    lag_ms: tuple[float, float] = (35.0, 55.0)
    noise: float = 0.002


def arm_streams(arm: Arm, seconds: float, rng: np.random.Generator, start_ns: int = T0_NS) -> Streams:
    """Commands at 200 Hz, beliefs at 250 Hz, the arm simulated exactly at 1 ms."""
    steps = int(seconds * 1000)
    knots = rng.normal(size=(steps // 60 + 3, 2)) * 0.5
    time = np.arange(steps)
    ticks = np.stack([np.interp(time, np.arange(len(knots)) * 60, column) for column in knots.T], axis=1)[::5]
    held = np.repeat(ticks, 5, axis=0)[:steps]
    delayed = np.vstack([np.zeros((arm.delay_ms, 2)), held])[:steps]
    velocity = np.empty_like(delayed)
    for j, lag in enumerate(arm.lag_ms):
        decay = np.exp(-1.0 / lag)
        velocity[:, j] = lfilter([0.0, 1.0 - decay], [1.0, -decay], delayed[:, j])
    position = np.vstack([np.zeros((1, 2)), np.cumsum(velocity, axis=0)[:-1]]) * 1e-3
    belief, command = np.arange(0, steps, 4), np.arange(0, steps, 5)
    measured = velocity[belief] + arm.noise * rng.normal(size=(len(belief), 2))
    return Streams(
        joint_names=NAMES,
        belief_ns=start_ns + belief * 1_000_000,
        position=position[belief],
        velocity=measured,
        effort=3.0 * velocity[belief],
        command_ns=start_ns + command * 1_000_000,
        applied=ticks,
        drives_enabled=np.ones(len(command), dtype=bool),
        relay_ns=start_ns - 1_000_000_000 + np.arange(0, steps + 1000, 50) * 1_000_000,
        publishing=np.ones(len(range(0, steps + 1000, 50)), dtype=bool),
        payload_ns=np.empty(0, dtype=np.int64),
        payload_kg=0.0,
    )


def write_streams(
    path: Path,
    streams: Streams,
    phases: tuple[tuple[int, str], ...] = (),
    ticks: Callable[[int], dict[str, Any]] = lambda tick: {},
    others: tuple[tuple[int, Topic, bytes], ...] = (),
) -> None:
    """Write the streams as the nodes would log them (payload 0, then 1, 2, ... kg at each change; phase marks).

    ``ticks``: further fields of each safe command; ``others``: further messages.
    """
    from mbrl_control.episode_log.schema import BELIEF, PHASE, RELAY_STATUS, SAFE_COMMAND, SAFETY_STATUS

    rows: list[tuple[int, Topic, bytes]] = [(ns, PHASE, message(PHASE, data=name)) for ns, name in phases]
    rows += others
    names = list(streams.joint_names)
    for i, ns in enumerate(streams.belief_ns.tolist()):
        fields = {f: getattr(streams, f)[i] for f in ("position", "velocity", "effort")}
        rows.append((ns, BELIEF, message(BELIEF, stamp=ns, joint_names=names, covariance=np.zeros(6), **fields)))
    for i, ns in enumerate(streams.command_ns.tolist()):
        body = message(
            SAFE_COMMAND, stamp=ns, tick=i, sequence=i, joint_names=names, requested=streams.applied[i],
            applied=streams.applied[i], drives_enabled=bool(streams.drives_enabled[i]), **ticks(i),
        )  # fmt: skip
        rows.append((ns, SAFE_COMMAND, body))
    for i, ns in enumerate(streams.relay_ns.tolist()):
        rows.append((ns, RELAY_STATUS, message(RELAY_STATUS, stamp=ns, publishing=bool(streams.publishing[i]))))
    first, declared = int(streams.belief_ns[0]), 0.0 if len(streams.payload_ns) else streams.payload_kg
    rows.append((first, SAFETY_STATUS, message(SAFETY_STATUS, stamp=first, payload=declared)))
    for i, ns in enumerate(streams.payload_ns.tolist()):
        rows.append((ns, SAFETY_STATUS, message(SAFETY_STATUS, stamp=ns, payload=float(i + 1))))
    write_rows(path, sorted(rows, key=lambda row: row[0]))


def write_rows(path: Path, rows: list[tuple[int, Topic, bytes]]) -> None:
    """Write serialized messages in the given order under the namespace `/arm`."""
    with LogWriter(path) as writer:
        for topic in GRAPH_TOPICS:
            writer.add_topic(topic.name if topic.name.startswith("/") else f"/arm/{topic.name}", topic.type)
        for ns, topic, body in rows:
            writer.write(topic.name if topic.name.startswith("/") else f"/arm/{topic.name}", body, ns)
