"""Write a finished copy of a log that was killed, and say what a log holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import LogReader
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


def recover(source: Path, target: Path) -> int:
    """Copy every readable message of ``source`` into a finished ``target``; return their number.

    A damaged chunk ends the copy: what precedes it is kept. LogError when nothing is readable.
    """
    copied = 0
    known: set[str] = set()
    writer: LogWriter | None = None
    try:
        for message in LogReader(source).raw():
            if writer is None:
                writer = LogWriter(target)
            if message.channel.topic not in known:
                known.add(message.channel.topic)
                writer.add_topic(message.channel.topic, message.channel.type, message.channel.definition)
            writer.write(message.channel.topic, message.cdr, message.log_time_ns, message.publish_time_ns)
            copied += 1
    except LogError as error:
        if copied == 0 or error.path == target:
            raise
    finally:
        if writer is not None:
            writer.close()
    if copied == 0:
        raise LogError(source, "messages", "none readable", "nothing to recover")
    return copied
