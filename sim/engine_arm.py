"""What the arms of both engines share: identity, clock, command line, measurements, what truth is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import Array, CommandInterface, SensorSample
from sim.arm_sim import CommandDelay, Instruments, TruthState, checked_command, whole_steps
from sim.generate import TIMESTEP_S
from sim.randomization import SimParameters


class EngineArm(ABC):
    """:class:`sim.arm_sim.ArmSim` but for the physics. ``start_ns`` is the time of step 0."""

    def __init__(
        self,
        arm_path: str | Path,
        seed: int,
        start_ns: int = 0,
        interface: CommandInterface = CommandInterface.VELOCITY,
        parameters: SimParameters | None = None,
    ) -> None:
        """``parameters`` of the plant; None: the arm exactly as described."""
        self.arm: Arm = load_arm(arm_path, interface)
        self.interface = interface
        self.parameters = SimParameters.nominal(self.arm) if parameters is None else parameters
        self.period_ns: int = round(TIMESTEP_S * 1e9)
        late_steps = whole_steps(self.arm.sensor_delay_s, self.period_ns, "delays.sensor_s")
        self._instruments = Instruments(self.parameters.noise, late_steps, self.period_ns, seed, start_ns)
        command_steps = whole_steps(self.parameters.command_delay_s, self.period_ns, "delays.command_s")
        self._delay = CommandDelay(command_steps, self.arm.joints)
        self._held = np.zeros(self.arm.joints)
        self._brakes = False
        self._load(Path(arm_path))
        self.reset(self.arm.home)

    @abstractmethod
    def _load(self, arm_path: Path) -> None:
        """Make the engine's model of ``arm`` with ``parameters``, from the files beside the arm's YAML."""

    @abstractmethod
    def reset(self, q: Array) -> None:
        """See ArmSim."""

    @property
    def step_count(self) -> int:
        return self._instruments.steps

    @property
    def time_ns(self) -> int:
        return self._instruments.time_ns

    def set_time(self, time_ns: int) -> None:
        self._instruments.set_time(time_ns)

    def command(self, values: Array) -> None:
        self._held = checked_command(values, self.arm.joints)

    def sensor(self) -> SensorSample | None:
        return self._instruments.sample()

    def truth(self) -> TruthState:
        _, position, velocity, effort = self._instruments.newest
        return TruthState(
            stamp_ns=self.time_ns,
            step=self.step_count,
            position=position,
            velocity=velocity,
            effort=effort,
            tool=self._tool_position(),
            payload_mass=self._payload_mass(),
            brakes=self._brakes,
        )

    @abstractmethod
    def _tool_position(self) -> Array:
        """[3] m, base frame."""

    @abstractmethod
    def _payload_mass(self) -> float:
        """kg."""

    @abstractmethod
    def _gravity(self) -> Array:
        """[J] N m at rest at the present pose, payload included, without any compensation."""

    def _brake_torque(self) -> Array:
        """[J] N m of a clamped brake at the present pose."""
        return np.maximum(self.arm.brake_factor * np.abs(self._gravity()), self.arm.brake_floor * self.arm.effort)
