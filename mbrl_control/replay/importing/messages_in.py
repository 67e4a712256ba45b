"""Messages of a recording to samples, joints by name, whatever their order and whoever else is among them.

One message after another: what stays in memory is the numbers of the joints.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.command_interface import CommandInterface
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import Decoder, RawMessage, stamp_ns
from mbrl_control.episode_log.schema import QosClass, Topic, matches
from mbrl_control.replay.importing.mapping import CommandTopic, StateTopic
from mbrl_control.replay.importing.series import MOST_NUMBERS, UNCUT, UNKNOWN, BadRows, Series, append_bad, too_long

_NAMES = ("joint_names", "name")
_KNOWN = {"std_msgs/msg/Float64MultiArray": "data", "mbrl_msgs/msg/SafeCommand": "applied"}
_BY_INTERFACE = {
    "sensor_msgs/msg/JointState": {CommandInterface.VELOCITY: "velocity", CommandInterface.EFFORT: "effort"},
    "control_msgs/msg/JointJog": {CommandInterface.VELOCITY: "velocities"},
}
_OPTIONAL = frozenset({"velocity", "effort"})
"""Of a state."""
_MOST_BAD = 100_000
"""Stretches of rows left out: more is no recording of this arm."""
_LATEST_NS = 2**62
Unpack = Callable[[bytes], bytes]


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


def topic_of(name: str) -> Topic:
    """What a map calls so: with that name, or one that ends so."""
    return Topic(name, "", QosClass.STREAM)


class Samples:
    """Takes the samples of one topic of the map: of the topic called so, or of the only one whose name ends so."""

    def __init__(
        self,
        source: Path,
        topic: StateTopic | CommandTopic,
        joints: tuple[str, ...],
        fields: Callable[[str], dict[str, str]],
        unpack: Unpack | None = None,
    ) -> None:
        """``fields``: what to take, by what it is, from messages of a type; ``unpack``: of messages packed singly."""
        self._source, self._topic, self._joints = source, topic, joints
        self._fields, self._unpack = fields, unpack
        self._wanted = topic_of(topic.name)
        self._found: dict[str, _Taker] = {}

    def add(self, raw: RawMessage) -> None:
        """One message of the bag, of this topic or of another."""
        name = raw.channel.topic
        if name not in self._found:
            if not matches(name, self._wanted):
                return
            fields = self._fields(raw.channel.type)
            self._found[name] = _Taker(self._source, self._topic, self._joints, fields, raw.channel.type, self._unpack)
        self._found[name].add(raw)

    def taken(self, notes: list[str]) -> Taken:
        """All of them; LogError where there is no topic, or more than one, or none of its messages can be used."""
        name = self._topic.name
        if name in self._found:
            return self._found[name].taken()
        if len(self._found) != 1:
            why = f" ({'; '.join(notes)})" if notes else ""
            problem = f"could be any of {sorted(self._found)}" if self._found else f"holds no message{why}"
            remedy = "name a topic of the bag in full; `ros2 bag info` or `log info` list them"
            raise LogError(self._source, name, problem, remedy)
        (only,) = self._found.values()
        return only.taken()


def states(source: Path, topic: StateTopic, joints: tuple[str, ...], unpack: Unpack | None = None) -> Samples:
    """`position`, and `velocity` and `effort` where any message has them, [N, J]."""
    fields = {"position": topic.position, "velocity": topic.velocity, "effort": topic.effort}
    return Samples(source, topic, joints, lambda kind: fields, unpack)


def commands(
    source: Path,
    topic: CommandTopic,
    joints: tuple[str, ...],
    interface: CommandInterface,
    unpack: Unpack | None = None,
) -> Samples:
    """`command` [N, J], cut (`Series.until_ns`) by messages that say that it is not enabled, or cannot be used."""

    def fields(kind: str) -> dict[str, str]:
        field = topic.field or _KNOWN.get(kind) or _BY_INTERFACE.get(kind, {}).get(interface)
        return {} if field is None else {"command": field}

    return Samples(source, topic, joints, fields, unpack)


class _Bad(ValueError):
    """Why a message is no sample; only seen in this file."""

    def __init__(self, why: str, stamp_ns: int = UNKNOWN) -> None:
        super().__init__(why)
        self.stamp_ns = stamp_ns


class _Taker:
    """Takes the samples out of one topic's messages."""

    def __init__(
        self,
        source: Path,
        topic: StateTopic | CommandTopic,
        joints: tuple[str, ...],
        fields: dict[str, str],
        kind: str,
        unpack: Unpack | None,
    ) -> None:
        self._source, self._topic, self._joints = source, topic, joints
        self._fields, self._kind, self._unpack = fields, kind, unpack
        self._enabled = topic.enabled if isinstance(topic, CommandTopic) else None
        self._decoder = Decoder(source)
        self._places: dict[tuple[str, ...], list[int] | None] = {}
        self._ignored: Counter[str] = Counter()
        self._headers: Counter[bool] = Counter()
        self._bad: list[BadRows] = []
        self._count = 0
        self._row, self._stamps, self._ahead = (array("q") for _ in range(3))
        self._until = array("q")
        self._values = {name: array("d") for name in fields}
        self._missing = np.full(len(joints), np.nan)

    def add(self, raw: RawMessage) -> None:
        """The next message of the topic; LogError where they become too many for an import."""
        row, self._count = self._count, self._count + 1
        if not self._fields:
            return
        try:
            sample = self._sample(raw)
        except (_Bad, LogError) as error:
            append_bad(self._bad, self._topic.name, row, str(error))
            if self._until:
                told = error.stamp_ns if isinstance(error, _Bad) else UNKNOWN
                self._until[-1] = min(self._until[-1], told)
            if len(self._bad) > _MOST_BAD:
                problem = f"{len(self._bad)} stretches of bad rows (the last: {error})"
                raise LogError(self._source, self._topic.name, problem, "correct the map") from error
            return
        if sample is None:
            self._ignored["messages of other joints"] += 1
            return
        stamp, by_header, values = sample
        self._headers[by_header] += 1
        self._row.append(row)
        self._until.append(UNCUT)
        self._stamps.append(stamp)
        self._ahead.append(stamp - raw.log_time_ns)
        for name, numbers in values.items():
            self._values[name].frombytes((self._missing if numbers is None else numbers).tobytes())
        if len(self._row) * len(self._values) * len(self._joints) > MOST_NUMBERS:
            raise too_long(self._source, self._topic.name)

    def _sample(self, raw: RawMessage) -> tuple[int, bool, dict[str, NDArray[np.float64] | None]] | None:
        """Stamp, whether it is of the header, numbers; None for other joints."""
        if not 0 <= raw.log_time_ns < _LATEST_NS:
            raise _Bad("time of receipt is none")
        if self._unpack is not None:
            raw = replace(raw, cdr=self._unpack(raw.cdr))
        message = self._decoder.decode(raw)
        if not self._in_force(message):
            raise _Bad("no command in force", self._stamp(message, raw)[0])
        places = self._order(message)
        if places is None:
            return None
        values = {
            name: self._numbers(message, field, places, name in _OPTIONAL) for name, field in self._fields.items()
        }
        return (*self._stamp(message, raw), values)

    def taken(self) -> Taken:
        """Everything so far; LogError without a usable message."""
        if not self._fields:
            problem = f"where {self._kind} has commands is not known"
            raise LogError(self._source, self._topic.name, problem, "name the field in the map: topics.command.field")
        if not self._row:
            why = self._bad[0].why if self._bad else "its messages are of other joints"
            raise LogError(self._source, self._topic.name, f"holds no usable message ({why})", "correct the map")
        if len(self._headers) > 1:
            problem = f"{self._headers[False]} of {len(self._row)} messages have no stamp in their header"
            raise LogError(self._source, self._topic.name, problem, "write `stamp: received` in the map")
        count, by_header = len(self._row), True in self._headers
        read = {
            name: np.frombuffer(numbers, dtype=np.float64).reshape(count, len(self._joints))
            for name, numbers in self._values.items()
        }
        # Of a field that no message has, or that is NaN in all of them, nothing was measured.
        values = {name: table for name, table in read.items() if name not in _OPTIONAL or not np.isnan(table).all()}
        row, stamp, until, ahead = (
            np.frombuffer(numbers, dtype=np.int64) for numbers in (self._row, self._stamps, self._until, self._ahead)
        )
        series = Series((self._topic.name,), np.zeros_like(row), row, stamp, until, values)
        said = "of its header" if by_header else "of receipt by the recorder"
        notes = [f"{self._topic.name}: stamps {said}"]
        notes += [f"{self._topic.name}: {what}: {number}, passed over" for what, number in self._ignored.items()]
        return Taken(series, tuple(self._bad), tuple(notes), by_header, float(np.median(ahead)) * 1e-9)

    def _order(self, message: Any) -> list[int] | None:
        """Place of each of the arm's joints in the message's arrays; None where it has none of them."""
        names = next((_texts(getattr(message, field)) for field in _NAMES if hasattr(message, field)), ())
        names = names or self._topic.joints
        if not names:
            problem = "does not name its joints"
            raise LogError(self._source, self._topic.name, problem, "write their order in the map: `joints: [...]`")
        if names not in self._places:
            self._places = {names: self._find(names)}  # the newest alone: a hostile bag names others every time
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

    def _numbers(self, message: Any, field: str, places: list[int], optional: bool) -> NDArray[np.float64] | None:
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
        except (AttributeError, ValueError) as error:
            raise _Bad(f"has no truth value `{self._enabled}`") from error

    def _read(self, message: Any, field: str) -> Any:
        for key in field.split("."):
            message = getattr(message, key)
        return message

    def _stamp(self, message: Any, raw: RawMessage) -> tuple[int, bool]:
        """Of the header (or a field `stamp`) where it is wanted and set."""
        time = getattr(getattr(message, "header", message), "stamp", None)
        if self._topic.stamp != "header" or not hasattr(time, "sec") or not hasattr(time, "nanosec"):
            return raw.log_time_ns, False
        try:
            stamp = stamp_ns(time)
        except (TypeError, ValueError, OverflowError) as error:
            raise _Bad("its stamp is no time") from error
        if abs(stamp) >= _LATEST_NS:
            raise _Bad("its stamp is no time")
        return (stamp, True) if stamp != 0 else (raw.log_time_ns, False)


def _texts(values: Any) -> tuple[str, ...]:
    """Names in a list; nothing where there is no list of names."""
    return tuple(values) if isinstance(values, list) and all(isinstance(one, str) for one in values) else ()
