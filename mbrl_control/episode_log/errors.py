"""The one error of the log: names the file, the field and the remedy."""

from __future__ import annotations

from pathlib import Path


class LogError(ValueError):
    """A log that cannot be written or read."""

    def __init__(self, path: Path | str, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {field}: {problem}; {remedy}")
        self.path = Path(path)
        self.field = field
        self.problem = problem
        self.remedy = remedy
