"""Pictures of an arm by Bullet's TinyRenderer: software, no display. Floor, sky and camera are `sim/render.py`'s.

The URDF's visuals are drawn, on links without any the YAML's capsules.
"""

from __future__ import annotations

import tempfile
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbrl_control.kinematics import forward_kinematics
from mbrl_control.robot import load_arm
from mbrl_control.signals import Array
from sim.bullet_looks import visual_urdf
from sim.quiet_bullet import pybullet
from sim.render import MARK_RADIUS, SUN, TARGET_COLOR, TOOL_COLOR, backdrop, load_camera

_NEAR_M, _FAR_M = 0.05, 20.0


class BulletRenderer:
    """Draws one arm from the view that its YAML names; a :class:`sim.render.Renderer`."""

    def __init__(self, arm_path: str | Path) -> None:
        """Load the arm's looks.

        Raises:
            ArmError: the YAML names no camera, or a mesh file is not there.
        """
        self._arm, self._camera = load_arm(arm_path), load_camera(arm_path)
        self._client: int = pybullet.connect(pybullet.DIRECT)
        weakref.finalize(self, pybullet.disconnect, self._client)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "looks.urdf"
            file.write_text(visual_urdf(Path(arm_path).with_suffix(".urdf"), self._arm, file.parent), encoding="utf-8")
            self._body: int = pybullet.loadURDF(str(file), useFixedBase=True, physicsClientId=self._client)
        count = pybullet.getNumJoints(self._body, physicsClientId=self._client)
        rows = [pybullet.getJointInfo(self._body, index, physicsClientId=self._client) for index in range(count)]
        numbers = {row[1].decode(): row[0] for row in rows}
        self._joints = [numbers[name] for name in self._arm.joint_names]
        self._tool, self._target = self._ball(TOOL_COLOR), self._ball(TARGET_COLOR)

    def __call__(self, q: Array, width: int, height: int, target: Array | None = None) -> NDArray[np.uint8]:
        """[height, width, 3] picture of the arm at ``q`` [J] rad, its tool point, and a ``target`` [3] m if given."""
        for joint, angle in zip(self._joints, q, strict=True):
            pybullet.resetJointState(self._body, joint, angle, physicsClientId=self._client)
        behind = 2.0 * np.array(self._camera.position) - self._camera.target
        self._put(self._tool, forward_kinematics(self._arm, q))
        self._put(self._target, behind if target is None else target)
        picture, mask = self._image(width, height)
        seen = np.where((mask < 0)[..., None], backdrop(self._camera, width, height), picture)
        return np.asarray(seen, dtype=np.uint8)

    def _image(self, width: int, height: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """[height, width, 3] colours, and [height, width] the body seen, below zero where there is none."""
        camera = self._camera
        view = pybullet.computeViewMatrix(camera.position, camera.target, (0.0, 0.0, 1.0))
        lens = pybullet.computeProjectionMatrixFOV(camera.fovy_deg, width / height, _NEAR_M, _FAR_M)
        _, _, color, _, mask = pybullet.getCameraImage(
            width,
            height,
            view,
            lens,
            lightDirection=SUN.tolist(),
            lightDistance=3.0,
            shadow=0,
            lightAmbientCoeff=0.45,
            lightDiffuseCoeff=0.55,
            lightSpecularCoeff=0.0,
            renderer=pybullet.ER_TINY_RENDERER,
            physicsClientId=self._client,
        )
        picture = np.reshape(np.array(color, dtype=np.uint8), (height, width, 4))[..., :3]
        return picture, np.reshape(np.array(mask, dtype=np.int64), (height, width))

    def _ball(self, color: Array) -> int:
        shape = pybullet.createVisualShape(
            pybullet.GEOM_SPHERE,
            radius=MARK_RADIUS,
            rgbaColor=[*(color / 255.0), 1.0],
            physicsClientId=self._client,
        )
        body: int = pybullet.createMultiBody(0.0, -1, shape, physicsClientId=self._client)
        return body

    def _put(self, ball: int, place: Array) -> None:
        pybullet.resetBasePositionAndOrientation(
            ball, np.asarray(place).tolist(), (0.0, 0.0, 0.0, 1.0), physicsClientId=self._client
        )
