"""What Bullet would silently take otherwise in a URDF does not reach it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.robot import ArmError, Inertial, load_arm
from sim.bullet_chain import BulletChain
from sim.generate import ROBOTS

POSE = np.array([0.4, -0.7])
BASE_INERTIAL = '<origin xyz="0.0 0.0 0.6" rpy="0 0 0"/>'
MOUNT = (
    '<link name="world"/><joint name="mount" type="fixed"><origin xyz="1 2 3" rpy="0 0 0.5"/>'
    '<parent link="world"/><child link="base"/></joint></robot>'
)
SHAPE = '<visual><geometry><mesh filename="package://no/such.stl"/></geometry></visual>'
HARMLESS = {
    "a turned base inertia": (BASE_INERTIAL, BASE_INERTIAL.replace("0 0 0", "0.3 0.2 0.1")),
    "a base without inertia": ('<mass value="20.0"/>', '<mass value="0.0"/>'),
    "a turned mount below the base frame": ("</robot>", MOUNT),
    "a mesh that is not there": ('<link name="forearm">', f'<link name="forearm">{SHAPE}'),
    "damping and friction": ('damping="2.288" friction="1.434"', 'damping="90" friction="50"'),
}


def chain(folder: Path, old: str, new: str) -> BulletChain:
    """The planar arm with one edit of its URDF."""
    shutil.copy(ROBOTS / "planar.yaml", folder)
    text = (ROBOTS / "planar.urdf").read_text()
    assert old in text
    (folder / "planar.urdf").write_text(text.replace(old, new, 1))
    return BulletChain(folder / "planar.urdf", load_arm(folder / "planar.yaml"))


def motion(chain: BulletChain) -> np.ndarray:
    """[9] state, tool and gravity torque after a drive over a limit of the URDF, which Bullet must not keep."""
    chain.place(POSE, np.array([0.3, -1.0]))
    for _ in range(600):
        chain.step(chain.bias(*chain.state()) + np.array([20.0, 0.2]))
    position, velocity = chain.state()
    assert position[0] > 3.5
    return np.concatenate([position, velocity, chain.tool(), chain.gravity(position)])


@pytest.mark.parametrize("what", HARMLESS)
def test_it_changes_no_motion(tmp_path: Path, what: str) -> None:
    same = motion(chain(tmp_path, "planar", "planar"))
    np.testing.assert_allclose(motion(chain(tmp_path, *HARMLESS[what])), same, atol=1e-10)


def test_an_inertia_that_bullet_would_set_to_zero_is_refused_by_link() -> None:
    arm = load_arm(ROBOTS / "planar.yaml")
    thin = Inertial(arm.bodies[1].mass, arm.bodies[1].com, np.diag([0.5, 0.1, 0.1]))
    with pytest.raises(ArmError, match="forearm: inertia"):
        BulletChain(ROBOTS / "planar.urdf", replace(arm, bodies=(arm.bodies[0], thin)))
