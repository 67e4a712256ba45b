"""What every simulated arm does, whatever engine is behind it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mbrl_control.robot import Arm, ArmError, SensorNoise
from mbrl_control.signals import Array, CommandInterface, SensorSample
from sim.randomization import SimParameters


@dataclass(frozen=True, slots=True)
class TruthState:
    """The simulator's own state: no noise, no delay."""

    stamp_ns: int
    step: int
    position: Array
    """[J] rad."""
    velocity: Array
    """[J] rad/s."""
    effort: Array
    """[J] N m, motor torque over the last step: servo plus gravity compensation."""
    tool: Array
    """[3] m, tool frame origin in the base frame."""
    payload_mass: float
    """kg"""
    brakes: bool


class ArmSim(Protocol):
    """An arm under velocity or torque commands that advances in fixed physics steps. All calls come from one thread.

    Time is that of the last :meth:`set_time` plus a period for each step since. Commands act ``command delay`` after
    :meth:`command`, measurements become readable ``sensor delay`` after their stamp; both are whole physics steps.
    The motors never give more than the effort limit, gravity compensation included.
    """

    @property
    def arm(self) -> Arm: ...

    @property
    def interface(self) -> CommandInterface:
        """What a command is: the velocity that the servos follow with their lag, or the motors' torque itself."""
        ...

    @property
    def parameters(self) -> SimParameters:
        """What the plant really is, where :attr:`arm` says what is known of it."""
        ...

    @property
    def period_ns(self) -> int:
        """Length of one physics step."""
        ...

    @property
    def step_count(self) -> int:
        """Physics steps since construction; reset does not turn time back."""
        ...

    @property
    def time_ns(self) -> int: ...

    def reset(self, q: Array) -> None:
        """Arm at rest at ``q`` [J] rad, brakes released, command zero, delay lines empty. The payload stays."""
        ...

    def set_time(self, time_ns: int) -> None:
        """Let the present step be at ``time_ns``; measurements from before are forgotten."""
        ...

    def command(self, values: Array) -> None:
        """Command [J], held until the next one. Ignored by the arm while the brakes are on.

        VELOCITY: rad/s. EFFORT: N m, on top of the unloaded arm's gravity torque where the arm's drives add that
        themselves (``effort_mode.gravity_compensated``).
        """
        ...

    def brake(self, on: bool) -> None:
        """Clamp or release the brakes; releasing starts from a zero command."""
        ...

    def step(self) -> None:
        """Advance by one physics step."""
        ...

    def sensor(self) -> SensorSample | None:
        """Newest readable measurement, stamped with its measurement time; None where there is none (yet).

        Every call draws new noise; call it once per measurement.
        """
        ...

    def attach_payload(self, mass: float, offset: Array) -> None:
        """Fix a point mass (kg) at ``offset`` [3] m in the tool frame; mass 0 takes it off.

        Raises:
            ValueError: the mass is negative, or a number is not finite.
        """
        ...

    def truth(self) -> TruthState:
        """The present state, without noise or delay."""
        ...


class CommandDelay:
    """A command line of whole steps: what is shifted in comes out ``steps`` shifts later, zeros before that."""

    def __init__(self, steps: int, joints: int) -> None:
        self._zero = np.zeros(joints)
        self._line = deque([self._zero] * steps)

    def shift(self, command: Array) -> Array:
        """Take the command of this step and hand out the one that acts in it."""
        self._line.append(command)
        return self._line.popleft()

    def clear(self) -> None:
        """Forget everything on its way."""
        for index in range(len(self._line)):
            self._line[index] = self._zero


class Instruments:
    """Time, and the measurements on their way: what an engine records after each step becomes readable later."""

    def __init__(self, noise: SensorNoise, late_steps: int, period_ns: int, seed: int, start_ns: int) -> None:
        self._noise = noise
        self._period_ns = period_ns
        self._late = late_steps
        self._generator = np.random.default_rng(seed)
        self._start_ns = start_ns
        self._line: deque[tuple[int, Array, Array, Array]] = deque(maxlen=self._late + 1)
        self.steps = 0

    @property
    def time_ns(self) -> int:
        return self._start_ns + self.steps * self._period_ns

    @property
    def newest(self) -> tuple[int, Array, Array, Array]:
        """(stamp, position, velocity, effort) of the last record, neither noisy nor late."""
        return self._line[-1]

    def record(self, position: Array, velocity: Array, effort: Array) -> None:
        """Take the present state; the arrays must not change afterwards."""
        self._line.append((self.time_ns, position, velocity, effort))

    def forget(self) -> None:
        """Measurements on their way are lost."""
        self._line.clear()

    def set_time(self, time_ns: int) -> None:
        """As :meth:`ArmSim.set_time`: the newest record gets the new time, the others are lost."""
        _, *state = self.newest
        self._start_ns = time_ns - self.steps * self._period_ns
        self.forget()
        self.record(*state)

    def sample(self) -> SensorSample | None:
        """As :meth:`ArmSim.sensor`."""
        return measure(self._line[0], self._noise, self._generator) if len(self._line) > self._late else None


def whole_steps(delay_s: float, period_ns: int, field: str) -> int:
    """Delay as a count of physics steps.

    Raises:
        ArmError: the delay is no multiple of the step.
    """
    steps = round(delay_s * 1e9 / period_ns)
    if abs(steps * period_ns - delay_s * 1e9) > 1.0:
        raise ArmError(f"{field}: {delay_s} s is no multiple of the {period_ns * 1e-9} s physics step; round it")
    return steps


def measure(truth: tuple[int, Array, Array, Array], noise: SensorNoise, generator: np.random.Generator) -> SensorSample:
    """White noise on (stamp, position, velocity, effort), then rounding to the resolution of the reading."""
    stamp_ns, position, velocity, effort = truth
    draw = generator.standard_normal((3, len(position)))
    return SensorSample(
        stamp_ns,
        _quantize(position + noise.position_std * draw[0], noise.position_quantum),
        _quantize(velocity + noise.velocity_std * draw[1], noise.velocity_quantum),
        effort + noise.effort_std * draw[2],
    )


def drives_carry_the_arm(arm: Arm, interface: CommandInterface) -> bool:
    """Do the motors add the gravity torque of the unloaded arm by themselves? Velocity servos always do.

    Raises:
        ArmError: torque commands for an arm that does not say how it takes them.
    """
    if interface is CommandInterface.VELOCITY:
        return True
    if arm.effort_mode is None:
        raise ArmError(
            f"effort_mode: missing in the description of {arm.name}; add effort_mode.gravity_compensated, "
            "or command velocities"
        )
    return arm.effort_mode.gravity_compensated


def checked_command(values: Array, joints: int) -> Array:
    """A copy of the command.

    Raises:
        ValueError: wrong shape or not finite.
    """
    command = np.array(values, dtype=np.float64)
    if command.shape != (joints,) or not np.isfinite(command).all():
        raise ValueError(f"command: needs {joints} finite numbers, got {values!r}")
    return command


def checked_payload(mass: float, offset: Array) -> Array:
    """The offset [3] m of a payload of ``mass`` kg.

    Raises:
        ValueError: the mass is negative, or a number is not finite.
    """
    place = np.array(offset, dtype=np.float64)
    if not (np.isfinite(mass) and mass >= 0.0) or place.shape != (3,) or not np.isfinite(place).all():
        raise ValueError(f"payload: mass {mass} kg at {offset} m; give a finite mass >= 0 and three finite metres")
    return place


def _quantize(value: Array, quantum: float) -> Array:
    return np.round(value / quantum) * quantum if quantum > 0.0 else value
