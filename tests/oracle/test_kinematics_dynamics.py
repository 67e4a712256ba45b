"""Independent implementations agree on kinematics and rigid-body dynamics of every shipped arm.

MuJoCo reads the generated MJCF; Bullet and pin the URDF, each with its own parser and algorithms; kinematics are also
our own. Poses are uniform within the joint limits. MuJoCo and Bullet turn an inertia into principal axes to about 1e-7
of it, so mass matrices agree to that; everything else agrees to rounding.
"""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from mbrl_control.kinematics import forward_kinematics, jacobian
from mbrl_control.robot import Arm, load_arm
from sim.bullet_chain import BulletChain
from sim.generate import ROBOTS

pinocchio = pytest.importorskip("pinocchio")
POSES = 50
PAYLOAD = (1.5, np.array([0.02, -0.03, 0.1]))


@pytest.fixture(params=sorted(path.stem for path in ROBOTS.glob("*.yaml")))
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


def pin_model(name: str, arm: Arm, payload: tuple[float, np.ndarray] = (0.0, np.zeros(3))) -> tuple[object, object]:
    model = pinocchio.buildModelFromUrdf(str(ROBOTS / f"{name}.urdf"))
    tool = model.frames[model.getFrameId(arm.tool_frame)]
    point = pinocchio.Inertia(payload[0], tool.placement.act(payload[1]), np.zeros((3, 3)))
    model.appendBodyToJoint(tool.parentJoint, point, pinocchio.SE3.Identity())
    return model, model.createData()


def test_tool_positions_agree(name: str, arm: Arm, poses: np.ndarray) -> None:
    """To 1e-12 m."""
    model, data = mujoco_model(name)
    rigid, state = pin_model(name, arm)
    bullet = BulletChain(ROBOTS / f"{name}.urdf", arm)
    ours = forward_kinematics(arm, poses)
    for q, tool in zip(poses, ours, strict=True):
        data.qpos[:] = q
        mujoco.mj_kinematics(model, data)
        np.testing.assert_allclose(tool, data.site(arm.tool_frame).xpos, atol=1e-12)
        bullet.place(q, np.zeros(arm.joints))
        np.testing.assert_allclose(tool, bullet.tool(), atol=1e-12)
        pinocchio.framesForwardKinematics(rigid, state, q)
        np.testing.assert_allclose(tool, state.oMf[rigid.getFrameId(arm.tool_frame)].translation, atol=1e-12)


def test_jacobians_agree(name: str, arm: Arm, poses: np.ndarray) -> None:
    """To 1e-12 m/rad."""
    rigid, state = pin_model(name, arm)
    frame = rigid.getFrameId(arm.tool_frame)
    for q in poses:
        theirs = pinocchio.computeFrameJacobian(rigid, state, q, frame, pinocchio.LOCAL_WORLD_ALIGNED)[:3]
        np.testing.assert_allclose(jacobian(arm, q), theirs, atol=1e-12)


def test_mass_matrices_and_gravity_torques_agree(name: str, arm: Arm, poses: np.ndarray) -> None:
    """Mass matrices to 1e-7 of their largest entry, gravity torques to 1e-12 of the largest."""
    model, data = mujoco_model(name)
    rigid, state = pin_model(name, arm)
    bullet = BulletChain(ROBOTS / f"{name}.urdf", arm)
    mass = np.zeros((model.nv, model.nv))
    for q in poses:
        data.qpos[:] = q
        mujoco.mj_forward(model, data)
        mujoco.mj_fullM(model, data, mass)
        theirs = symmetric(pinocchio.crba(rigid, state, q))
        np.testing.assert_allclose(mass, theirs, atol=1e-7 * np.abs(theirs).max())
        np.testing.assert_allclose(bullet.mass_matrix(q), theirs, atol=1e-7 * np.abs(theirs).max())
        gravity = pinocchio.computeGeneralizedGravity(rigid, state, q)
        np.testing.assert_allclose(data.qfrc_bias, gravity, atol=1e-12 * np.abs(gravity).max())
        np.testing.assert_allclose(bullet.gravity(q), gravity, atol=1e-12 * np.abs(gravity).max())


def test_with_a_payload_bullets_dynamics_are_those_of_pin(name: str, arm: Arm, poses: np.ndarray) -> None:
    """Mass matrix and the bias at speed to 1e-7; and Bullet's own step accelerates as its inverse dynamics say."""
    rigid, state = pin_model(name, arm, PAYLOAD)
    bullet = BulletChain(ROBOTS / f"{name}.urdf", arm)
    bullet.carry(PAYLOAD)
    generator = np.random.default_rng(3)
    for q in poses:
        velocity, acceleration = generator.uniform(-2.0, 2.0, (2, arm.joints))
        theirs = symmetric(pinocchio.crba(rigid, state, q))
        mass = bullet.mass_matrix(q)
        np.testing.assert_allclose(mass, theirs, atol=1e-7 * np.abs(theirs).max())
        bias = pinocchio.nonLinearEffects(rigid, state, q, velocity)
        np.testing.assert_allclose(bullet.bias(q, velocity), bias, atol=1e-7 * np.abs(bias).max())
        bullet.place(q, velocity)
        bullet.step(mass @ acceleration + bullet.bias(q, velocity))
        position, after = bullet.state()
        np.testing.assert_allclose((after - velocity) / 0.002, acceleration, atol=1e-9)
        np.testing.assert_allclose(position, q + 0.002 * after, atol=1e-12)


def symmetric(upper: np.ndarray) -> np.ndarray:
    """pin fills the upper triangle only."""
    return np.triu(upper) + np.triu(upper, 1).T


def test_the_planar_arm_has_the_published_gravity_and_inertia() -> None:
    """Reyes and Kelly (2001): g = 38.46 sin q1 + 1.82 sin(q1 + q2), and M11 = 2.351 + 0.168 cos q2."""
    rigid = pinocchio.buildModelFromUrdf(str(ROBOTS / "planar.urdf"))
    state = rigid.createData()
    for q in np.random.default_rng(2).uniform(-2.5, 2.5, (20, 2)):
        elbow = 1.82 * np.sin(q[0] + q[1])
        gravity = np.array([38.46 * np.sin(q[0]) + elbow, elbow])
        np.testing.assert_allclose(pinocchio.computeGeneralizedGravity(rigid, state, q), gravity, atol=0.02)
        assert pinocchio.crba(rigid, state, q)[0, 0] == pytest.approx(2.351 + 0.168 * np.cos(q[1]), abs=0.003)
