"""MCAP writer whose file stays readable up to the last flush, whatever kills the process.

Small chunks reach the kernel at least every ``FLUSH_PERIOD_NS``: after a SIGKILL at most that time
plus the caller's own queueing is missing. Format: https://mcap.dev/spec, profile `ros2`.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from mcap.writer import CompressionType, Writer

from mbrl_control.episode_log.definitions import full_definition
from mbrl_control.episode_log.errors import LogError

FLUSH_PERIOD_NS = 100_000_000
CHUNK_BYTES = 64 * 1024


class LogWriter:
    """Writes serialized CDR messages. Not thread-safe: one thread owns it.

    Times are graph-clock nanoseconds and are the only clock used, so a test drives the flushes.
    """

    def __init__(self, path: Path, flush_period_ns: int = FLUSH_PERIOD_NS) -> None:
        """Create ``path``; LogError when it exists or cannot be created."""
        self.path = path
        self._flush_period_ns = flush_period_ns
        try:
            self._stream = path.open("xb")
        except OSError as error:
            raise LogError(path, "file", f"cannot be created ({error.strerror})", "name a new writable file") from error
        self._writer = Writer(self._stream, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)
        self._writer.start(profile="ros2", library="mbrl_control")
        self._stream.flush()
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

    def flush(self) -> None:
        """Close the chunk and hand everything to the kernel."""
        self._writer.flush()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Write the summary and the footer; the file is then a finished MCAP."""
        if not self._closed:
            self._closed = True
            self._writer.finish()  # type: ignore[no-untyped-call]
            self._stream.close()

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
