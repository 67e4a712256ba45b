"""The last hour and more of rare messages (goals, models, states, stops), kept whatever happens to the rest.

Files of a size that is reserved on the disk before the first message: a full disk and a quota end the bulk, not these.
When one is full the next one begins, with the newest message of every topic first, so that each tells by itself in
which state it began. The oldest go, but three quarters of a full file stay beside the one that is written: a logger
that is killed and started again, however often, takes nothing away.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.folder import event_file, event_files, is_written
from mbrl_control.episode_log.recovery import cut_reserve, is_torn
from mbrl_control.episode_log.writer import FLUSH_PERIOD_NS, LogWriter, is_due

RING_BYTES = 16 * 1024 * 1024
"""Of each file: an hour and three quarters of a graph with two states at 20 Hz and the diagnostics of eight nodes."""
_LEAST_BYTES = 768 * 1024
"""Of a file: it has to hold some chunks and what a file ends with, too."""
PERIOD_NS = 1_000_000_000
"""Between flushes: ten times as often would fill the files with index. The bulk has the same messages meanwhile."""
_RETRY_NS = 1_000_000_000
"""After a write that failed."""


@dataclass(frozen=True, slots=True)
class _Topic:
    name: str
    type: str
    definition: str
    qos: str


class EventRing:
    """Writes into the files of one folder. Not thread-safe: one thread owns it.

    Whoever writes here is never stopped by the disk: what it does not take is counted, and tried again in a new file.
    """

    def __init__(self, folder: Path, flush_period_ns: int = FLUSH_PERIOD_NS, ring_bytes: int = RING_BYTES) -> None:
        """Begin a new file beside those that are there; where its size cannot be reserved it grows as it can.

        ``flush_period_ns`` holds while the ring is alone; else it takes `PERIOD_NS`.
        """
        self._folder = folder
        self._urgent_ns = flush_period_ns
        self._ring_bytes = max(ring_bytes, _LEAST_BYTES)
        self._topics: dict[str, _Topic] = {}
        self._newest: dict[str, tuple[bytes, int, int]] = {}
        self.dropped: Counter[str] = Counter()
        """Messages by topic that the disk did not take."""
        self.fault = ""
        """Why not even events are written now."""
        self._gave_up_ns: int | None = None
        self._writer: LogWriter | None = None
        held = event_files(folder)
        self._number = held[-1][0] + 1 if held else 0
        self._begin(0)

    def add_topic(self, name: str, type_name: str, definition: str, qos: str) -> None:
        """Announce a topic, once."""
        self._topics[name] = _Topic(name, type_name, definition, qos)
        try:
            if self._writer is not None:
                self._writer.add_topic(name, type_name, definition, qos)
        except OSError as error:
            self._give_up(0, str(error))

    def write(self, topic: str, cdr: bytes, log_time_ns: int, publish_time_ns: int) -> None:
        """Append one message; counted as dropped where the disk takes not even this."""
        self._newest[topic] = (cdr, log_time_ns, publish_time_ns)
        try:
            if self._writer is None:
                self.dropped[topic] += 1
            elif self._writer.written_bytes + len(cdr) + self._writer.ending_bytes <= self._ring_bytes:
                self._writer.write(topic, cdr, log_time_ns, publish_time_ns)
            else:
                self._writer.close()
                self._begin(log_time_ns)  # with this message as the newest of its topic
                self.dropped[topic] += self._writer is None
        except OSError as error:
            self._give_up(log_time_ns, str(error))

    def flush_if_due(self, now_ns: int, alone: bool) -> None:
        """Call it also while nothing arrives; ``alone``: nobody else writes the events, each has to be safe soon."""
        if self._writer is None:
            if is_due(self._gave_up_ns, now_ns, _RETRY_NS):
                self._begin(now_ns)
            return
        try:
            self._writer.flush_if_due(now_ns, self._urgent_ns if alone else None)
        except OSError as error:
            self._give_up(now_ns, str(error))

    def close(self) -> None:
        """Finish the file; where the disk does not take its end, `fault` says so."""
        try:
            if self._writer is not None:
                self._writer.close()
        except OSError as error:
            self._give_up(0, str(error))
        self._writer = None

    def _begin(self, now_ns: int) -> None:
        """The next file, with the newest message of every topic; the oldest ones make room for it first."""
        writer: LogWriter | None = None
        try:
            _make_room(self._folder, self._ring_bytes * 3 // 4)
            writer = self._create()
            for topic in self._topics.values():
                writer.add_topic(topic.name, topic.type, topic.definition, topic.qos)
            for name, (cdr, log_time_ns, publish_time_ns) in self._newest.items():
                writer.write(name, cdr, log_time_ns, publish_time_ns)
        except (OSError, LogError) as error:
            if writer is not None:
                writer.abandon()
                writer.path.unlink(missing_ok=True)
            self._writer = None
            self._give_up(now_ns, str(error))
            return
        self._writer, self._number, self.fault = writer, self._number + 1, ""

    def _create(self) -> LogWriter:
        path = event_file(self._folder, self._number)
        try:
            return LogWriter(path, PERIOD_NS, self._ring_bytes)
        except LogError:
            return LogWriter(path, PERIOD_NS)

    def _give_up(self, now_ns: int, problem: str) -> None:
        if self._writer is not None:
            self._writer.abandon()
            self.dropped.update(self._writer.unflushed)
            self._writer = None
        self.fault = f"{self._folder}: {problem}: not even events are logged; free the disk"
        self._gave_up_ns = now_ns


def _make_room(folder: Path, least_bytes: int) -> None:
    """Give back what torn files had reserved, and remove the oldest as long as the others hold ``least_bytes``."""
    for _, path in event_files(folder):
        if is_torn(path):
            cut_reserve(path)
    files = [(path, path.stat().st_size) for _, path in event_files(folder)]
    total = sum(size for _, size in files)
    for path, size in files:
        if total - size < least_bytes or is_written(path):
            break
        path.unlink(missing_ok=True)
        total -= size
