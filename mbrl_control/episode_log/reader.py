"""Streaming reader of finished, killed and growing logs, files or folders, with decoding of wanted topics only."""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore

from mbrl_control.episode_log.bag_metadata import summary_of
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.first_bytes import open_first
from mbrl_control.episode_log.folder import log_files
from mbrl_control.episode_log.records import CHANNEL, MAGIC, SCHEMA, Record, Tail, read_map, read_records, read_string
from mbrl_control.episode_log.schema import Topic, matches

_MESSAGE = struct.Struct("<HIQQ")
_MOST_DEFINITION = 1 << 20
_MOST_FIXED = 1 << 16
"""Entries of an array of fixed length: code is written for each."""
_FIXED = re.compile(r"\[\s*(\d+)\s*\]")
_HEAD_BYTES = 512


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic as the log announces it."""

    topic: str
    type: str
    definition: str
    qos: str = ""
    """How it was offered, as rosbag2 writes it; empty where the log does not say."""


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
    """Reads one log front to back; every iteration starts anew and sees what is on disk then, unless it is `fixed`."""

    path: Path
    """A file, or the folder of a run's log."""
    skip_damaged: bool = False
    """Leave out chunks that cannot be read, instead of refusing the log; `tail.damaged` says which."""
    newest_ns: int | None = None
    """Only what was received in so long before the log's last message; None: everything."""
    sizes: Mapping[Path, int] | None = None
    """Where it is `fixed`: its files, and how many bytes of each are read; None: what there is."""
    begin_ns: int = 0
    """Only what was received from then on."""
    tail: Tail = field(default_factory=Tail)
    """Of the last complete iteration."""

    def files(self) -> tuple[tuple[Path, ...], int]:
        """The files that an iteration reads, and the log time from which on it yields, ns."""
        files = log_files(self.path) if self.sizes is None else tuple(self.sizes)
        if self.newest_ns is None:
            return files, self.begin_ns
        chosen: list[Path] = []
        begin: int | None = None
        for path in reversed(files):
            span = self._span(path)
            if span is None:
                continue
            begin = span[1] - self.newest_ns if begin is None else begin
            if span[1] < begin:
                break
            chosen.append(path)
        return tuple(chosen[::-1]), begin or 0

    def fixed(self) -> LogReader:
        """The same of the log as it is now: no iteration sees what is written, begun or ended later.

        A file that is removed before it was read is missed: LogError.
        """
        sizes = {path: _size(path) for path in log_files(self.path)}  # before it is looked which of them are read
        files, begin_ns = replace(self, sizes=sizes, tail=Tail()).files()
        chosen = {path: sizes[path] for path in files}
        return replace(self, newest_ns=None, sizes=chosen, begin_ns=begin_ns, tail=Tail())

    def _span(self, path: Path) -> tuple[int, int] | None:
        """First and last log time of a file, from its summary where it has one; None without a message."""
        finished = summary_of(path)
        if finished is not None:
            return (finished.start_ns, finished.end_ns) if finished.messages else None
        times = [message.log_time_ns for message in self._file(path, Tail(), None)]
        return (min(times), max(times)) if times else None

    def raw(self, topics: Collection[Topic] | None = None) -> Iterator[RawMessage]:
        """Yield messages in file order, of ``topics`` or of all. LogError when a file is no log."""
        self.tail = Tail(finished=True)
        files, begin_ns = self.files()
        for path in files:
            tail = Tail()
            try:
                # Of a folder, a file without its first bytes is that of a logger that was killed right there.
                if path == self.path or (_size(path) if self.sizes is None else self.sizes[path]) >= len(MAGIC):
                    yield from (m for m in self._file(path, tail, topics) if m.log_time_ns >= begin_ns)
            finally:
                self.tail.add(tail)

    def _file(self, path: Path, tail: Tail, topics: Collection[Topic] | None) -> Iterator[RawMessage]:
        end = None if self.sizes is None else self.sizes[path]
        return FileCursor(path, topics, end=end).read(tail, self.skip_damaged)

    def messages(self, topics: Collection[Topic]) -> Iterator[tuple[Topic, int, Any]]:
        """Yield (topic, publish time ns, decoded message) of ``topics``."""
        decoder, definitions = Decoder(self.path), dict[str, str]()
        for raw in self.raw(topics):
            if definitions.setdefault(raw.channel.type, raw.channel.definition) != raw.channel.definition:
                problem = f"{raw.channel.type} is defined in two ways"  # what one says of bytes of the other is wrong
                raise LogError(self.path, raw.channel.topic, problem, "give its files one by one")
            topic = next(t for t in topics if matches(raw.channel.topic, t))
            yield topic, raw.publish_time_ns, decoder.decode(raw)

    def decoded(self, topics: Collection[Topic]) -> dict[Topic, list[Any]]:
        """Collect the decoded messages of each topic in file order; absent topics give empty lists."""
        found: dict[Topic, list[Any]] = {topic: [] for topic in topics}
        for topic, _, message in self.messages(topics):
            found[topic].append(message)
        return found


@dataclass(slots=True)
class FileCursor:
    """How far one file was read, and what it has announced until there: the next reading goes on from there."""

    path: Path
    topics: Collection[Topic] | None = None
    """None: all."""
    offset: int = 0
    end: int | None = None
    """Behind the last byte that is read, however the file grows; None: its own."""
    _schemas: dict[int, tuple[str, str]] = field(default_factory=dict)
    _wanted: dict[int, Channel] = field(default_factory=dict)
    _head: bytes = b""
    """Of the file that was read: its first chunk's times and checksum are in it."""

    def read(self, tail: Tail, skip_damaged: bool = False) -> Iterator[RawMessage]:
        """Yield the messages of the records that became whole since the last reading; LogError as `LogReader.raw`.

        After an error, or an iteration that was left, the next reading begins with the record in question; and with the
        first one where another file has taken this one's place.
        """
        try:
            stream = self.path.open("rb") if self.end is None else open_first(self.path, self.end)
        except OSError as error:
            raise LogError(self.path, "file", f"cannot be read ({error.strerror})", "check the path") from error
        with stream:
            if stream.read(len(self._head)) != self._head:
                self.offset, self._schemas, self._wanted = 0, {}, {}
            stream.seek(self.offset)
            try:
                for record in read_records(self.path, stream, tail, skip_damaged):
                    message = self._take(record)
                    if message is not None:
                        yield message
            finally:
                self.offset = max(self.offset, tail.whole_bytes)
                stream.seek(0)
                self._head = stream.read(min(self.offset, _HEAD_BYTES))

    def _take(self, record: Record) -> RawMessage | None:
        try:
            if record.opcode == SCHEMA:
                _add_schema(record, self._schemas)
            elif record.opcode == CHANNEL:
                _add_channel(self.path, record, self._schemas, self._wanted, self.topics)
            else:
                return _message(record, self._wanted)
        except struct.error as error:
            raise LogError(self.path, f"record {record.opcode:#x}", "too short", "recover the log first") from error
        return None


class Decoder:
    """Decodes CDR with code generated from the definitions stored in the log itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store = get_typestore(Stores.EMPTY)
        self._refused: dict[str, str] = {}
        """Types that were seen: why they cannot be decoded; empty where they can."""

    def decode(self, raw: RawMessage) -> Any:
        """Return a message object with one attribute per field; LogError when the bytes do not fit."""
        name = raw.channel.type
        if name not in self._refused:
            self._refused[name] = self._register(raw.channel)
        why = self._refused[name]
        if not why:
            try:
                return self._store.deserialize_cdr(raw.cdr, name)
            except (SerdeError, struct.error, IndexError, ValueError, OverflowError) as error:
                why = str(error)
        problem = f"does not decode as {name} ({why})"
        raise LogError(self._path, raw.channel.topic, problem, "give a log of this graph")

    def _register(self, channel: Channel) -> str:
        """Make the type known; why that cannot be done, or nothing."""
        fixed = [int(size) if len(size) < 9 else _MOST_FIXED + 1 for size in _FIXED.findall(channel.definition)]
        if len(channel.definition) > _MOST_DEFINITION or max(fixed, default=0) > _MOST_FIXED:
            return "its definition is too large"
        try:
            types = get_types_from_msg(channel.definition, channel.type)
            self._store.register({name: spec for name, spec in types.items() if name not in self._store.fielddefs})
            self._store.get_msgdef(channel.type)  # writes the code, which would else happen at the first message
        except Exception as error:  # of a parser, a code generator and `exec`, which have no common base
            kind = "" if isinstance(error, TypesysError) else f"{type(error).__name__}: "
            return f"its definition cannot be read: {kind}{' '.join(str(error).split())[:200]}"
        return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise LogError(path, "file", f"cannot be read ({error.strerror})", "check the path") from error


def stamp_ns(time: Any) -> int:
    """Integer nanoseconds of a decoded builtin_interfaces/Time."""
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


def _add_schema(record: Record, schemas: dict[int, tuple[str, str]]) -> None:
    (number,) = struct.unpack_from("<H", record.body)
    name, offset = read_string(record.body, 2)
    encoding, offset = read_string(record.body, offset)
    text, _ = read_string(record.body, offset)
    schemas[number] = (name, text if encoding == "ros2msg" else "")


def _add_channel(
    path: Path,
    record: Record,
    schemas: dict[int, tuple[str, str]],
    wanted: dict[int, Channel],
    topics: Collection[Topic] | None,
) -> None:
    number, schema = struct.unpack_from("<HH", record.body)
    name, offset = read_string(record.body, 4)
    encoding, offset = read_string(record.body, offset)
    chosen = None if topics is None else next((t for t in topics if matches(name, t)), None)
    if topics is not None and chosen is None:
        return
    type_name, text = schemas.get(schema, ("", ""))
    if encoding != "cdr" or not text:
        raise LogError(path, name, f"encoded as {encoding or 'nothing'}", "give a log of profile ros2")
    if chosen is not None and chosen.type and type_name != chosen.type:
        raise LogError(path, name, f"is {type_name}, wanted {chosen.type}", "give a log of this graph")
    wanted[number] = Channel(name, type_name, text, read_map(record.body, offset).get("offered_qos_profiles", ""))


def _message(record: Record, wanted: dict[int, Channel]) -> RawMessage | None:
    number, sequence, log_time, publish_time = _MESSAGE.unpack_from(record.body)
    channel = wanted.get(number)
    if channel is None:
        return None
    return RawMessage(channel, log_time, publish_time, sequence, bytes(record.body[_MESSAGE.size :]))
