"""The one error of replay buffers: names the buffer or file, the field and the remedy."""

from __future__ import annotations

from pathlib import Path


class BufferFault(ValueError):
    """A buffer that cannot be made, opened, filled or sampled as asked."""

    def __init__(self, where: Path | str, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{where}: {field}: {problem}; {remedy}")
        self.field = field
