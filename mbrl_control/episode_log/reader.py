"""Streaming reader of finished, killed and growing logs, with fast decoding of wanted topics only."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.records import CHANNEL, SCHEMA, Record, Tail, read_records, read_string
from mbrl_control.episode_log.schema import Topic, matches

_MESSAGE = struct.Struct("<HIQQ")


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic as the log announces it."""

    topic: str
    type: str
    definition: str


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One serialized message."""

    channel: Channel
    log_time_ns: int
    publish_time_ns: int
    sequence: int
    cdr: bytes


@dataclass(slots=True)
class LogReader:
    """Reads one log front to back; every iteration starts anew and sees what is on disk then."""

    path: Path
    skip_damaged: bool = False
    """Leave out chunks that cannot be read, instead of refusing the log; `tail.damaged` says which."""
    tail: Tail = field(default_factory=Tail)
    """Of the last complete iteration."""

    def raw(self, topics: Collection[Topic] | None = None) -> Iterator[RawMessage]:
        """Yield messages in file order, of ``topics`` or of all. LogError when the file is no log."""
        self.tail = Tail()
        schemas: dict[int, tuple[str, str]] = {}
        wanted: dict[int, Channel] = {}
        try:
            stream = self.path.open("rb")
        except OSError as error:
            raise LogError(self.path, "file", f"cannot be read ({error.strerror})", "check the path") from error
        with stream:
            for record in read_records(self.path, stream, self.tail, self.skip_damaged):
                try:
                    if record.opcode == SCHEMA:
                        self._add_schema(record, schemas)
                    elif record.opcode == CHANNEL:
                        self._add_channel(record, schemas, wanted, topics)
                    else:
                        message = _message(record, wanted)
                        if message is not None:
                            yield message
                except struct.error as error:
                    raise LogError(
                        self.path, f"record {record.opcode:#x}", "too short", "recover the log first"
                    ) from error

    def _add_schema(self, record: Record, schemas: dict[int, tuple[str, str]]) -> None:
        (number,) = struct.unpack_from("<H", record.body)
        name, offset = read_string(record.body, 2)
        encoding, offset = read_string(record.body, offset)
        text, _ = read_string(record.body, offset)
        schemas[number] = (name, text if encoding == "ros2msg" else "")

    def _add_channel(
        self,
        record: Record,
        schemas: dict[int, tuple[str, str]],
        wanted: dict[int, Channel],
        topics: Collection[Topic] | None,
    ) -> None:
        number, schema = struct.unpack_from("<HH", record.body)
        name, offset = read_string(record.body, 4)
        encoding, _ = read_string(record.body, offset)
        chosen = None if topics is None else next((t for t in topics if matches(name, t)), None)
        if topics is not None and chosen is None:
            return
        type_name, text = schemas.get(schema, ("", ""))
        if encoding != "cdr" or not text:
            raise LogError(self.path, name, f"encoded as {encoding or 'nothing'}", "give a log of profile ros2")
        if chosen is not None and type_name != chosen.type:
            raise LogError(self.path, name, f"is {type_name}, wanted {chosen.type}", "give a log of this graph")
        wanted[number] = Channel(name, type_name, text)

    def messages(self, topics: Collection[Topic]) -> Iterator[tuple[Topic, int, Any]]:
        """Yield (topic, publish time ns, decoded message) of ``topics``."""
        decoder = Decoder(self.path)
        for raw in self.raw(topics):
            topic = next(t for t in topics if matches(raw.channel.topic, t))
            yield topic, raw.publish_time_ns, decoder.decode(raw)

    def decoded(self, topics: Collection[Topic]) -> dict[Topic, list[Any]]:
        """Collect the decoded messages of each topic in file order; absent topics give empty lists."""
        found: dict[Topic, list[Any]] = {topic: [] for topic in topics}
        for topic, _, message in self.messages(topics):
            found[topic].append(message)
        return found


class Decoder:
    """Decodes CDR with code generated from the definitions stored in the log itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store = get_typestore(Stores.EMPTY)
        self._known: set[str] = set()

    def decode(self, raw: RawMessage) -> Any:
        """Return a message object with one attribute per field; LogError when the bytes do not fit."""
        name = raw.channel.type
        try:
            if name not in self._known:
                self._register(raw.channel)
            return self._store.deserialize_cdr(raw.cdr, name)
        except (TypesysError, struct.error, IndexError, ValueError, UnicodeDecodeError) as error:
            raise LogError(
                self._path, raw.channel.topic, f"does not decode as {name} ({error})", "give a log of this graph"
            ) from error

    def _register(self, channel: Channel) -> None:
        types = get_types_from_msg(channel.definition, channel.type)
        self._store.register({name: spec for name, spec in types.items() if name not in self._store.fielddefs})
        self._known.add(channel.type)


def stamp_ns(time: Any) -> int:
    """Integer nanoseconds of a decoded builtin_interfaces/Time."""
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


def _message(record: Record, wanted: dict[int, Channel]) -> RawMessage | None:
    number, sequence, log_time, publish_time = _MESSAGE.unpack_from(record.body)
    channel = wanted.get(number)
    if channel is None:
        return None
    return RawMessage(channel, log_time, publish_time, sequence, bytes(record.body[_MESSAGE.size :]))
