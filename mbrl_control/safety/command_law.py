"""What the guard commands by itself and how it limits a request, for each command interface."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mbrl_control.safety.config import GuardConfig, GuardLimits
from mbrl_control.safety.hold_law import AT_REST, Hold, advance_hold, hold_request
from mbrl_control.safety.limiter import Limited, Limiter, Motion
from mbrl_control.signals import Array, SensorSample


class CommandLaw(Protocol):
    """Pure but for constants; commands [J] are rad/s or N m."""

    def brake(self, sample: SensorSample) -> Array:
        """Request that brings the arm to rest."""
        ...

    def hold(self, hold: Hold, motion: Motion, sample: SensorSample) -> tuple[Hold, Array]:
        """One tick of the hold: brakes, captures the pose, keeps it; its new state and the request."""
        ...

    def limit(self, request: Array, motion: Motion, sample: SensorSample, age_s: float, scale: float) -> Limited:
        """Bring ``request`` inside the limits; ``scale`` in [0, 1] caps the rated speeds."""
        ...

    def spent(self, motion: Motion) -> bool:
        """The command in force moves nothing any more: drives may go off without the arm being watched."""
        ...


class VelocityLaw:
    """Velocities: zero brakes, the hold is proportional and integral, limits are intervals of the next command."""

    def __init__(self, limits: GuardLimits, config: GuardConfig) -> None:
        self._limits, self._config = limits, config
        self._limiter = Limiter(limits, config)

    def brake(self, sample: SensorSample) -> Array:
        """See CommandLaw."""
        return np.zeros_like(sample.position)

    def hold(self, hold: Hold, motion: Motion, sample: SensorSample) -> tuple[Hold, Array]:
        """See CommandLaw."""
        rated, config = self._limits.velocity, self._config
        hold = advance_hold(hold, motion.command, sample.position, sample.velocity, rated, config)
        return hold, hold_request(hold, sample.position, rated, config)

    def limit(self, request: Array, motion: Motion, sample: SensorSample, age_s: float, scale: float) -> Limited:
        """See CommandLaw."""
        return self._limiter.limit(request, motion, sample.position, sample.velocity, age_s, scale)

    def spent(self, motion: Motion) -> bool:
        """See CommandLaw."""
        return bool(np.abs(motion.command).max() <= AT_REST)
