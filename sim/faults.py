"""Named disturbances of a simulated arm's measurements, for a set time or until cleared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mbrl_control.robot import Arm
from mbrl_control.signals import Array, CommandInterface, SensorSample
from sim.arm_sim import ArmSim, TruthState
from sim.randomization import SimParameters

Disturbance = Callable[[SensorSample, SensorSample, float], SensorSample | None]
"""(sample, last sample before the fault, magnitude) -> what the driver reads."""

FAULTS: dict[str, Disturbance] = {
    "sensor_dropout": lambda sample, last, magnitude: None,
    "sensor_freeze": lambda sample, last, magnitude: replace(last, stamp_ns=sample.stamp_ns),
    "sensor_nan": lambda sample, last, magnitude: replace(sample, position=np.full_like(sample.position, np.nan)),
    "position_bias": lambda sample, last, magnitude: replace(sample, position=sample.position + magnitude),
    "clock_step": lambda sample, last, magnitude: replace(sample, stamp_ns=sample.stamp_ns + round(magnitude * 1e9)),
}
"""Unit of the magnitude: position_bias rad, clock_step s; the others have none."""


class FaultyArm:
    """An :class:`ArmSim` whose measurements can be disturbed; everything else passes through."""

    def __init__(self, inner: ArmSim) -> None:
        self._inner = inner
        self._active: tuple[Disturbance, float, int | None] | None = None
        self._last: SensorSample | None = None

    def inject(self, fault: str, magnitude: float, duration_s: float) -> None:
        """Start one fault in place of the one before; ``duration_s`` 0 lasts until :meth:`clear`.

        Raises:
            ValueError: unknown fault, or a number that is not finite or negative where it must not be.
        """
        if fault not in FAULTS:
            raise ValueError(f"fault: {fault!r} is unknown; use one of {sorted(FAULTS)} or 'clear'")
        if not np.isfinite(magnitude) or not np.isfinite(duration_s) or duration_s < 0.0:
            raise ValueError(f"fault {fault}: magnitude {magnitude}, duration {duration_s}; give finite numbers >= 0 s")
        end = self.time_ns + round(duration_s * 1e9) if duration_s > 0.0 else None
        self._active = (FAULTS[fault], magnitude, end)

    def clear(self) -> None:
        """End the fault."""
        self._active = None

    def sensor(self) -> SensorSample | None:
        sample = self._inner.sensor()
        if self._active is not None and self._active[2] is not None and self.time_ns >= self._active[2]:
            self.clear()
        if self._active is None or sample is None:
            self._last = sample
            return sample
        disturbance, magnitude, _ = self._active
        return disturbance(sample, self._last or sample, magnitude)

    @property
    def arm(self) -> Arm:
        return self._inner.arm

    @property
    def interface(self) -> CommandInterface:
        return self._inner.interface

    @property
    def parameters(self) -> SimParameters:
        return self._inner.parameters

    @property
    def period_ns(self) -> int:
        return self._inner.period_ns

    @property
    def step_count(self) -> int:
        return self._inner.step_count

    @property
    def time_ns(self) -> int:
        return self._inner.time_ns

    def reset(self, q: Array) -> None:
        self._inner.reset(q)

    def set_time(self, time_ns: int) -> None:
        self._inner.set_time(time_ns)

    def command(self, values: Array) -> None:
        self._inner.command(values)

    def brake(self, on: bool) -> None:
        self._inner.brake(on)

    def step(self) -> None:
        self._inner.step()

    def attach_payload(self, mass: float, offset: Array) -> None:
        self._inner.attach_payload(mass, offset)

    def truth(self) -> TruthState:
        return self._inner.truth()
