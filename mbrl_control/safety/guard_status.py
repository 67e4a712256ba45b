"""What the guard tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

from mbrl_control.signals import OperatorState


@dataclass(frozen=True, slots=True)
class GuardStatus:
    """What `safety_status` tells; challenge is the one the next operator request must return."""

    state: OperatorState
    reasons: tuple[str, ...]
    epoch: int
    speed_scale: float
    payload_kg: float
    model_id: str
    challenge: int
    rejected_plans: int
    fresh_plans: int
    holds: int
