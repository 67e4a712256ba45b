"""The arm in PyBullet: velocity servos or torques, friction, unloaded gravity compensation, brakes, payload.

Bullet's part: the URDF's links and joints, mass matrix, Coriolis and gravity torques, forward dynamics, integration and
kinematics. Ours is everything at the joints, because Bullet knows no inertia of the motors (armature) and its own joint
motors would act against an arm without it. Each step solves for the velocity after it, with armature, viscous friction
and servo damping implicit (as MuJoCo's `implicitfast`), and dry friction and end stops exact (:mod:`sim.joint_step`).
Bullet then gets the torque with which its own arm, without armature, accelerates just so.

Known differences from MuJoCo: dry friction stops a joint where MuJoCo's regularized one lets it creep to rest with a
time constant of 10 ms; an end stop is hard and without rebound where MuJoCo's is a damped spring; where servo and
gravity compensation only together reach the effort limit, MuJoCo goes on counting the servo's damping as implicit
(an inertia of gain x step too much), here it ends. Without these the two agree to rounding.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mbrl_control.signals import Array, CommandInterface
from sim.arm_sim import checked_command, checked_payload, drives_carry_the_arm
from sim.bullet_chain import NO_PAYLOAD, BulletChain
from sim.engine_arm import EngineArm
from sim.generate import TIMESTEP_S
from sim.joint_step import velocity_after_step

STOP_RECOVERY = 0.2
"""Share of the way beyond an end stop that is taken back in one step."""


class PybulletArm(EngineArm):
    """:class:`sim.arm_sim.ArmSim` on PyBullet, without a display."""

    def _load(self, arm_path: Path) -> None:
        self._carried = drives_carry_the_arm(self.arm, self.interface)
        urdf = arm_path.with_suffix(".urdf")
        self._plant = BulletChain(urdf, self.arm, self.parameters.mass_scale)
        self._unloaded = BulletChain(urdf, self.arm)
        self._payload = NO_PAYLOAD
        self._lag = 1.0 - np.exp(-TIMESTEP_S / self.parameters.servo_lag_s)

    def reset(self, q: Array) -> None:
        self._plant.place(checked_command(q, self.arm.joints), np.zeros(self.arm.joints))
        self.brake(False)
        self._instruments.forget()
        position, velocity = self._plant.state()
        self._instruments.record(position, velocity, self._motor(self._held, position, velocity)[0])

    def brake(self, on: bool) -> None:
        """Clamp or release. Clamped means no servo and no gravity compensation (motor torque 0), and friction of
        ``brake_factor`` x gravity torque of arm and payload at this pose, at least ``brake_floor`` x effort limit.
        """
        self._brakes = on
        self._held = np.zeros(self.arm.joints)
        self._delay.clear()
        self._followed = np.zeros(self.arm.joints)
        self._dry_friction = self._brake_torque() if on else self.parameters.friction_coulomb

    def step(self) -> None:
        command = self._delay.shift(self._held)
        position, velocity = self._plant.state()
        motor, damping = self._motor(command, position, velocity)
        mass, bias = self._plant.mass_matrix(position), self._plant.bias(position, velocity)
        viscous = self.parameters.friction_viscous
        inertia = mass + np.diag(self.arm.armature + TIMESTEP_S * (damping + viscous))
        impulse = inertia @ velocity + TIMESTEP_S * (motor - viscous * velocity - bias)
        after = velocity_after_step(
            inertia, impulse, TIMESTEP_S * self._dry_friction, self._velocities_off_the_stops(position), velocity
        )
        self._plant.step(mass @ (after - velocity) / TIMESTEP_S + bias)
        self._followed = self._followed + self._lag * (command - self._followed)
        self._instruments.steps += 1
        self._instruments.record(*self._plant.state(), motor)

    def attach_payload(self, mass: float, offset: Array) -> None:
        self._payload = (float(mass), checked_payload(mass, offset))
        self._plant.carry(self._payload)
        if self._brakes:
            self._dry_friction = self._brake_torque()

    def _tool_position(self) -> Array:
        return self._plant.tool()

    def _payload_mass(self) -> float:
        return self._payload[0]

    def _motor(self, command: Array, position: Array, velocity: Array) -> tuple[Array, Array]:
        """[J] N m torque of the motors now; [J] N m s/rad by which the servo damps, none where it is at its limit."""
        arm = self.arm
        if self._brakes:
            return np.zeros(arm.joints), np.zeros(arm.joints)
        carried = self._unloaded.gravity(position) if self._carried else np.zeros(arm.joints)
        if self.interface is CommandInterface.EFFORT:
            return np.clip(command + carried, -arm.effort, arm.effort), np.zeros(arm.joints)
        gain = self.parameters.servo_gain
        servo = gain * (self._followed - velocity)
        total = np.clip(servo, -arm.effort, arm.effort) + carried
        free = (np.abs(servo) < arm.effort) & (np.abs(total) < arm.effort)
        return np.clip(total, -arm.effort, arm.effort), np.where(free, gain, 0.0)

    def _velocities_off_the_stops(self, position: Array) -> tuple[Array, Array]:
        """Least and greatest velocity [J] with which the step ends at a stop, or goes back towards it from beyond."""
        below, above = (self.arm.lower - position) / TIMESTEP_S, (self.arm.upper - position) / TIMESTEP_S
        return np.minimum(below, STOP_RECOVERY * below), np.maximum(above, STOP_RECOVERY * above)

    def _gravity(self) -> Array:
        return self._plant.gravity(self._plant.state()[0])
