"""MCAP writer whose file stays readable up to the last flush, whatever kills the process.

Small chunks reach the kernel at least every ``FLUSH_PERIOD_NS``: after a SIGKILL at most that time
plus the caller's own queueing is missing. Format: https://mcap.dev/spec, profile `ros2`.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from mcap.writer import CompressionType, IndexType, Writer

from mbrl_control.episode_log.definitions import full_definition
from mbrl_control.episode_log.errors import LogError

FLUSH_PERIOD_NS = 100_000_000
CHUNK_BYTES = 64 * 1024


class LogWriter:
    """Writes serialized CDR messages. Not thread-safe: one thread owns it.

    Times are graph-clock nanoseconds and are the only clock used, so a test drives the flushes.
    """

    def __init__(
        self, path: Path, flush_period_ns: int = FLUSH_PERIOD_NS, reserved_bytes: int = 0, indexed: bool = True
    ) -> None:
        """Create ``path``; LogError when it exists or cannot be created.

        ``reserved_bytes`` of the disk are taken at once, so that the file can grow to that size on a full one, too.
        Without an index the file ends with a summary of some kilobytes, whatever its length; to seek in it is slow.
        """
        self.path = path
        self._flush_period_ns = flush_period_ns
        try:
            self._stream = _Stream(path, reserved_bytes)
        except OSError as error:
            raise LogError(path, "file", f"cannot be created ({error.strerror})", "name a new writable file") from error
        index = IndexType.ALL if indexed else IndexType.NONE
        self._writer = Writer(
            cast(IO[bytes], self._stream),
            chunk_size=CHUNK_BYTES,
            compression=CompressionType.ZSTD,
            index_types=index,
        )
        self._writer.start(profile="ros2", library="mbrl_control")
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._sequences: dict[int, int] = {}
        self._flushed_ns: int | None = None
        self._closed = False

    def add_topic(self, topic: str, type_name: str, definition: str | None = None, qos: str = "") -> None:
        """Announce a topic; ``definition`` defaults to the installed one of ``type_name``."""
        if topic in self._channels:
            raise LogError(self.path, topic, "announced twice", "announce every topic once")
        if type_name not in self._schemas:
            text = full_definition(type_name) if definition is None else definition
            self._schemas[type_name] = self._writer.register_schema(type_name, "ros2msg", text.encode())
        channel = self._writer.register_channel(
            topic, "cdr", self._schemas[type_name], metadata={"offered_qos_profiles": qos}
        )
        self._channels[topic] = channel
        self._sequences[channel] = 0

    def write(self, topic: str, cdr: bytes, log_time_ns: int, publish_time_ns: int | None = None) -> None:
        """Append one message received at ``log_time_ns``; flushes when the flush period has passed."""
        channel = self._channels.get(topic)
        if channel is None:
            raise LogError(self.path, topic, "was never announced", "call add_topic first")
        sequence = self._sequences[channel]
        self._sequences[channel] = sequence + 1
        published = log_time_ns if publish_time_ns is None else publish_time_ns
        self._writer.add_message(channel, log_time_ns, cdr, published, sequence & 0xFFFFFFFF)
        self.flush_if_due(log_time_ns)

    def flush_if_due(self, now_ns: int) -> None:
        """Flush when the last flush lies a flush period back; call it also while nothing arrives."""
        if self._flushed_ns is None:
            self._flushed_ns = now_ns
        if now_ns - self._flushed_ns >= self._flush_period_ns:
            self.flush()
            self._flushed_ns = now_ns

    @property
    def written_bytes(self) -> int:
        """Handed to the kernel."""
        return self._stream.tell()

    def flush(self) -> None:
        """Close the chunk and hand everything to the kernel."""
        self._writer.flush()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Write the summary and the footer; the file is then a finished MCAP."""
        if not self._closed:
            self._closed = True
            self._writer.finish()  # type: ignore[no-untyped-call]
            self._stream.finish()

    def abandon(self) -> None:
        """Leave the file as a killed process would: after a write that failed, say, on a full disk."""
        if not self._closed:
            self._closed = True
            self._stream.close()

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Stream:
    """A file without a buffer: a write that fails leaves nothing behind that would be tried again."""

    def __init__(self, path: Path, reserved_bytes: int) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._written = 0
        self._reserved = reserved_bytes > 0
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
            done = os.write(self._descriptor, left)
            self._written += done
            left = left[done:]
        return len(data)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        """The kernel has everything."""

    def finish(self) -> None:
        """Give back what was reserved and not used."""
        if self._reserved:
            os.ftruncate(self._descriptor, self._written)
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)
