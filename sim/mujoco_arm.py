"""The arm in MuJoCo: velocity servos with lag, friction, gravity compensation of the unloaded arm, brakes, payload."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import mujoco
import numpy as np

from mbrl_control.robot import Arm, ArmError, load_arm
from mbrl_control.signals import Array, SensorSample
from sim.arm_sim import CommandDelay, TruthState, checked_command, measure, whole_steps


class MujocoArm:
    """:class:`sim.arm_sim.ArmSim` on MuJoCo. ``start_ns`` is the time of step 0."""

    def __init__(self, arm_path: str | Path, seed: int, start_ns: int = 0) -> None:
        self.arm: Arm = load_arm(arm_path)
        self._model = _load_model(Path(arm_path).with_suffix(".mjcf.xml"), self.arm)
        self._data = mujoco.MjData(self._model)
        self._generator = np.random.default_rng(seed)
        self._start_ns = start_ns
        self._steps = 0
        self.period_ns: int = round(self._model.opt.timestep * 1e9)
        self._payload = self._model.body("payload").id
        self._tool = self._model.site(self.arm.tool_frame).id
        self._gravcomp = self._model.body_gravcomp.copy()
        self._sensor_steps = whole_steps(self.arm.sensor_delay_s, self.period_ns, "delays.sensor_s")
        command_steps = whole_steps(self.arm.command_delay_s, self.period_ns, "delays.command_s")
        self._delay = CommandDelay(command_steps, self.arm.joints)
        self._measured: deque[tuple[int, Array, Array, Array]] = deque(maxlen=self._sensor_steps + 1)
        self._brakes = False
        self.reset(self.arm.home)

    @property
    def step_count(self) -> int:
        return self._steps

    @property
    def time_ns(self) -> int:
        return self._start_ns + self._steps * self.period_ns

    def reset(self, q: Array) -> None:
        mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:] = checked_command(q, self.arm.joints)
        self.brake(False)
        mujoco.mj_forward(self._model, self._data)
        self._measured.clear()
        self._record()

    def set_time(self, time_ns: int) -> None:
        self._start_ns = time_ns - self._steps * self.period_ns
        self._measured.clear()
        self._record()

    def command(self, velocity: Array) -> None:
        self._held = checked_command(velocity, self.arm.joints)

    def brake(self, on: bool) -> None:
        """Clamp or release. Clamped means no servo and no gravity compensation (motor torque 0), and friction of
        ``brake_factor`` x gravity torque of arm and payload at this pose, at least ``brake_floor`` x effort limit.
        """
        model = self._model
        self._brakes = on
        self._held = np.zeros(self.arm.joints)
        self._delay.clear()
        self._data.act[:] = 0.0
        self._data.ctrl[:] = 0.0
        model.dof_frictionloss[:] = self._brake_torque() if on else self.arm.friction_coulomb
        model.actuator_gainprm[:, 0] = 0.0 if on else self.arm.servo_gain
        model.actuator_biasprm[:, 2] = 0.0 if on else -self.arm.servo_gain
        model.body_gravcomp[:] = 0.0 if on else self._gravcomp

    def step(self) -> None:
        self._data.ctrl[:] = self._delay.shift(self._held)
        mujoco.mj_step(self._model, self._data)
        self._steps += 1
        self._record()

    def sensor(self) -> SensorSample | None:
        if len(self._measured) <= self._sensor_steps:
            return None
        return measure(self._measured[0], self.arm, self._generator)

    def attach_payload(self, mass: float, offset: Array) -> None:
        offset = np.asarray(offset, dtype=np.float64)
        if not (np.isfinite(mass) and mass >= 0.0) or offset.shape != (3,) or not np.isfinite(offset).all():
            raise ValueError(f"payload: mass {mass} kg at {offset} m; give a finite mass >= 0 and three finite metres")
        self._model.body_mass[self._payload] = mass
        self._model.body_pos[self._payload] = offset
        # On a scratch state: mj_setConst leaves the reference pose in the one it is given. With compensation on:
        # mj_setConst counts the compensated bodies, and with none counted compensation would stay off for good.
        self._model.body_gravcomp[:] = self._gravcomp
        mujoco.mj_setConst(self._model, mujoco.MjData(self._model))
        if self._brakes:
            self._model.body_gravcomp[:] = 0.0
            self._model.dof_frictionloss[:] = self._brake_torque()

    def truth(self) -> TruthState:
        mujoco.mj_kinematics(self._model, self._data)
        _, position, velocity, effort = self._measured[-1]
        return TruthState(
            stamp_ns=self.time_ns,
            step=self._steps,
            position=position,
            velocity=velocity,
            effort=effort,
            tool=self._data.site_xpos[self._tool].copy(),
            payload_mass=float(self._model.body_mass[self._payload]),
            brakes=self._brakes,
        )

    def _record(self) -> None:
        data = self._data
        self._measured.append((self.time_ns, data.qpos.copy(), data.qvel.copy(), data.qfrc_actuator.copy()))

    def _brake_torque(self) -> Array:
        """[J] N m of a clamped brake at the present pose."""
        scratch = mujoco.MjData(self._model)
        scratch.qpos[:] = self._data.qpos
        mujoco.mj_forward(self._model, scratch)
        gravity = np.abs(scratch.qfrc_bias)
        torque: Array = np.maximum(self.arm.brake_factor * gravity, self.arm.brake_floor * self.arm.effort)
        return torque


def _load_model(path: Path, arm: Arm) -> mujoco.MjModel:
    """The compiled MJCF.

    Raises:
        ArmError: no such file, or its joints are not those of the arm.
    """
    source = path.with_suffix("").with_suffix(".yaml")
    if not path.is_file():
        raise ArmError(f"{path}: no such file; generate it with `python -m sim.generate {source}`")
    model = mujoco.MjModel.from_xml_path(str(path))
    names = tuple(model.joint(index).name for index in range(model.njnt))
    if names != arm.joint_names:
        raise ArmError(
            f"{path}: joints are {names}, the YAML names {arm.joint_names}; run `python -m sim.generate {source}`"
        )
    return model
