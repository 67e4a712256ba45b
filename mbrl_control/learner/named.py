"""Which log an error is about: its message begins with the file, or with one inside the log's folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_BEFORE, _BEHIND = r"(?<![^\s'\"(,;=])", r"(?=[/:,;)'\"\s]|$)"
"""What a path stands between: never the rest of a longer name, so that `out/run1` is not found in `out/run10`."""


def named_log(message: str, logs: Sequence[Path]) -> Path | None:
    """The log whose path, or a path below it, comes first in ``message``; None where none does.

    Of two that begin at the same place it is the longer one: the inner of nested logs, `out/run 1` and not `out/run`.
    """
    found = []
    for log in logs:
        if place := re.search(_BEFORE + re.escape(" ".join(str(log).split())) + _BEHIND, message):
            found.append((place.start(), -len(place[0]), log))
    return min(found, key=lambda each: each[:2])[2] if found else None
