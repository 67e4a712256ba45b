"""Bounded hand-over from the thread that receives to the thread that writes.

A disk that stalls holds up the writer alone. What it leaves lying is bounded in bytes: of bulk the newest is dropped
and counted, by topic, so that what was taken stays without holes; rare messages have room of their own.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

BULK_BYTES = 64 * 1024 * 1024
"""Most of a minute of the graph, not compressed; twice that while a writer that stalls still holds what it took."""
EVENT_BYTES = 4 * 1024 * 1024
OVERHEAD_BYTES = 256
"""Of a message beside its content: the object, its numbers and its place. A flood of empty ones is bounded, too."""


@dataclass(frozen=True, slots=True)
class Received:
    """One serialized message."""

    topic: str
    cdr: bytes
    log_time_ns: int
    publish_time_ns: int
    event: bool


class Backlog:
    """What was received and not yet written."""

    def __init__(self, bulk_bytes: int = BULK_BYTES, event_bytes: int = EVENT_BYTES) -> None:
        self._room = {False: bulk_bytes, True: event_bytes}
        self._held = {False: 0, True: 0}
        self._messages: list[Received] = []
        self._dropped: Counter[str] = Counter()
        self._lock = threading.Lock()

    def put(self, message: Received) -> bool:
        """Take a message, or count it as dropped where there is no room for it."""
        with self._lock:
            size = self._held[message.event] + len(message.cdr) + OVERHEAD_BYTES
            if size > self._room[message.event]:
                self._dropped[message.topic] += 1
                return False
            self._held[message.event] = size
            self._messages.append(message)
            return True

    def take(self) -> list[Received]:
        """Everything held, in the order of receiving; there is room again at once."""
        with self._lock:
            taken, self._messages = self._messages, []
            self._held = {False: 0, True: 0}
            return taken

    @property
    def dropped(self) -> Counter[str]:
        """Messages by topic for which there was no room."""
        with self._lock:
            return Counter(self._dropped)
