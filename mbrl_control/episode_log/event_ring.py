"""The last hour and more of rare messages (goals, models, states, stops), kept whatever happens to the rest.

Two files by turns, each of a size that is reserved on the disk before the first message: a full disk and a quota end
the bulk, not these. When one is full the older one begins anew, with the newest message of every topic first, so that
each tells by itself in which state it began.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.folder import EVENTS
from mbrl_control.episode_log.writer import CHUNK_BYTES, FLUSH_PERIOD_NS, LogWriter

RING_BYTES = 16 * 1024 * 1024
"""Of each file: a graph with two states at 20 Hz fills one in little more than an hour."""
_SUMMARY_BYTES = 4 * CHUNK_BYTES
"""Kept for the last chunk and for what a file ends with: schemas and channels."""


@dataclass(frozen=True, slots=True)
class _Topic:
    name: str
    type: str
    definition: str
    qos: str


class EventRing:
    """Writes into the two files of one folder. Not thread-safe: one thread owns it."""

    def __init__(self, folder: Path, flush_period_ns: int = FLUSH_PERIOD_NS, ring_bytes: int = RING_BYTES) -> None:
        """LogError when a file cannot be created; where its size cannot be reserved it grows as it can."""
        self._folder = folder
        self._flush_period_ns = flush_period_ns
        self._ring_bytes = max(ring_bytes, 2 * _SUMMARY_BYTES)
        self._topics: dict[str, _Topic] = {}
        self._newest: dict[str, tuple[bytes, int, int]] = {}
        self.reserved = True
        """False: the disk had no room for it."""
        self._turns = cycle(sorted(EVENTS, key=lambda name: _written_ns(folder / name)))
        self._writer = self._begin()

    def add_topic(self, name: str, type_name: str, definition: str, qos: str) -> None:
        """Announce a topic, once."""
        self._topics[name] = _Topic(name, type_name, definition, qos)
        self._writer.add_topic(name, type_name, definition, qos)

    def write(self, topic: str, cdr: bytes, log_time_ns: int, publish_time_ns: int) -> None:
        """Append one message; LogError where the disk takes not even this."""
        try:
            if self._writer.written_bytes + len(cdr) > self._ring_bytes - _SUMMARY_BYTES:
                self._turn()
            self._writer.write(topic, cdr, log_time_ns, publish_time_ns)
            self._newest[topic] = (cdr, log_time_ns, publish_time_ns)
        except OSError as error:
            path = self._writer.path
            raise LogError(path, "file", f"cannot be written ({error.strerror})", "free the disk") from error

    def flush_if_due(self, now_ns: int) -> None:
        """As `LogWriter.flush_if_due`."""
        self._writer.flush_if_due(now_ns)

    def close(self) -> None:
        """Finish the file; the newer one of both by its time, also where both ended within one tick of the clock."""
        self._writer.close()
        path = self._writer.path
        other_ns = max(_written_ns(self._folder / name) for name in EVENTS if name != path.name)
        if _written_ns(path) <= other_ns:
            os.utime(path, ns=(other_ns + 1, other_ns + 1))

    def _turn(self) -> None:
        self._writer.close()
        self._writer = self._begin()
        for topic in self._topics.values():
            self._writer.add_topic(topic.name, topic.type, topic.definition, topic.qos)
        for name, (cdr, log_time_ns, publish_time_ns) in self._newest.items():
            self._writer.write(name, cdr, log_time_ns, publish_time_ns)

    def _begin(self) -> LogWriter:
        """A new file in the place of the older one; its room is free again before it is reserved anew."""
        path = self._folder / next(self._turns)
        path.unlink(missing_ok=True)
        try:
            writer = LogWriter(path, self._flush_period_ns, self._ring_bytes, indexed=False)
            self.reserved = True
        except LogError:
            writer, self.reserved = LogWriter(path, self._flush_period_ns, indexed=False), False
        return writer


def _written_ns(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
