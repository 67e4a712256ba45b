"""The arm in MuJoCo: velocity servos or torques, friction, unloaded gravity compensation, brakes, payload."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np

from mbrl_control.robot import Arm, ArmError
from mbrl_control.signals import Array, CommandInterface
from sim.arm_sim import checked_command, checked_payload, drives_carry_the_arm
from sim.engine_arm import EngineArm
from sim.generate import TIMESTEP_S
from sim.randomization import SimParameters


class MujocoArm(EngineArm):
    """:class:`sim.arm_sim.ArmSim` on MuJoCo."""

    @property
    def model(self) -> mujoco.MjModel:
        """Of the plant as it is now; a copy of it is a model without error."""
        return self._model

    def _load(self, arm_path: Path) -> None:
        self._model = _load_model(arm_path.with_suffix(".mjcf.xml"), self.arm)
        self._data = mujoco.MjData(self._model)
        if not self._servo:
            self._model.actuator_forcelimited[:] = 0  # the limit is on the sum with the compensation alone
        self._payload = self._model.body("payload").id
        self._tool = self._model.site(self.arm.tool_frame).id
        self._gravcomp = self._model.body_gravcomp * drives_carry_the_arm(self.arm, self.interface)
        self._become(self.parameters)

    def reset(self, q: Array) -> None:
        mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:] = checked_command(q, self.arm.joints)
        self.brake(False)
        mujoco.mj_forward(self._model, self._data)
        self._instruments.forget()
        self._record()

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
        model.dof_frictionloss[:] = self._brake_torque() if on else self.parameters.friction_coulomb
        gain, damping = (self.parameters.servo_gain,) * 2 if self._servo else (1.0, 0.0)
        model.actuator_gainprm[:, 0] = 0.0 if on else gain
        model.actuator_biasprm[:, 2] = 0.0 if on else -damping
        model.body_gravcomp[:] = 0.0 if on else self._gravcomp

    def step(self) -> None:
        self._data.ctrl[:] = self._delay.shift(self._held)
        if not self._servo:
            self._data.act[:] = self._data.ctrl  # the actuators' lag is the servos'
        mujoco.mj_step(self._model, self._data)
        self._instruments.steps += 1
        self._record()

    def attach_payload(self, mass: float, offset: Array) -> None:
        self._model.body_pos[self._payload] = checked_payload(mass, offset)
        self._model.body_mass[self._payload] = mass
        # On a scratch state: mj_setConst leaves the reference pose in the one it is given. With compensation on:
        # mj_setConst counts the compensated bodies, and with none counted compensation would stay off for good.
        self._model.body_gravcomp[:] = self._gravcomp
        mujoco.mj_setConst(self._model, mujoco.MjData(self._model))
        if self._brakes:
            self._model.body_gravcomp[:] = 0.0
            self._model.dof_frictionloss[:] = self._brake_torque()

    def _tool_position(self) -> Array:
        mujoco.mj_kinematics(self._model, self._data)
        position: Array = self._data.site_xpos[self._tool].copy()
        return position

    def _payload_mass(self) -> float:
        return float(self._model.body_mass[self._payload])

    @property
    def _servo(self) -> bool:
        return self.interface is CommandInterface.VELOCITY

    def _become(self, parameters: SimParameters) -> None:
        """Take on masses, viscous friction and lag; what the drives compensate stays what is described."""
        model = self._model
        model.dof_damping[:] = parameters.friction_viscous
        model.actuator_dynprm[:, 0] = parameters.servo_lag_s
        for moved, scale in zip(model.jnt_bodyid, parameters.mass_scale, strict=True):
            link = model.body_weldid == moved  # with everything fixed to it
            model.body_mass[link] *= scale
            model.body_inertia[link] *= scale
            self._gravcomp[link] /= scale
        if (parameters.mass_scale != 1.0).any():
            mujoco.mj_setConst(model, mujoco.MjData(model))

    def _record(self) -> None:
        data = self._data
        self._instruments.record(data.qpos.copy(), data.qvel.copy(), data.qfrc_actuator.copy())

    def _gravity(self) -> Array:
        scratch = mujoco.MjData(self._model)
        scratch.qpos[:] = self._data.qpos
        mujoco.mj_forward(self._model, scratch)
        bias: Array = scratch.qfrc_bias.copy()
        return bias


def _load_model(path: Path, arm: Arm) -> mujoco.MjModel:
    """The compiled MJCF.

    Raises:
        ArmError: no such file, or its joints or its time step are not those of the arm.
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
    if model.opt.timestep != TIMESTEP_S:
        raise ArmError(
            f"{path}: option timestep is {model.opt.timestep} s, the simulators step {TIMESTEP_S} s; "
            f"run `python -m sim.generate {source}`"
        )
    return model
