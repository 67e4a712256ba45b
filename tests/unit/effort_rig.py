"""The guard of torques in closed loop with MuJoCo and its delays, in virtual time, for the tests of the guard."""

from __future__ import annotations

import numpy as np

from mbrl_control.robot import Arm, load_arm
from mbrl_control.safety.config import GuardConfig
from mbrl_control.safety.guard_for_arm import guard_of
from mbrl_control.safety.requests import Reply
from mbrl_control.safety.state_machine import Event
from mbrl_control.signals import Array, CommandInterface, Plan, PlanOutcome, SafeCommand, SensorSample, Stage
from sim.generate import ROBOTS
from sim.mujoco_arm import MujocoArm

MS = 1_000_000
SENSE_MS, TICK_MS, PLAN_MS = 4, 5, 20


def effort_arm(name: str) -> Arm:
    return load_arm(ROBOTS / f"{name}.yaml", CommandInterface.EFFORT)


class EffortRig:
    """State every 4 ms, guard every 5 ms, physics every 2 ms; plans of constant torque every 20 ms."""

    def __init__(
        self, name: str, home: Array | None = None, payload_kg: float = 0.0, config: GuardConfig | None = None
    ) -> None:
        self.arm = effort_arm(name)
        self.sim = MujocoArm(ROBOTS / f"{name}.yaml", 0, 0, CommandInterface.EFFORT)
        self.sim.attach_payload(payload_kg, np.zeros(3))
        if home is not None:
            self.sim.reset(home)
        self.sim.brake(True)
        self.core = guard_of(self.arm, config or GuardConfig(), np.random.default_rng(0))
        self.now = 0
        self.blind = False
        """The measured state is lost."""
        self.applied: list[Array] = []
        self.enabled: list[bool] = []
        self.stages: set[Stage] = set()
        self.positions: list[Array] = []
        self.velocities: list[Array] = []
        self._sample: SensorSample | None = None
        self._sequence = 0

    def run(self, seconds: float, torque: Array | None = None) -> SafeCommand | None:
        """Advance; ``torque`` [J] N m is what fresh plans ask for, None: no plans come."""
        command = None
        for _ in range(round(seconds * 1e3)):
            tick = self.now // MS
            if tick % SENSE_MS == 0 and not self.blind:
                self._sample = self.sim.sensor()
            if torque is not None and tick % PLAN_MS == 0:
                self.core.receive_plan(self.plan(torque), self.now)
            if tick % TICK_MS == 0:
                command = self._tick()
            if self.now % self.sim.period_ns == 0:
                self.sim.step()
                truth = self.sim.truth()
                self.positions.append(truth.position)
                self.velocities.append(truth.velocity)
            self.now += MS
        return command

    def _tick(self) -> SafeCommand:
        received = 0 if self._sample is None else self._sample.stamp_ns
        command = self.core.tick(self.now, self._sample, received)
        if command.drives_enabled == self.sim.truth().brakes:
            self.sim.brake(not command.drives_enabled)
        self.sim.command(command.applied)
        self.applied.append(command.applied)
        self.enabled.append(command.drives_enabled)
        self.stages.add(command.limiting_stage)
        return command

    def plan(self, torque: Array) -> Plan:
        """At the place where the arm is."""
        self._sequence += 1
        rows, joints = 16, self.arm.joints
        held = np.tile(self.sim.truth().position, (rows, 1))
        zeros = np.zeros((rows, joints))
        return Plan(
            self.now, self.now, self.now, self.now, 1, self._sequence, PlanOutcome.OPTIMIZED, "test/1",
            self.arm.joint_names, np.arange(rows) * 0.02, np.tile(torque, (rows, 1)), held, zeros, zeros,
            np.zeros((rows, 3 * joints)), np.zeros(rows), CommandInterface.EFFORT,
        )  # fmt: skip

    def ask(self, event: Event) -> Reply:
        return self.core.request(event, "operator", self.core.status().challenge, self.now)

    def arm_it(self) -> None:
        """Drives on; the arm then holds itself."""
        self.run(0.05)
        reply = self.ask(Event.ARM)
        assert reply.success, reply.message

    def start(self, torque: Array | None = None) -> None:
        """Arm, settle, feed plans, start."""
        self.arm_it()
        self.run(0.4, np.zeros(self.arm.joints) if torque is None else torque)
        reply = self.ask(Event.START)
        assert reply.success, reply.message

    @property
    def position(self) -> Array:
        return self.sim.truth().position

    @property
    def velocity(self) -> Array:
        return self.sim.truth().velocity

    def check_commands(self) -> None:
        """Torque and torque rate of every tick between which the drives stayed on, and none while they are off."""
        commands, enabled = np.array(self.applied), np.array(self.enabled)
        assert np.isfinite(commands).all()
        assert (np.abs(commands) <= self.arm.effort * (1.0 + 1e-9)).all()
        on = enabled[1:] & enabled[:-1]
        change = np.abs(np.diff(commands, axis=0))[on]
        assert (change <= self.arm.torque_rate * TICK_MS * 1e-3 * (1.0 + 1e-9)).all()
        assert not commands[~enabled].any()

    def most_beyond(self) -> tuple[float, float]:
        """Largest excess rad over a position limit (negative: none), and largest share of a rated speed."""
        q, dq = np.array(self.positions), np.array(self.velocities)
        beyond = max(float((q - self.arm.upper).max()), float((self.arm.lower - q).max()))
        return beyond, float((np.abs(dq) / self.arm.velocity).max())
