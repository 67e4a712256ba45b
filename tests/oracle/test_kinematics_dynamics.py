"""Three independent implementations agree on kinematics and rigid-body dynamics of the committed robot files."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from mbrl_control.kinematics import forward_kinematics, jacobian
from mbrl_control.robot import Arm, load_arm
from sim.generate import ROBOTS

pinocchio = pytest.importorskip("pinocchio")
POSES = 50


@pytest.fixture(params=["panda", "planar", "ur5e"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def arm(name: str) -> Arm:
    return load_arm(ROBOTS / f"{name}.yaml")


@pytest.fixture
def poses(arm: Arm) -> np.ndarray:
    return np.random.default_rng(1).uniform(arm.lower, arm.upper, (POSES, arm.joints))


def mujoco_model(name: str) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_path(str(ROBOTS / f"{name}.mjcf.xml"))
    model.dof_armature[:] = 0.0
    return model, mujoco.MjData(model)


def test_tool_positions_agree(name: str, arm: Arm, poses: np.ndarray) -> None:
    model, data = mujoco_model(name)
    rigid = pinocchio.buildModelFromUrdf(str(ROBOTS / f"{name}.urdf"))
    state, frame = rigid.createData(), rigid.getFrameId("tool0")
    ours = forward_kinematics(arm, poses)
    for q, tool in zip(poses, ours, strict=True):
        data.qpos[:] = q
        mujoco.mj_kinematics(model, data)
        pinocchio.framesForwardKinematics(rigid, state, q)
        np.testing.assert_allclose(tool, data.site_xpos[0], atol=1e-12)
        np.testing.assert_allclose(tool, state.oMf[frame].translation, atol=1e-12)


def test_jacobians_agree(name: str, arm: Arm, poses: np.ndarray) -> None:
    rigid = pinocchio.buildModelFromUrdf(str(ROBOTS / f"{name}.urdf"))
    state, frame = rigid.createData(), rigid.getFrameId("tool0")
    for q in poses:
        theirs = pinocchio.computeFrameJacobian(rigid, state, q, frame, pinocchio.LOCAL_WORLD_ALIGNED)[:3]
        np.testing.assert_allclose(jacobian(arm, q), theirs, atol=1e-12)


def test_mass_matrix_and_gravity_agree(name: str, poses: np.ndarray) -> None:
    model, data = mujoco_model(name)
    rigid = pinocchio.buildModelFromUrdf(str(ROBOTS / f"{name}.urdf"))
    state = rigid.createData()
    for q in poses:
        data.qpos[:] = q
        mujoco.mj_forward(model, data)
        mass = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, data, mass)
        upper = np.triu(pinocchio.crba(rigid, state, q))
        theirs = upper + np.triu(upper, 1).T
        np.testing.assert_allclose(mass, theirs, atol=1e-6 * np.abs(theirs).max())
        gravity = pinocchio.computeGeneralizedGravity(rigid, state, q)
        np.testing.assert_allclose(data.qfrc_bias, gravity, atol=1e-6 * np.abs(gravity).max())


def test_the_planar_arm_has_the_published_gravity_and_inertia() -> None:
    """Reyes and Kelly (2001): g = 38.46 sin q1 + 1.82 sin(q1 + q2), and M11 = 2.351 + 0.168 cos q2."""
    rigid = pinocchio.buildModelFromUrdf(str(ROBOTS / "planar.urdf"))
    state = rigid.createData()
    for q in np.random.default_rng(2).uniform(-2.5, 2.5, (20, 2)):
        elbow = 1.82 * np.sin(q[0] + q[1])
        gravity = np.array([38.46 * np.sin(q[0]) + elbow, elbow])
        np.testing.assert_allclose(pinocchio.computeGeneralizedGravity(rigid, state, q), gravity, atol=0.02)
        assert pinocchio.crba(rigid, state, q)[0, 0] == pytest.approx(2.351 + 0.168 * np.cos(q[1]), abs=0.003)
