"""A serial arm alone in a Bullet world of its own: state, rigid-body dynamics, one step under given torques."""

from __future__ import annotations

import tempfile
import weakref
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from mbrl_control.robot import Arm, ArmError
from mbrl_control.signals import Array
from sim.bullet_urdf import TOOL_MARK, Payload, dynamics_urdf
from sim.generate import TIMESTEP_S
from sim.quiet_bullet import pybullet

GRAVITY = 9.81
"""m/s^2, as in the generated MJCF."""
NO_PAYLOAD: Payload = (0.0, np.zeros(3))
_UNBOUNDED_SPEED = 1e6
"""rad/s; Bullet's default clips at 100."""


class BulletChain:
    """Every array is [J] in the arm's joint order. The base frame is the world; no display, no contacts, no damping."""

    def __init__(self, urdf: Path, arm: Arm, mass_scale: Array | None = None) -> None:
        """Load ``urdf``, with mass and inertia of its moving links times ``mass_scale`` [J] (default: as they are).

        Raises:
            ArmError: Bullet does not take an inertia.
        """
        self._urdf, self._arm = urdf, arm
        self._mass_scale = np.ones(arm.joints) if mass_scale is None else mass_scale
        self._client: int = pybullet.connect(pybullet.DIRECT)
        weakref.finalize(self, pybullet.disconnect, self._client)
        self._still = [0.0] * arm.joints
        self._load(NO_PAYLOAD)

    def carry(self, payload: Payload) -> None:
        """Exchange the payload; the state stays."""
        position, velocity = self.state()
        self._load(payload)
        self.place(position, velocity)

    def place(self, position: Array, velocity: Array) -> None:
        """Put the arm into a state, rad and rad/s."""
        for joint, q, dq in zip(self._joints, position, velocity, strict=True):
            pybullet.resetJointState(self._body, joint, q, dq, physicsClientId=self._client)

    def state(self) -> tuple[Array, Array]:
        """Position rad and velocity rad/s."""
        rows = pybullet.getJointStates(self._body, self._joints, physicsClientId=self._client)
        return np.array([row[0] for row in rows]), np.array([row[1] for row in rows])

    def mass_matrix(self, position: Array) -> Array:
        """[J, J] kg m^2, of the links and the payload, without armature."""
        return np.array(pybullet.calculateMassMatrix(self._body, position.tolist(), physicsClientId=self._client))

    def bias(self, position: Array, velocity: Array) -> Array:
        """N m that keep the velocity as it is: Coriolis, centrifugal and gravity."""
        torque = pybullet.calculateInverseDynamics(
            self._body, position.tolist(), velocity.tolist(), self._still, physicsClientId=self._client
        )
        return np.array(torque)

    def gravity(self, position: Array) -> Array:
        """N m that hold the arm at rest."""
        return self.bias(position, np.zeros(len(position)))

    def tool(self) -> Array:
        """[3] m, origin of the tool frame in the base frame."""
        client = self._client
        return np.array(pybullet.getLinkState(self._body, self._tool, 0, True, physicsClientId=client)[0])

    def step(self, torque: Array) -> None:
        """Bullet's own forward dynamics and integration over one physics step, under ``torque`` N m."""
        pybullet.setJointMotorControlArray(
            self._body, self._joints, pybullet.TORQUE_CONTROL, forces=torque.tolist(), physicsClientId=self._client
        )
        pybullet.stepSimulation(physicsClientId=self._client)

    def _load(self, payload: Payload) -> None:
        """Begin a new world: Bullet keeps an inverse dynamics tree of each body as it was when first asked for."""
        client, text = self._client, dynamics_urdf(self._urdf, self._arm, self._mass_scale, payload)
        pybullet.resetSimulation(physicsClientId=client)
        pybullet.setPhysicsEngineParameter(fixedTimeStep=TIMESTEP_S, numSubSteps=0, physicsClientId=client)
        pybullet.setGravity(0.0, 0.0, -GRAVITY, physicsClientId=client)
        with tempfile.NamedTemporaryFile("w", suffix=".urdf", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            flags = pybullet.URDF_USE_INERTIA_FROM_FILE
            self._body: int = pybullet.loadURDF(file.name, useFixedBase=True, flags=flags, physicsClientId=client)
        count = pybullet.getNumJoints(self._body, physicsClientId=client)
        rows = [pybullet.getJointInfo(self._body, index, physicsClientId=client) for index in range(count)]
        numbers = {row[1].decode(): row[0] for row in rows}
        self._joints: list[int] = [numbers[name] for name in self._arm.joint_names]
        self._tool: int = next(row[0] for row in rows if row[12].decode() == TOOL_MARK)
        self._check({row[12].decode(): row[0] for row in rows}, text)
        self._be_passive(count)

    def _be_passive(self, count: int) -> None:
        """Nothing of Bullet's moves or damps the joints but what :meth:`step` is given."""
        for index in range(-1, count):
            pybullet.changeDynamics(
                self._body,
                index,
                linearDamping=0.0,
                angularDamping=0.0,
                maxJointVelocity=_UNBOUNDED_SPEED,
                physicsClientId=self._client,
            )
        pybullet.setJointMotorControlArray(
            self._body, self._joints, pybullet.VELOCITY_CONTROL, forces=self._still, physicsClientId=self._client
        )

    def _check(self, links: dict[str, int], text: str) -> None:
        for link in ElementTree.fromstring(text).iter("link"):
            name, tensor = link.get("name", ""), link.find("inertial/inertia")
            if name not in links or tensor is None:
                continue
            taken = sum(pybullet.getDynamicsInfo(self._body, links[name], physicsClientId=self._client)[2])
            said = sum(float(tensor.get(key, "0")) for key in ("ixx", "iyy", "izz"))
            if abs(taken - said) > 1e-6 * said:
                raise ArmError(
                    f"{self._urdf}: link {name}: inertia: Bullet takes a trace of {taken} for {said} kg m^2: a "
                    "principal moment is negative, or exceeds the sum of the others; correct the tensor"
                )
