"""Finish a log that was killed, in its place or as a copy, and say what a log holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mbrl_control.episode_log.bag_metadata import summary_of
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.folder import numbered_files
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.episode_log.records import MAGIC
from mbrl_control.episode_log.writer import LogWriter


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
    """Copy every readable message of ``source`` into a finished ``target``.

    A damaged chunk is left out as a whole. LogError when nothing is readable.
    """
    copied = 0
    known: set[str] = set()
    writer: LogWriter | None = None
    reader, stopped = LogReader(source, skip_damaged=True), ""
    try:
        for message in reader.raw():
            if writer is None:
                writer = LogWriter(target)
            if message.channel.topic not in known:
                known.add(message.channel.topic)
                channel = message.channel
                writer.add_topic(channel.topic, channel.type, channel.definition, channel.qos)
            writer.write(message.channel.topic, message.cdr, message.log_time_ns, message.publish_time_ns)
            copied += 1
    except LogError as error:
        if copied == 0 or error.path == target:
            raise
        stopped = str(error)
    finally:
        if writer is not None:
            writer.close()
    if copied == 0:
        raise LogError(source, "messages", "none readable", "nothing to recover")
    return Recovered(copied, len(reader.tail.damaged), reader.tail.ignored_bytes, stopped)


def finish_files(folder: Path) -> list[tuple[Path, Recovered]]:
    """Finish the files of a folder that a killed logger left, in their place; none may be written to meanwhile.

    A damaged file stays beside the finished one as `<name>.damaged`; one that ends before its first message is
    removed; one that is no log stays as it is.
    """
    return [(path, _finish(path)) for _, path in numbered_files(folder) if summary_of(path) is None]


def _finish(path: Path) -> Recovered:
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    size = path.stat().st_size
    try:
        if size < len(MAGIC) or not any(LogReader(path, skip_damaged=True).raw()):
            path.unlink()
            return Recovered(0, 0, size, "")
        done = recover(path, new)
    except LogError as error:
        return Recovered(0, 0, size, str(error))
    if done.damaged_chunks or done.stopped:
        path.replace(path.with_name(f"{path.name}.damaged"))
    new.replace(path)
    return done
