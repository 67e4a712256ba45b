"""Finish a log that was killed, in its place or as a copy, and say what a log holds."""

from __future__ import annotations

import os
import shutil
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mbrl_control.episode_log.bag_metadata import summary_of
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.finishing import finish_copy
from mbrl_control.episode_log.folder import event_files, is_written, numbered_files
from mbrl_control.episode_log.reader import Channel, LogReader
from mbrl_control.episode_log.records import MAGIC, Tail
from mbrl_control.episode_log.writer import LogWriter

_HEADER = struct.Struct("<BQ")
"""Of a record: opcode, length."""


@dataclass(frozen=True, slots=True)
class LogInfo:
    """What a log holds."""

    finished: bool
    ignored_bytes: int
    """Of the partial tail."""
    start_ns: int
    end_ns: int
    counts: tuple[tuple[str, int], ...]
    """Messages per topic."""


def log_info(path: Path) -> LogInfo:
    """Read a log once and count. LogError when it is no log or holds no message."""
    reader = LogReader(path)
    counts: Counter[str] = Counter()
    first, last = None, 0
    for message in reader.raw():
        counts[message.channel.topic] += 1
        first = message.log_time_ns if first is None else min(first, message.log_time_ns)
        last = max(last, message.log_time_ns)
    if first is None:
        raise LogError(path, "messages", "none readable", "give a log that ran longer than one flush")
    return LogInfo(reader.tail.finished, reader.tail.ignored_bytes, first, last, tuple(sorted(counts.items())))


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery saved and what it could not."""

    messages: int
    damaged_chunks: int
    ignored_bytes: int
    """Of a partial tail, or behind a record whose length is damaged."""
    stopped: str
    """Why the rest of the file could not be read; empty when it was."""


def recover(source: Path, target: Path) -> Recovered:
    """Copy every readable message of ``source`` into a finished ``target``, byte by byte where nothing is damaged.

    A damaged chunk is left out as a whole. LogError when nothing is readable or ``target`` exists, OSError when it
    cannot be written; nothing is left of it then.
    """
    if target.exists():
        raise LogError(target, "file", "exists already", "name a new file")
    try:
        quick = finish_copy(source, target) if source.is_file() else None
        return _written_anew(source, target) if quick is None else Recovered(quick[0], 0, quick[1], "")
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _written_anew(source: Path, target: Path) -> Recovered:
    writer = LogWriter(target)
    try:
        done = _copy(source, writer)
        writer.close()
    except BaseException:
        writer.abandon()
        raise
    return done


def _copy(source: Path, writer: LogWriter) -> Recovered:
    copied, stopped = 0, ""
    known: dict[str, Channel] = {}
    reader = LogReader(source, skip_damaged=True)
    try:
        for message in reader.raw():
            channel = message.channel
            if channel.topic not in known:
                known[channel.topic] = channel
                writer.add_topic(channel.topic, channel.type, channel.definition, channel.qos)
            first = known[channel.topic]
            if (channel.type, channel.definition) != (first.type, first.definition):
                remedy = "recover its files one by one, each into a file of its own"
                raise LogError(source, channel.topic, f"is {first.type} and later another {channel.type}", remedy)
            writer.write(channel.topic, message.cdr, message.log_time_ns, message.publish_time_ns)
            copied += 1
    except LogError as error:
        if copied == 0:
            raise
        stopped = str(error)
    if copied == 0:
        raise LogError(source, "messages", "none readable", "nothing to recover")
    return Recovered(copied, len(reader.tail.damaged), reader.tail.ignored_bytes, stopped)


def finish_files(folder: Path) -> list[tuple[Path, Recovered]]:
    """Finish the files of a folder that a killed logger left, in their place; those of a living one are left alone.

    A damaged file stays beside the finished one as `<name>.damaged`; one of which nothing is readable bears that name
    alone, and one that ends before its first message is removed; one that is no log stays as it is.
    """
    torn = [path for _, path in numbered_files(folder) if is_torn(path)]
    events = [path for _, path in event_files(folder) if is_torn(path)]
    for path in events:
        cut_reserve(path)
    return [(path, _finish(path)) for path in torn + events]


def is_torn(path: Path) -> bool:
    """Not finished, and no logger of this machine writes to it."""
    return summary_of(path) is None and not is_written(path)


def _finish(path: Path) -> Recovered:
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    size = path.stat().st_size
    reader = LogReader(path, skip_damaged=True)
    try:
        if size < len(MAGIC) or not any(reader.raw()):
            return _set_aside(path, reader.tail)
        done = recover(path, new)
    except LogError as error:
        return Recovered(0, 0, size, str(error))
    if done.damaged_chunks or done.stopped:
        _keep_beside(path)
    new.replace(path)
    return done


def _set_aside(path: Path, tail: Tail) -> Recovered:
    """A file without a readable message: what may hold something that others can read is not removed."""
    size = path.stat().st_size
    if tail.damaged or tail.ignored_bytes:
        path.replace(_beside(path))
    else:
        path.unlink()
    return Recovered(0, len(tail.damaged), size, "")


def _keep_beside(path: Path) -> None:
    """A second name for a file that is about to be replaced: whenever the process is killed, the log has the file."""
    beside = _beside(path)
    beside.unlink(missing_ok=True)
    try:
        os.link(path, beside)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, beside)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")


def cut_reserve(path: Path) -> None:
    """Give back what a logger that was killed had reserved behind its last record: zeros up to the end of the file."""
    with path.open("r+b") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            return
        size = stream.seek(0, os.SEEK_END)
        at = len(MAGIC)
        while at + _HEADER.size <= size:
            stream.seek(at)
            opcode, length = _HEADER.unpack(stream.read(_HEADER.size))
            if opcode == 0:
                stream.truncate(at)
                return
            at += _HEADER.size + length
