"""Who may ask for motion: an operator on the list who returns the newest one-use challenge."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from mbrl_control.safety.config import GuardError

OPERATOR_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(slots=True)
class OperatorGate:
    """Holds the one valid challenge; a right answer uses it up, a wrong one changes nothing."""

    operators: tuple[str, ...]
    generator: np.random.Generator
    challenge: int = field(init=False)

    def __post_init__(self) -> None:
        for operator in self.operators:
            if not OPERATOR_ID.fullmatch(operator):
                raise GuardError(f"GuardConfig.operators: {operator!r} is not of the form [A-Za-z0-9_-]{{1,64}}")
        self._renew()

    def admit(self, operator_id: str, challenge: int) -> str:
        """Empty when admitted, else why not."""
        if operator_id not in self.operators:
            return "operator id is not on the list of operators"
        if challenge != self.challenge:
            return "challenge is not the newest one: read it from safety_status and ask again"
        self._renew()
        return ""

    def _renew(self) -> None:
        # Zero is what an unset field carries, so it is never a valid challenge.
        self.challenge = int(self.generator.integers(1, 2**63))
