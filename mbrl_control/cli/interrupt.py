"""Ctrl-C, SIGTERM and a closed terminal end a verb alike, at any moment, through its context managers; a second one is
ignored."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, the first of these signals raises KeyboardInterrupt in the main thread; further ones are ignored."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in _NUMBERS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Unless it was started to outlive its terminal (nohup).
_HANGUP = () if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (signal.SIGHUP,)
_NUMBERS = (signal.SIGINT, signal.SIGTERM, *_HANGUP)
