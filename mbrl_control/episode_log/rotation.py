"""Writes a log as a folder: rotates its files, keeps to a quota and to what the disk has left, and keeps the events.

Whoever writes here is never stopped by the disk: what it does not take is counted (`dropped`), and writing goes on in
a new file once there is room again. A logger that was killed is followed by one that goes on with the next number.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from mbrl_control.episode_log.bag_metadata import BagFile, write_metadata
from mbrl_control.episode_log.definitions import full_definition
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.event_ring import RING_BYTES, EventRing
from mbrl_control.episode_log.folder import log_file, numbered_files
from mbrl_control.episode_log.recovery import finish_files
from mbrl_control.episode_log.writer import FLUSH_PERIOD_NS, LogWriter, is_due

_RETRY_NS = 1_000_000_000
"""After a write that failed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much disk a log may take."""

    file_bytes: int = 64 * 1024 * 1024
    """A file is closed beyond this: some five minutes of the graph."""
    quota_bytes: int = 20 * 1024 * 1024 * 1024
    """Of all files of this log together; the oldest go. About a day of the graph."""
    free_bytes: int = 512 * 1024 * 1024
    """The disk keeps so much: with less left nothing but events is written."""
    ring_bytes: int = RING_BYTES
    """Of each file of events; two of them stay, in a row of crashes a third."""

    def __post_init__(self) -> None:
        if self.file_bytes < 1 or self.quota_bytes < 2 * self.file_bytes or self.free_bytes < 0:
            raise ValueError("log limits: quota_bytes must be at least twice file_bytes, none negative; correct them")


@dataclass(frozen=True, slots=True)
class _Topic:
    type: str
    definition: str
    qos: str
    event: bool


class FolderWriter:
    """Writes serialized CDR messages into the folder of a log. Not thread-safe: one thread owns it.

    Times are graph-clock nanoseconds and the only clock used.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits | None = None,
        flush_period_ns: int = FLUSH_PERIOD_NS,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        """Make the folder or go on in it; LogError when it cannot be written to."""
        self.folder = folder
        self._limits = limits or Limits()
        self._flush_period_ns = flush_period_ns
        self._free_bytes = free_bytes
        self._topics: dict[str, _Topic] = {}
        self.dropped: Counter[str] = Counter()
        """Messages by topic that the disk did not take."""
        self.removed_files = 0
        """Oldest ones that went for the quota."""
        self._fault = ""
        self._finished: dict[Path, BagFile] = {}
        self._tried_ns: int | None = None
        self._looked_ns: int | None = None
        self._writer: LogWriter | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = numbered_files(folder)
            self._number = held[-1][0] + 1 if held else 0
            self._ring = EventRing(folder, flush_period_ns, self._limits.ring_bytes)
        except OSError as error:
            raise LogError(folder, "folder", f"cannot be made ({error.strerror})", "name a writable place") from error
        try:
            self._begin()
        except OSError as error:  # a full disk: it may have room later
            self._give_up(None, str(error))

    @property
    def fault(self) -> str:
        """Why nothing but events is written now, or not even these; empty: all is well."""
        return self._ring.fault or self._fault

    @property
    def dropped_events(self) -> int:
        """Messages that did not come into the ring of events."""
        return self._ring.dropped.total()

    def add_topic(
        self, topic: str, type_name: str, definition: str | None = None, qos: str = "", event: bool = False
    ) -> None:
        """Announce a topic; an ``event`` is kept in the ring, too."""
        if topic in self._topics:
            raise LogError(self.folder, topic, "announced twice", "announce every topic once")
        text = full_definition(type_name) if definition is None else definition
        self._topics[topic] = _Topic(type_name, text, qos, event)
        if event:
            self._ring.add_topic(topic, type_name, text, qos)
        try:
            if self._writer is not None:
                self._writer.add_topic(topic, type_name, text, qos)
        except OSError as error:
            self._give_up(None, str(error))

    def write(self, topic: str, cdr: bytes, log_time_ns: int, publish_time_ns: int | None = None) -> None:
        """Append one message received at ``log_time_ns``; counted as dropped where the disk does not take it."""
        known = self._topics.get(topic)
        if known is None:
            raise LogError(self.folder, topic, "was never announced", "call add_topic first")
        published = log_time_ns if publish_time_ns is None else publish_time_ns
        if known.event:
            self._ring.write(topic, cdr, log_time_ns, published)
        self._look(log_time_ns)
        if self._writer is None:
            self.dropped[topic] += 1
            return
        try:
            self._writer.write(topic, cdr, log_time_ns, published)
        except OSError as error:
            self._give_up(log_time_ns, str(error))

    def flush_if_due(self, now_ns: int) -> None:
        """Flush when due; call it also while nothing arrives."""
        self._ring.flush_if_due(now_ns, alone=self._writer is None)
        self._look(now_ns)
        try:
            if self._writer is not None:
                self._writer.flush_if_due(now_ns)
        except OSError as error:
            self._give_up(now_ns, str(error))

    def close(self) -> None:
        """Finish the files, those of a logger that was killed before, too, and tell rosbag2 of them.

        What a full disk does not take stays as a killed logger leaves it, for the next one or `log recover`; `fault`
        says so.
        """
        self._ring.close()
        try:
            self._end_file()
            write_metadata(self.folder, self._finished)  # at once: to finish others may take longer than there is time
            if finish_files(self.folder):
                write_metadata(self.folder, self._finished)
        except OSError as error:
            self._give_up(None, str(error))

    def _look(self, now_ns: int) -> None:
        """At most once a flush period: is there room, is the file full, is it time to try again?"""
        if not is_due(self._looked_ns, now_ns, self._flush_period_ns):
            return
        self._looked_ns = now_ns
        try:
            if self._writer is not None:
                if self._free_bytes(self.folder) < self._limits.free_bytes:
                    self._end_file()
                    self._give_up(now_ns, f"fewer than {self._limits.free_bytes} bytes are free")
                elif self._writer.written_bytes >= self._limits.file_bytes:
                    self._rotate()
            elif is_due(self._tried_ns, now_ns, _RETRY_NS):
                self._tried_ns = now_ns
                if self._free_bytes(self.folder) >= self._limits.free_bytes + self._limits.file_bytes // 8:
                    self._begin()
        except (OSError, LogError) as error:
            self._give_up(now_ns, str(error))

    def _rotate(self) -> None:
        self._end_file()
        self._keep_quota()
        self._begin()

    def _begin(self) -> None:
        """The next file; nothing is left of one that the disk does not take."""
        writer = LogWriter(log_file(self.folder, self._number), self._flush_period_ns)
        try:
            for name, topic in self._topics.items():
                writer.add_topic(name, topic.type, topic.definition, topic.qos)
        except OSError:
            writer.abandon()
            writer.path.unlink()
            raise
        self._number += 1
        self._writer, self._fault = writer, ""

    def _end_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _give_up(self, now_ns: int | None, problem: str) -> None:
        if self._writer is not None:
            self._writer.abandon()
            self.dropped.update(self._writer.unflushed)
            self._writer = None
        self._fault = f"{self.folder}: {problem}: nothing but events is logged; free the disk"
        self._tried_ns = now_ns

    def _keep_quota(self) -> None:
        """Room for the next file; the newest one always stays."""
        files = [(path, path.stat().st_size) for _, path in numbered_files(self.folder)]
        total = sum(size for _, size in files) + self._limits.file_bytes
        surplus: list[Path] = []
        for path, size in files[:-1]:
            if total <= self._limits.quota_bytes:
                break
            surplus.append(path)
            total -= size
        write_metadata(self.folder, self._finished, without=surplus)
        for path in surplus:
            path.unlink(missing_ok=True)
            self._finished.pop(path, None)
            self.removed_files += 1

    def __enter__(self) -> FolderWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
