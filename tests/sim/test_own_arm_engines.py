"""Own arms in both engines: what the YAML mends and fills, and gripper fingers, reach PyBullet as they reach MuJoCo."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pybullet_data
import pytest
import yaml

from mbrl_control.arm_setup.new import write_new_arm
from mbrl_control.cli.simulation import write_simulation_model
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface
from sim.bullet_chain import BulletChain
from sim.pybullet_render import BulletRenderer
from tests.sim.both_engines import assert_one, largest_differences
from tests.unit.urdf_support import SOUND, with_finger, written

pinocchio = pytest.importorskip("pinocchio")
DATA = Path(pybullet_data.getDataPath())
SMOOTH = SOUND.replace('friction="0.25"', 'friction="0"')
FINGERS = {kind: with_finger(kind).replace('friction="0.25"', 'friction="0"') for kind in ("prismatic", "revolute")}
ARMS = ("lbr_iiwa", "xarm6", *FINGERS)
PAYLOAD_KG, LIGHT_KG = {"lbr_iiwa": 0.5, "xarm6": 0.5}, 0.1
"""Free torques do not carry it: no more than leaves the arm off its stops for a second."""


def without_dry_friction(name: str, folder: Path) -> Path:
    """YAML of a fresh arm by `robot new`; its dry friction is a guess or the URDF's, and zero here."""
    originals = {"lbr_iiwa": DATA / "kuka_iiwa" / "model.urdf", "xarm6": DATA / "xarm" / "xarm6_robot.urdf"}
    urdf = originals[name] if name in originals else written(folder / "given", FINGERS[name])
    made = write_new_arm(urdf, folder / "own", None, "tool0" if name in FINGERS else None)
    description = yaml.safe_load(made.yaml.read_text())
    description["friction"]["coulomb"] = [0.0] * len(description["friction"]["coulomb"])
    made.yaml.write_text(yaml.safe_dump(description))
    write_simulation_model(made.yaml)
    return made.yaml


@pytest.fixture(scope="module", params=ARMS)
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return without_dry_friction(request.param, tmp_path_factory.mktemp("own"))


@pytest.mark.parametrize("loaded", [False, True], ids=["empty", "loaded"])
@pytest.mark.parametrize("interface", list(CommandInterface))
def test_both_engines_simulate_the_same_arm(own: Path, interface: CommandInterface, loaded: bool) -> None:
    assert_one(largest_differences(own, interface, loaded * PAYLOAD_KG.get(own.stem, LIGHT_KG), seed=1))


def test_the_arm_is_drawn_with_its_own_shapes(own: Path) -> None:
    arm, draw = load_arm(own), BulletRenderer(own)
    home, moved = draw(arm.home, 80, 60), draw(arm.box_upper, 80, 60)
    assert (home != moved).any(axis=-1).sum() > 50


@pytest.mark.parametrize("kind", FINGERS)
def test_a_finger_rides_along_at_zero_with_its_mass(tmp_path: Path, kind: str) -> None:
    """pin moves the finger as a joint of its own; at zero, its arm's rows are what the chain feels."""
    urdf = written(tmp_path, FINGERS[kind])
    made = write_new_arm(urdf, tmp_path / "own", None, "tool0")
    arm = load_arm(made.yaml)
    rigid = pinocchio.buildModelFromUrdf(str(urdf))
    state, chain = rigid.createData(), BulletChain(made.urdf, arm)
    assert "grip" in list(rigid.names)
    rows = [rigid.joints[rigid.getJointId(name)].idx_v for name in arm.joint_names]
    for q in np.random.default_rng(0).uniform(arm.lower, arm.upper, (20, arm.joints)):
        whole = np.zeros(rigid.nq)
        whole[rows] = q
        gravity = pinocchio.computeGeneralizedGravity(rigid, state, whole)[rows]
        np.testing.assert_allclose(chain.gravity(q), gravity, atol=1e-12 * np.abs(gravity).max())
        upper = np.triu(pinocchio.crba(rigid, state, whole))
        mass = (upper + np.triu(upper, 1).T)[np.ix_(rows, rows)]
        np.testing.assert_allclose(chain.mass_matrix(q), mass, atol=1e-7 * mass.max())


def test_the_yaml_mends_what_bullet_would_set_to_zero(tmp_path: Path) -> None:
    """The same arm with an impossible tensor in the URDF and the true one in `links`: the same dynamics."""
    sound = write_new_arm(written(tmp_path / "sound", SMOOTH), None, None, None)
    flawed = tmp_path / "flawed"
    flawed.mkdir()
    shutil.copy(sound.yaml, flawed)
    description = yaml.safe_load(sound.yaml.read_text())
    true = {"name": "upper", "mass": 2.5, "com": [0.0, 0.0, 0.2], "inertia": [0.02, 0.02, 0.004, 0.0, 0.0, 0.0]}
    (flawed / sound.yaml.name).write_text(yaml.safe_dump(description | {"links": [true]}))
    head, mark, tail = sound.urdf.read_text().partition('<link name="upper">')
    (flawed / sound.urdf.name).write_text(head + mark + tail.replace('izz="0.004"', 'izz="0.9"', 1))
    chains = [BulletChain(path.with_suffix(".urdf"), load_arm(path)) for path in (sound.yaml, flawed / sound.yaml.name)]
    q = np.array([0.3, 0.7, -0.9])
    np.testing.assert_allclose(chains[1].mass_matrix(q), chains[0].mass_matrix(q), atol=1e-12)
    np.testing.assert_allclose(chains[1].gravity(q), chains[0].gravity(q), atol=1e-12)
