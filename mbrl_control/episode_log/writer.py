"""MCAP writer whose file stays readable up to the last flush, whatever kills the process.

Small chunks reach the kernel at least every ``FLUSH_PERIOD_NS``: after a SIGKILL at most that time
plus the caller's own queueing is missing. Format: https://mcap.dev/spec, profile `ros2`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from mcap.data_stream import RecordBuilder
from mcap.records import Channel, Schema
from mcap.writer import CompressionType, Writer

from mbrl_control.episode_log.definitions import full_definition
from mbrl_control.episode_log.errors import LogError

FLUSH_PERIOD_NS = 100_000_000
CHUNK_BYTES = 64 * 1024
_INDEX_BYTES = 128
"""Of each chunk in the summary, besides 10 for each of its channels (https://mcap.dev/spec, "Chunk Index")."""
ANNOUNCE_BYTES = 4 * 1024 * 1024
"""What the topics are is said again after so much of the file: a message of a topic that nothing announces is lost."""


def is_due(since_ns: int | None, now_ns: int, period_ns: int) -> bool:
    """Whether a period has passed since then (None: never before).

    Times that lie further back than a period count as due, too: nothing waits for hours until a clock that was set
    back catches up. Messages come topic by topic, so that less is no news.
    """
    return since_ns is None or abs(now_ns - since_ns) >= period_ns


class LogWriter:
    """Writes serialized CDR messages. Not thread-safe: one thread owns it.

    Times are graph-clock nanoseconds and are the only clock used, so a test drives the flushes. An OSError of a write
    names the file; after it the file can only be abandoned.
    """

    def __init__(self, path: Path, flush_period_ns: int = FLUSH_PERIOD_NS, reserved_bytes: int = 0) -> None:
        """Create ``path``; LogError when it exists or cannot be created.

        ``reserved_bytes`` of the disk are taken at once, so that the file can grow to that size on a full one, too.
        """
        self.path = path
        self.unflushed: Counter[str] = Counter()
        """Messages by topic that lie in the open chunk: lost when the file is abandoned."""
        self._flush_period_ns = flush_period_ns
        try:
            self._stream = _Stream(path, reserved_bytes)
        except OSError as error:
            raise LogError(path, "file", f"cannot be created ({error.strerror})", "name a new writable file") from error
        self._writer = Writer(
            cast(IO[bytes], self._stream),
            chunk_size=CHUNK_BYTES,
            compression=CompressionType.ZSTD,
        )
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._sequences: dict[int, int] = {}
        self._announcements = b""
        self._announced_at = 0
        self._chunks = 0
        self._flushed_ns: int | None = None
        self._closed = False
        try:
            self._writer.start(profile="ros2", library="mbrl_control")
        except OSError:
            self.abandon()
            path.unlink()
            raise

    def add_topic(self, topic: str, type_name: str, definition: str | None = None, qos: str = "") -> None:
        """Announce a topic; ``definition`` defaults to the installed one of ``type_name``."""
        if topic in self._channels:
            raise LogError(self.path, topic, "announced twice", "announce every topic once")
        records = RecordBuilder()
        if type_name not in self._schemas:
            text = (full_definition(type_name) if definition is None else definition).encode()
            number = self._writer.register_schema(type_name, "ros2msg", text)
            self._schemas[type_name] = number
            Schema(id=number, data=text, encoding="ros2msg", name=type_name).write(records)
        schema, metadata = self._schemas[type_name], {"offered_qos_profiles": qos}
        channel = self._writer.register_channel(topic, "cdr", schema, metadata=metadata)
        Channel(id=channel, topic=topic, message_encoding="cdr", schema_id=schema, metadata=metadata).write(records)
        self._channels[topic] = channel
        self._sequences[channel] = 0
        # The library says it in the next chunk alone, and damage to that one would cost the messages of all the others.
        self._announce(records.end())  # type: ignore[no-untyped-call]

    def write(self, topic: str, cdr: bytes, log_time_ns: int, publish_time_ns: int | None = None) -> None:
        """Append one message received at ``log_time_ns``; flushes when the flush period has passed."""
        channel = self._channels.get(topic)
        if channel is None:
            raise LogError(self.path, topic, "was never announced", "call add_topic first")
        sequence = self._sequences[channel]
        self._sequences[channel] = sequence + 1
        published = log_time_ns if publish_time_ns is None else publish_time_ns
        self.unflushed[topic] += 1
        before = self._stream.tell()
        self._writer.add_message(channel, log_time_ns, cdr, published, sequence & 0xFFFFFFFF)
        if self._stream.tell() != before:  # the chunk was full, and this message the last one in it
            self._chunk_written()
        self.flush_if_due(log_time_ns)

    def flush_if_due(self, now_ns: int, period_ns: int | None = None) -> None:
        """Flush when the last flush lies a flush period (or ``period_ns``) back; call it also while nothing arrives."""
        if self._flushed_ns is None:
            self._flushed_ns = now_ns
        if is_due(self._flushed_ns, now_ns, period_ns or self._flush_period_ns):
            self.flush()
            self._flushed_ns = now_ns

    @property
    def written_bytes(self) -> int:
        """Handed to the kernel."""
        return self._stream.tell()

    @property
    def ending_bytes(self) -> int:
        """What `close` writes at most, unless a message is larger than a chunk: the open chunk, index and summary."""
        index = self._chunks * (_INDEX_BYTES + 10 * len(self._channels))
        return 2 * CHUNK_BYTES + len(self._announcements) + index

    def flush(self) -> None:
        """Close the chunk and hand everything to the kernel."""
        self._writer.flush()  # type: ignore[no-untyped-call]
        if self.unflushed:
            self._chunk_written()
        if self._stream.tell() - self._announced_at >= ANNOUNCE_BYTES:
            self._announce(b"")

    def _chunk_written(self) -> None:
        self._chunks += 1
        self.unflushed.clear()

    def close(self) -> None:
        """Write the summary and the footer; the file is then a finished MCAP."""
        if self._closed:
            return
        self._closed = True
        try:
            self._writer.finish()  # type: ignore[no-untyped-call]
            self._stream.give_back()
        finally:
            self._stream.close()
        self.unflushed.clear()

    def abandon(self) -> None:
        """Leave the file as a killed process would: after a write that failed, say, on a full disk."""
        self._closed = True
        self._stream.close()

    def _announce(self, added: bytes) -> None:
        """Say ``added``, or everything once more, between two chunks."""
        self._announcements += added
        self._stream.write(added or self._announcements)
        self._announced_at = self._stream.tell()

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Stream:
    """A file without a buffer: a write that fails leaves nothing behind that would be tried again."""

    def __init__(self, path: Path, reserved_bytes: int) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._written = 0
        self._reserved = reserved_bytes > 0
        with contextlib.suppress(OSError):  # a file system without locks; see `folder.is_written`
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if self._reserved:
            try:
                os.posix_fallocate(self._descriptor, 0, reserved_bytes)
            except OSError:
                self.close()
                path.unlink()
                raise

    def write(self, data: bytes) -> int:
        left = memoryview(data)
        while left:
            try:
                done = os.write(self._descriptor, left)
            except OSError as error:
                error.filename = str(self._path)
                raise
            self._written += done
            left = left[done:]
        return len(data)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        """The kernel has everything."""

    def give_back(self) -> None:
        """What was reserved and not used."""
        if self._reserved:
            os.ftruncate(self._descriptor, self._written)

    def close(self) -> None:
        """Also the lock goes."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
