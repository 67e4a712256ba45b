"""A log as it is played: in the order it was received in, from an offset on, for a while, with what was latched."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from rosbags.typesys import TypesysError, get_types_from_msg

from mbrl_control.episode_log.definitions import full_definition
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import Channel, LogReader, RawMessage
from mbrl_control.episode_log.schema import GRAPH_TOPICS, QosClass, matches

REORDER_NS = 1_000_000_000
"""A logger drains topic by topic, so that neighbours in a file are some 20 ms out of order, more after a stall."""
_S = 1_000_000_000
_PREFIX = re.compile(r"/?played[A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*/?")


@dataclass(frozen=True, slots=True)
class Playback:
    """What to play of a log."""

    start_s: float = 0.0
    """s after the first message."""
    seconds: float = 0.0
    """s of the log; 0: to its end."""
    topics: tuple[str, ...] = ()
    """Names, with or without namespace; empty: all."""


@dataclass(frozen=True, slots=True)
class Due:
    """One message and when it is due."""

    offset_ns: int
    """After the beginning of the playback, at the log's own rate."""
    message: RawMessage


def played(reader: LogReader, wanted: Playback) -> Iterator[Due]:
    """The messages in order of log time; first the last value of each latched topic before the start, due at once."""
    begin_ns: int | None = None
    start_ns = end_ns = 0
    latched: dict[str, RawMessage] | None = {}
    for message in in_order(reader.raw()):
        if begin_ns is None:
            begin_ns = message.log_time_ns
            start_ns = begin_ns + round(wanted.start_s * _S)
            end_ns = start_ns + round(wanted.seconds * _S)
        if wanted.seconds > 0 and message.log_time_ns > end_ns:
            break
        if not _chosen(message.channel.topic, wanted.topics):
            continue
        if message.log_time_ns < start_ns:
            if latched is not None and qos_of(message.channel.topic) is QosClass.LATCHED:
                latched[message.channel.topic] = message
            continue
        if latched is not None:
            yield from (Due(0, value) for value in latched.values())
            latched = None
        yield Due(message.log_time_ns - start_ns, message)
    yield from (Due(0, value) for value in (latched or {}).values())


def in_order(messages: Iterator[RawMessage]) -> Iterator[RawMessage]:
    """Sorted by log time, where no message stands further than `REORDER_NS` behind a later one; equal times keep
    their order. What stands further behind comes as soon as it is read."""
    waiting: list[tuple[int, int, RawMessage]] = []
    newest_ns = 0
    for number, message in enumerate(messages):
        heapq.heappush(waiting, (message.log_time_ns, number, message))
        newest_ns = max(newest_ns, message.log_time_ns)
        while waiting[0][0] <= newest_ns - REORDER_NS:
            yield heapq.heappop(waiting)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]


def channels(reader: LogReader, wanted: Playback) -> tuple[Channel, ...]:
    """The topics of which there is something to play in the first seconds of the log, which a player offers before it
    begins; LogError for names that the whole log does not have."""
    found: dict[str, Channel] = {}
    missing = set(wanted.topics)
    begin_ns: int | None = None
    for message in reader.raw():
        name = message.channel.topic
        if _chosen(name, wanted.topics):
            found.setdefault(name, message.channel)
            missing -= {topic for topic in missing if _same(name, topic)}
        begin_ns = message.log_time_ns if begin_ns is None else begin_ns
        if not missing and message.log_time_ns > begin_ns + 2 * _S:
            break
    if missing:
        raise LogError(reader.path, "topics", f"holds no {', '.join(sorted(missing))}", "see `mbrl-control log info`")
    return tuple(found.values())


def qos_of(topic: str) -> QosClass:
    """As the graph offers it; a topic from elsewhere is reliable, which every subscription accepts."""
    known = next((known for known in GRAPH_TOPICS if matches(topic, known)), None)
    return QosClass.RELIABLE if known is None else known.qos


def require_same_layout(channel: Channel) -> None:
    """LogError where the installed messages of this type are laid out otherwise than when the log was made.

    Played as they are, its bytes would be taken for something else. Comments and constants may differ.
    """
    kind = channel.type
    try:
        same = _layouts(channel.definition, kind) == _layouts(full_definition(kind), kind)
    except TypesysError as error:
        problem = f"the definition of {kind} in the log cannot be read ({error})"
        raise LogError(channel.topic, "type", problem, "leave the topic out") from error
    if not same:
        problem = f"{kind} is installed with other fields than the log has"
        raise LogError(channel.topic, "type", problem, "play it where it was recorded, or leave the topic out")


def _layouts(definition: str, kind: str) -> dict[str, Any]:
    """Fields of a type and of those that it is made of."""
    return {name: fields for name, (_, fields) in get_types_from_msg(definition, kind).items()}


def under(prefix: str, topic: str) -> str:
    """The name that a topic of the log is played under: never one that a controller takes commands by.

    LogError for a prefix that does not begin with `played`: a log that was recorded without a namespace, played under
    that of an arm, would move the arm.
    """
    if not _PREFIX.fullmatch(prefix):
        raise LogError(
            "log play", "--prefix", f"'{prefix}' does not begin with `played`", "say played_1, or played/first"
        )
    return f"/{prefix.strip('/')}/{topic.lstrip('/')}"


def pace(rate: float, now_ns: Callable[[], int]) -> Callable[[Due], float]:
    """A function that says how long a message has to wait, s, not positive when it is due; the clock starts here."""
    begun_ns = now_ns()
    return lambda due: (begun_ns + due.offset_ns / rate - now_ns()) * 1e-9


def _chosen(name: str, topics: Collection[str]) -> bool:
    return not topics or any(_same(name, topic) for topic in topics)


def _same(name: str, topic: str) -> bool:
    return name == topic or name.endswith("/" + topic.lstrip("/"))
