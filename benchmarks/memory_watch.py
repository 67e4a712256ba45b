"""Most memory that this process holds while something runs: anonymous, and pages of mapped files, apart.

Anonymous pages are what a machine must have, in memory or swap. Pages of files the kernel takes back when others need
the room, and reads again. It keeps no mark of the most of either, so a thread looks every 10 ms.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_PERIOD_S = 0.01


@dataclass(slots=True)
class Watched:
    """Bytes above what the process held before; complete when the watch ends."""

    stage: str = "start"
    """Set by whoever is watched."""
    anonymous: int = 0
    mapped: int = 0
    by_stage: dict[str, int] = field(default_factory=dict)
    """Anonymous."""


@contextmanager
def watched() -> Iterator[Watched]:
    """Watch this process until the end of the block."""
    found, over, before = Watched(), threading.Event(), _held()

    def look() -> None:
        anonymous, mapped = (now - then for now, then in zip(_held(), before, strict=True))
        found.anonymous, found.mapped = max(found.anonymous, anonymous), max(found.mapped, mapped)
        found.by_stage[found.stage] = max(found.by_stage.get(found.stage, 0), anonymous)

    def watch() -> None:
        while not over.wait(_PERIOD_S):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        look()


def _held() -> tuple[int, int]:
    """Bytes now, anonymous and of files, of Linux's /proc/self/status (proc_pid_status(5))."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    kib = {words[0]: int(words[1]) for words in lines if words[0].startswith("Rss")}
    return 1024 * kib["RssAnon:"], 1024 * (kib["RssFile:"] + kib["RssShmem:"])
