"""Writes a log in a thread of its own, so that a disk that stalls or is full never holds up whoever logs."""

from __future__ import annotations

import threading
import traceback
from collections import Counter
from collections.abc import Callable

from mbrl_control.episode_log.backlog import Backlog, Received
from mbrl_control.episode_log.rotation import FolderWriter

WRITE_PERIOD_S = 0.02
"""Writing in batches wakes the thread 50 times a second instead of a thousand."""


class BackgroundWriter:
    """Takes messages from one thread and writes them in another until ``close``."""

    def __init__(
        self,
        writer: FolderWriter,
        now_ns: Callable[[], int],
        on_failure: Callable[[str], None],
        backlog: Backlog | None = None,
    ) -> None:
        """Take over ``writer``; ``now_ns`` is the clock of its messages. ``on_failure`` gets the traceback of what
        ended the thread; a full disk does not, see `FolderWriter`."""
        self._writer = writer
        self._now_ns = now_ns
        self._on_failure = on_failure
        self._backlog = backlog or Backlog()
        self._writing = threading.Event()
        self._writing.set()
        self.written = 0
        """Messages taken from the backlog."""
        self._thread = threading.Thread(target=self._run, name="log_writer", daemon=True)
        self._thread.start()

    def put(self, message: Received) -> None:
        """Hand over one message; dropped and counted where the backlog is full."""
        self._backlog.put(message)

    @property
    def dropped(self) -> Counter[str]:
        """Messages by topic that did not come into the log, for lack of room in the backlog or on the disk."""
        # Of a copy, which is made at once: the other thread may count a topic for the first time meanwhile.
        return self._backlog.dropped + self._writer.dropped.copy()

    @property
    def dropped_events(self) -> int:
        """Messages that did not come into the ring of events."""
        return self._writer.dropped_events

    @property
    def fault(self) -> str:
        """Why nothing but events is written now; empty: all is well."""
        return self._writer.fault

    @property
    def removed_files(self) -> int:
        """Oldest ones that went for the quota."""
        return self._writer.removed_files

    def close(self) -> None:
        """Write what is left and finish the log."""
        self._writing.clear()
        self._thread.join()

    def _run(self) -> None:
        pause = threading.Event()
        try:
            with self._writer:
                while self._writing.is_set():
                    self._append()
                    self._writer.flush_if_due(self._now_ns())
                    pause.wait(WRITE_PERIOD_S)
                self._append()
        except Exception:
            self._on_failure(traceback.format_exc())

    def _append(self) -> None:
        for message in self._backlog.take():
            self._writer.write(message.topic, message.cdr, message.log_time_ns, message.publish_time_ns)
            self.written += 1
