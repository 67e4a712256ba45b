"""Own arms from pybullet_data (KUKA iiwa, xArm 6), meshes included: written, checked, simulated, moved to a target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pybullet
import pybullet_data
import pytest

from mbrl_control.arm_setup.check import check_urdf, check_yaml
from mbrl_control.arm_setup.new import write_new_arm
from mbrl_control.cli.simulation import write_simulation_model
from mbrl_control.kinematics import forward_kinematics, sample_targets
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import Planner
from mbrl_control.robot import Arm, load_arm
from sim.generate import generated_files
from sim.lockstep import Lockstep, reach
from sim.lockstep_model import nominal_model
from sim.mujoco_arm import MujocoArm
from sim.render import load_camera, render_arm

pinocchio = pytest.importorskip("pinocchio")
DATA = Path(pybullet_data.getDataPath())
ORIGINALS = {"lbr_iiwa": DATA / "kuka_iiwa" / "model.urdf", "xarm6": DATA / "xarm" / "xarm6_robot.urdf"}


@dataclass(frozen=True)
class Own:
    """An arm that `robot new` has written."""

    original: Path
    yaml: Path
    arm: Arm


@pytest.fixture(scope="module", params=ORIGINALS)
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Own:
    original = ORIGINALS[request.param]
    written = write_new_arm(original, tmp_path_factory.mktemp("own"), None, None)
    assert written.yaml.stem == request.param
    write_simulation_model(written.yaml)
    return Own(original, written.yaml, load_arm(written.yaml))


def test_it_passes_its_check_and_says_what_is_guessed_and_what_is_odd(own: Own) -> None:
    report = check_yaml(own.yaml)
    assert report.stops == 0
    told = {(str(finding.severity), finding.field) for finding in report.findings}
    assert {("guess", "home"), ("guess", "capsules"), ("guess", "servo"), ("warn", "tool_frame")} <= told
    odd = {finding.field for finding in report.findings if finding.severity == "warn"}
    if own.arm.name == "lbr_iiwa":
        assert {"limit effort", "limit velocity"} <= odd, "300 N m and 10 rad/s at all joints are no KUKA's"
        assert own.arm.velocity.max() == 2.0, "so the YAML says a stricter one"
    else:
        assert {"link link2: inertial", "link link3: inertial"} <= odd, "their tensors are no rigid body's"
    assert not [finding for finding in report.findings if "mesh" in finding.fault], "every mesh is found"


def test_the_original_is_checked_without_a_yaml() -> None:
    iiwa, xarm = (check_urdf(path) for path in ORIGINALS.values())
    assert iiwa.stops == 0
    stops = {finding.field for finding in xarm.findings if finding.severity == "stop"}
    assert stops == {"link link2: inertial", "link link3: inertial"}


def test_pybullets_panda_needs_only_the_name_of_its_tool(tmp_path: Path) -> None:
    """Two prismatic fingers beside the tool frame, and fixed joints with a zero axis."""
    urdf = DATA / "franka_panda" / "panda.urdf"
    assert [finding.field for finding in check_urdf(urdf).findings] == ["tool_frame"]
    still = {finding.field for finding in check_urdf(urdf, tool="panda_grasptarget").findings}
    assert {"joint panda_finger_joint1", "joint panda_finger_joint2"} <= still
    written = write_new_arm(urdf, tmp_path, None, "panda_grasptarget")
    assert written.faults == ()
    report = check_yaml(written.yaml)
    assert report.stops == 0
    assert report.arm is not None
    assert report.arm.joint_names == tuple(f"panda_joint{number}" for number in range(1, 8))
    assert report.arm.bodies[-1].mass > 0.9, "hand and fingers ride along"


def test_it_has_the_kinematics_of_the_original_in_pin_and_bullet(own: Own) -> None:
    rigid = pinocchio.buildModelFromUrdf(str(own.original))
    state, base, tool = rigid.createData(), rigid.getFrameId(own.arm.base_frame), rigid.getFrameId(own.arm.tool_frame)
    client = pybullet.connect(pybullet.DIRECT)
    body = pybullet.loadURDF(str(own.original), useFixedBase=True, physicsClientId=client)
    rows = [pybullet.getJointInfo(body, i, physicsClientId=client) for i in range(pybullet.getNumJoints(body, client))]
    index = {row[1].decode(): row[0] for row in rows}
    end = next(row[0] for row in rows if row[12].decode() == own.arm.tool_frame)
    sim = MujocoArm(own.yaml, 0)
    poses = np.random.default_rng(0).uniform(own.arm.lower, own.arm.upper, (20, own.arm.joints))
    for q, ours in zip(poses, forward_kinematics(own.arm, poses), strict=True):
        pinocchio.framesForwardKinematics(rigid, state, q)
        theirs = state.oMf[base].actInv(state.oMf[tool]).translation
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
        for name, angle in zip(own.arm.joint_names, q, strict=True):
            pybullet.resetJointState(body, index[name], angle, physicsClientId=client)
        link = pybullet.getLinkState(body, end, computeForwardKinematics=True, physicsClientId=client)
        np.testing.assert_allclose(
            ours, link[4], atol=1e-5, err_msg="Bullet reads back link frames in single precision"
        )
        sim.reset(q)
        np.testing.assert_allclose(ours, sim.truth().tool, atol=1e-12)
    pybullet.disconnect(client)


def test_it_rests_droops_under_a_load_and_follows_a_velocity(own: Own) -> None:
    sim = MujocoArm(own.yaml, 0)
    for _ in range(100):
        sim.step()
    np.testing.assert_allclose(sim.truth().position, own.arm.home, atol=1e-6)
    sim.command(0.1 * own.arm.velocity)
    for _ in range(100):
        sim.step()
    moved = sim.truth().velocity / (0.1 * own.arm.velocity)
    assert ((moved > 0.4) & (moved < 1.05)).all()
    sim.reset(own.arm.home)
    height = sim.truth().tool[2]
    sim.attach_payload(1.0, np.zeros(3))
    for _ in range(250):
        sim.step()
    assert height - sim.truth().tool[2] > 0.002


def test_it_can_be_shown(own: Own) -> None:
    picture = render_arm(own.arm, own.arm.home, load_camera(own.yaml), 80, 60)
    floor = render_arm(own.arm, own.arm.home, load_camera(own.yaml), 80, 60, target=np.array([9.0, 9.0, 9.0]))
    np.testing.assert_array_equal(picture, floor)
    moved = render_arm(own.arm, own.arm.box_upper, load_camera(own.yaml), 80, 60)
    assert (picture != moved).any(axis=-1).sum() > 50, "the arm is in the picture"


def test_its_files_are_what_the_generator_writes(own: Own) -> None:
    files = generated_files(own.yaml)
    assert list(files) == [own.yaml.with_suffix(".mjcf.xml")], "its URDF is the user's"
    assert own.yaml.with_suffix(".mjcf.xml").read_text() == next(iter(files.values()))


def test_the_planner_reaches_with_the_prior_alone(own: Own) -> None:
    """The demo's phase `nominal` in virtual time: the proposed numbers make an arm that can be controlled."""
    lockstep = Lockstep(own.yaml, 1)
    planner = Planner(own.arm, PlannerConfig(), lockstep.clock, np.random.default_rng(0))
    planner.use(nominal_model(own.arm, own.arm.command_delay_s))
    _, targets = sample_targets(own.arm, 2, 0.25, np.random.default_rng(0))
    errors = reach(lockstep, planner, targets)
    assert errors.max() < 5.0, f"{errors} mm"
