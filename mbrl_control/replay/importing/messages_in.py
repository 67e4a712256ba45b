"""Messages of a recording to samples, joints by name, whatever their order and whoever else is among them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_control.command_interface import CommandInterface
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import Decoder, RawMessage, stamp_ns
from mbrl_control.replay.importing.mapping import CommandTopic, StateTopic
from mbrl_control.replay.importing.series import BadRows, Series, merged

_NAMES = ("joint_names", "name")
_KNOWN = {"std_msgs/msg/Float64MultiArray": "data", "mbrl_msgs/msg/SafeCommand": "applied"}
_BY_INTERFACE = {
    "sensor_msgs/msg/JointState": {CommandInterface.VELOCITY: "velocity", CommandInterface.EFFORT: "effort"},
    "control_msgs/msg/JointJog": {CommandInterface.VELOCITY: "velocities"},
}


@dataclass(frozen=True, slots=True)
class Taken:
    """Samples of one topic."""

    series: Series
    bad: tuple[BadRows, ...]
    notes: tuple[str, ...]
    by_header: bool
    """Stamped by the messages' own headers; else by when the recorder received them."""
    ahead_s: float
    """Median of the used stamps less the time of receipt."""


def read_states(source: Path, messages: list[RawMessage], topic: StateTopic, joints: tuple[str, ...]) -> Taken:
    """`position`, and `velocity` and `effort` where any message has them, [N, J]."""
    fields = {"position": topic.position, "velocity": topic.velocity, "effort": topic.effort}
    optional = ("velocity", "effort")
    return _Topic(source, topic, joints).take(messages, fields, optional)


def read_commands(
    source: Path, messages: list[RawMessage], topic: CommandTopic, joints: tuple[str, ...], interface: CommandInterface
) -> Taken:
    """`command` [N, J]; a message that says that it is not enabled ends a part."""
    kind = messages[0].channel.type
    field = topic.field or _KNOWN.get(kind) or _BY_INTERFACE.get(kind, {}).get(interface)
    if field is None:
        problem = f"where {kind} has {interface} commands is not known"
        raise LogError(source, topic.name, problem, "name the field in the map: topics.command.field")
    return _Topic(source, topic, joints).take(messages, {"command": field}, ())


class _Bad(ValueError):
    """Why a message is no sample; only seen in this file."""


class _Topic:
    """Takes the samples out of one topic's messages."""

    def __init__(self, source: Path, topic: StateTopic | CommandTopic, joints: tuple[str, ...]) -> None:
        self._source, self._topic, self._joints = source, topic, joints
        self._enabled = topic.enabled if isinstance(topic, CommandTopic) else None
        self._places: dict[tuple[str, ...], list[int] | None] = {}
        self._ignored: Counter[str] = Counter()

    def take(self, messages: list[RawMessage], fields: dict[str, str], optional: tuple[str, ...]) -> Taken:
        decoder = Decoder(self._source)
        rows: list[tuple[int, int, int]] = []
        values: dict[str, list[Any]] = {name: [] for name in fields}
        bad: list[tuple[str, int, str]] = []
        part, headers, ahead = 0, Counter[bool](), []
        for row, raw in enumerate(messages):
            try:
                message = decoder.decode(raw)
                if not self._in_force(message):
                    part += 1
                    raise _Bad("no command in force")
                places = self._order(message)
                if places is None:
                    self._ignored["messages of other joints"] += 1
                    continue
                sample = {
                    name: self._numbers(message, field, places, name in optional) for name, field in fields.items()
                }
            except (_Bad, LogError) as error:
                bad.append((self._topic.name, row, str(error)))
                continue
            stamp, by_header = self._stamp(message, raw)
            headers[by_header] += 1
            ahead.append(stamp - raw.log_time_ns)
            rows.append((row, part, stamp))
            for name in fields:
                values[name].append(sample[name])
        if not rows:
            why = bad[0][2] if bad else "its messages are of other joints"
            raise LogError(self._source, self._topic.name, f"holds no usable message ({why})", "correct the map")
        if len(headers) > 1:
            problem = f"{headers[False]} of {len(rows)} messages have no stamp in their header"
            raise LogError(self._source, self._topic.name, problem, "write `stamp: received` in the map")
        return self._taken(rows, values, optional, bad, True in headers, ahead)

    def _taken(
        self,
        rows: list[tuple[int, int, int]],
        values: dict[str, list[Any]],
        optional: tuple[str, ...],
        bad: list[tuple[str, int, str]],
        by_header: bool,
        ahead: list[int],
    ) -> Taken:
        table = np.array(rows, dtype=np.int64)
        missing = np.full(len(self._joints), np.nan)
        present = {name for name in values if name not in optional or any(one is not None for one in values[name])}
        arrays = {
            name: np.array([missing if one is None else one for one in values[name]], dtype=np.float64)
            for name in values
            if name in present
        }
        series = Series((self._topic.name,), table[:, 1], table[:, 0], table[:, 2], arrays)
        said = "of its header" if by_header else "of receipt by the recorder"
        notes = [f"{self._topic.name}: stamps {said}"]
        notes += [f"{self._topic.name}: {what}: {count}, passed over" for what, count in self._ignored.items()]
        return Taken(series, merged(bad), tuple(notes), by_header, float(np.median(ahead)) * 1e-9)

    def _order(self, message: Any) -> list[int] | None:
        """Place of each of the arm's joints in the message's arrays; None where it has none of them."""
        names = next((tuple(getattr(message, field)) for field in _NAMES if hasattr(message, field)), ())
        names = names or self._topic.joints
        if not names:
            problem = "does not name its joints"
            raise LogError(self._source, self._topic.name, problem, "write their order in the map: `joints: [...]`")
        if names not in self._places:
            self._places[names] = self._find(names)
        return self._places[names]

    def _find(self, names: tuple[str, ...]) -> list[int] | None:
        known = [name for name in self._joints if name in names]
        if not known:
            return None
        absent = [name for name in self._joints if name not in names]
        if absent:
            raise _Bad(f"joints {absent} are missing")
        if any(names.count(name) > 1 for name in self._joints):
            raise _Bad("a joint is named twice")
        return [names.index(name) for name in self._joints]

    def _numbers(self, message: Any, field: str, places: list[int], optional: bool) -> Any:
        """[J]; None where an optional array is empty or not there."""
        try:
            values = np.asarray(self._read(message, field), dtype=np.float64)
        except (AttributeError, TypeError, ValueError) as error:
            if optional and isinstance(error, AttributeError):
                return None
            raise _Bad(f"has no numbers `{field}`") from error
        if optional and values.size == 0:
            return None
        if values.ndim != 1 or len(values) <= max(places):
            raise _Bad(f"`{field}` has {values.size} entries for {max(places) + 1} joints or more")
        return values[places]

    def _in_force(self, message: Any) -> bool:
        try:
            return self._enabled is None or bool(self._read(message, self._enabled))
        except AttributeError as error:
            raise _Bad(f"has no field `{self._enabled}`") from error

    def _read(self, message: Any, field: str) -> Any:
        for key in field.split("."):
            message = getattr(message, key)
        return message

    def _stamp(self, message: Any, raw: RawMessage) -> tuple[int, bool]:
        """Of the header (or a field `stamp`) where it is wanted and set."""
        time = getattr(getattr(message, "header", message), "stamp", None)
        if self._topic.stamp == "header" and time is not None and stamp_ns(time) != 0:
            return stamp_ns(time), True
        return raw.log_time_ns, False
