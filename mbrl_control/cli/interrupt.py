"""Ctrl-C, SIGTERM and a closed terminal end a verb alike, at any moment, through its context managers; a second one is
ignored."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mbrl_control.ending import ENDING


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, the first of these signals raises KeyboardInterrupt in the main thread; further ones are ignored."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Inside, the same signals wait: the first of them takes effect at the end of the block. For the main thread.

    A process that was begun and whose handle was not yet stored could not be ended by whoever is interrupted.
    """
    waiting: list[int] = []
    before = {number: signal.signal(number, lambda number, _frame: waiting.append(number)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if waiting:
        signal.raise_signal(waiting[0])
