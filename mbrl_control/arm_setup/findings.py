"""What a check found: where, what, what to do, and a value where one can be proposed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from mbrl_control.robot_file import ArmError


class Severity(StrEnum):
    """STOP: the arm cannot be used. WARN: it can, but a number looks wrong. GUESS: nobody has confirmed a value yet."""

    STOP = "stop"
    WARN = "warn"
    GUESS = "guess"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a report."""

    severity: Severity
    file: str
    field: str
    fault: str
    remedy: str
    proposal: Any = None
    reason: str = ""
    """Why this value is proposed."""

    def with_proposal(self, proposal: Any, reason: str) -> Finding:
        return replace(self, proposal=proposal, reason=reason)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """Two or three lines for a terminal."""
        lines = [f"{self.severity.upper():<5} {self.file}: {self.field}: {self.fault}", f"      -> {self.remedy}"]
        if self.proposal is not None:
            lines.append(f"      proposed: {self.proposal} ({self.reason})")
        return "\n".join(lines)


def stop(error: ArmError) -> Finding:
    """An error that loading the arm would raise."""
    return Finding(Severity.STOP, error.file, error.field, error.fault, error.remedy)


def warn(path: Path, field: str, fault: str, remedy: str) -> Finding:
    """Something suspicious."""
    return Finding(Severity.WARN, str(path), field, fault, remedy)
