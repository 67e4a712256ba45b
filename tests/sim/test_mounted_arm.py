"""Arms on walls and ceilings: gravity is that of the whole URDF in pin, or the arm is refused."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from mbrl_control.arm_setup.check import check_urdf, check_yaml
from mbrl_control.arm_setup.new import write_new_arm
from mbrl_control.cli.simulation import write_simulation_model
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm, ArmError, load_arm
from sim.bullet_chain import BulletChain
from tests.unit.urdf_support import SOUND, written

pinocchio = pytest.importorskip("pinocchio")
MOUNT = """<link name="world"/><joint name="mount" type="{kind}"><parent link="world"/><child link="base"/>
  <origin xyz="0.2 -0.1 1.5" rpy="{rpy}"/><axis xyz="0 0 1"/>
  <limit lower="-1" upper="1" velocity="1" effort="100"/></joint></robot>"""
UPRIGHT = {"yaw": "0 0 2", "half a degree": "0.009 0 0"}
TILTED = {"ceiling": "3.14159265 0 0", "wall": "0 1.5707963 0.4", "two degrees": "0 0.035 0"}


def mounted(folder: Path, rpy: str, kind: str = "fixed") -> Path:
    return written(folder, SOUND.replace("</robot>", MOUNT.format(kind=kind, rpy=rpy)))


def gravities(yaml: Path, arm: Arm, q: np.ndarray) -> dict[str, np.ndarray]:
    """[J] N m that hold the arm, of every implementation that takes the description."""
    write_simulation_model(yaml)
    model = mujoco.MjModel.from_xml_path(str(yaml.with_suffix(".mjcf.xml")))
    data = mujoco.MjData(model)
    data.qpos[:] = q
    mujoco.mj_forward(model, data)
    return {
        "ours": RigidBody(arm, gravity=True).gravity(q),
        "mujoco": data.qfrc_bias.copy(),
        "bullet": BulletChain(yaml.with_suffix(".urdf"), arm).gravity(q),
    }


@pytest.mark.parametrize("rpy", [UPRIGHT["yaw"], TILTED["ceiling"], TILTED["wall"]], ids=["yaw", "ceiling", "wall"])
def test_a_mounted_arm_feels_the_gravity_of_its_whole_urdf(tmp_path: Path, rpy: str) -> None:
    """Where the mount tilts the arm, `robot new` takes the mount into the chain."""
    urdf = mounted(tmp_path, rpy)
    new = write_new_arm(urdf, None, None, None)
    arm = load_arm(new.yaml)
    assert arm.base_frame == ("base" if rpy == UPRIGHT["yaw"] else "world")
    rigid = pinocchio.buildModelFromUrdf(str(urdf))
    q = np.array([0.7, 0.6, -0.8])
    expected = pinocchio.computeGeneralizedGravity(rigid, rigid.createData(), q)
    for who, torque in gravities(new.yaml, arm, q).items():
        np.testing.assert_allclose(torque, expected, atol=1e-9 * np.abs(expected).max(), err_msg=who)


@pytest.mark.parametrize("rpy", TILTED.values(), ids=TILTED)
def test_a_base_below_a_tilted_mount_is_refused_everywhere(tmp_path: Path, rpy: str) -> None:
    sound = write_new_arm(written(tmp_path, SOUND), None, None, None)
    urdf = mounted(tmp_path, rpy)
    reports = {
        "check of the URDF": check_urdf(urdf, base="base").findings,
        "check of the YAML": check_yaml(sound.yaml).findings,
        "new": write_new_arm(urdf, tmp_path / "out", "base", None).faults,
    }
    for who, findings in reports.items():
        (told,) = [finding for finding in findings if finding.field == "joint mount: origin rpy"]
        assert (str(told.severity), told.file, "--base world" in told.remedy) == ("stop", str(urdf), True), who
    with pytest.raises(ArmError, match="gravity"):
        load_arm(sound.yaml)


@pytest.mark.parametrize("rpy", UPRIGHT.values(), ids=UPRIGHT)
def test_a_mount_that_does_not_tilt_is_fine(tmp_path: Path, rpy: str) -> None:
    assert check_urdf(mounted(tmp_path, rpy), base="base").findings == []


def test_a_tilted_mount_that_moves_is_refused(tmp_path: Path) -> None:
    """A rail up a wall: `world` cannot be the base, because no prismatic joint is planned for."""
    faults = write_new_arm(mounted(tmp_path, TILTED["wall"], "prismatic"), None, None, None).faults
    assert [fault.field for fault in faults] == ["joint mount: origin rpy"]
