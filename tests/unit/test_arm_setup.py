"""What `robot new` rests on: capsules that hold their link, dynamics as `pin` has them, meshes where they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_control.arm_setup.arm_check import PHYSICS_STEP_S
from mbrl_control.arm_setup.capsule_fit import FittedCapsule, fit_capsules
from mbrl_control.arm_setup.chain_choice import choose_chain
from mbrl_control.arm_setup.check import check_yaml
from mbrl_control.arm_setup.new import write_new_arm
from mbrl_control.arm_setup.rigid_body import gravity_torques, mass_matrices, tool_jacobians
from mbrl_control.cli import main as cli
from mbrl_control.inertial import Inertial
from mbrl_control.kinematics import jacobian
from mbrl_control.mesh_files import find_mesh
from mbrl_control.robot import ArmError, load_arm
from mbrl_control.urdf_file import UrdfFile
from sim.generate import ROBOTS, TIMESTEP_S
from tests.unit.urdf_support import SOUND, spoilt, with_finger, written

pinocchio = pytest.importorskip("pinocchio")


def outside(points: np.ndarray, capsules: list[FittedCapsule]) -> float:
    """Farthest of the points outside of all capsules, m."""
    gaps = []
    for capsule in capsules:
        along = capsule.end - capsule.start
        share = np.clip((points - capsule.start) @ along / max(along @ along, 1e-12), 0.0, 1.0)
        gaps.append(np.linalg.norm(points - capsule.start - share[:, None] * along, axis=1) - capsule.radius)
    return float(np.min(gaps, axis=0).max())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.floats(0.02, 0.4), min_size=6, max_size=6))
def test_capsules_hold_every_point_of_a_links_surface(seed: int, sizes: list[float]) -> None:
    generator = np.random.default_rng(seed)
    boxes = [trimesh.creation.box(sizes[:3]), trimesh.creation.box(sizes[3:])]
    boxes[1].apply_transform(trimesh.transformations.random_rotation_matrix(generator.random(3)))
    boxes[1].apply_translation(generator.uniform(-0.2, 0.2, 3))
    points = np.concatenate([box.sample(500, seed=seed) for box in boxes])
    assert outside(points, fit_capsules(boxes)) < 1e-6


def test_a_cylinder_gets_a_capsule_of_its_own_size_and_an_elbow_gets_two() -> None:
    (one,) = fit_capsules([trimesh.creation.cylinder(radius=0.05, height=0.4)])
    assert one.radius == pytest.approx(0.05, abs=0.004)
    assert np.linalg.norm(one.end - one.start) == pytest.approx(0.4, abs=0.02)
    arm = trimesh.creation.cylinder(radius=0.04, height=0.4)
    forearm = trimesh.creation.cylinder(radius=0.04, height=0.4)
    forearm.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [0, 1, 0]))
    forearm.apply_translation([0.2, 0.0, 0.2])
    assert len(fit_capsules([arm, forearm])) == 2
    assert fit_capsules([]) == []


@pytest.mark.parametrize("name", ["panda", "planar", "ur5e"])
def test_mass_matrix_gravity_and_jacobian_are_those_of_pin(name: str) -> None:
    arm = load_arm(ROBOTS / f"{name}.yaml")
    rigid = pinocchio.buildModelFromUrdf(str(ROBOTS / f"{name}.urdf"))
    state = rigid.createData()
    q = np.random.default_rng(0).uniform(arm.lower, arm.upper, (20, arm.joints))
    ours = mass_matrices(arm, q), gravity_torques(arm, q), tool_jacobians(arm, q)
    for row, matrix, gravity, linear in zip(q, *ours, strict=True):
        upper = np.triu(pinocchio.crba(rigid, state, row))
        theirs = upper + np.triu(upper, 1).T + np.diag(arm.armature)
        np.testing.assert_allclose(matrix, theirs, atol=1e-9 * np.abs(theirs).max())
        expected = pinocchio.computeGeneralizedGravity(rigid, state, row)
        np.testing.assert_allclose(gravity, expected, atol=1e-6 * np.abs(expected).max())
        np.testing.assert_allclose(linear, jacobian(arm, row), atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6))
def test_a_repaired_inertia_is_one_that_a_body_can_have(six: list[float]) -> None:
    xx, yy, zz, xy, xz, yz = six
    body = Inertial(1.0, np.zeros(3), np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
    if np.abs(body.inertia).max() > 1e-3:
        assert body.repaired().fault() is None


def test_meshes_are_found_beside_the_urdf_above_it_and_on_the_ros_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urdf = tmp_path / "src" / "my_arm" / "urdf" / "arm.urdf"
    places = {
        "meshes/a.stl": urdf.parent / "meshes" / "a.stl",
        "package://my_arm/b.stl": tmp_path / "src" / "my_arm" / "b.stl",
        "package://other/c.stl": tmp_path / "ros" / "other" / "c.stl",
        "model://built/d%20e.stl": tmp_path / "install" / "share" / "built" / "d e.stl",
        f"file://{tmp_path}/f.stl": tmp_path / "f.stl",
    }
    for place in places.values():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    monkeypatch.setenv("ROS_PACKAGE_PATH", str(tmp_path / "ros"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "install"))
    for name, place in places.items():
        assert find_mesh(name, urdf) == place, name
    assert find_mesh("package://my_arm/missing.stl", urdf) is None


def test_base_and_tool_are_found_where_only_one_choice_makes_sense(tmp_path: Path) -> None:
    def ends(text: str) -> tuple[str, str]:
        choice = choose_chain(UrdfFile(written(tmp_path, text)))
        return choice.base, choice.tool

    room = '<link name="world"/><joint name="m" type="fixed"><parent link="world"/><child link="base"/></joint></robot>'
    sensor = '<link name="ft"/><joint name="f" type="fixed"><parent link="fore"/><child link="ft"/></joint></robot>'
    rail = room.replace('type="fixed"', 'type="prismatic"')
    assert ends(SOUND) == ("base", "tool0")
    assert ends(SOUND.replace("</robot>", room)) == ("base", "tool0")
    assert ends(SOUND.replace("</robot>", sensor)) == ("base", "tool0")
    assert ends(SOUND.replace("</robot>", rail)) == ("base", "tool0")
    with pytest.raises(ArmError, match="finger"):
        ends(with_finger())


def test_the_check_counts_delays_in_the_simulators_steps() -> None:
    """The library may not import the simulators."""
    assert PHYSICS_STEP_S == TIMESTEP_S


def test_a_new_arm_is_complete_clean_and_marks_its_guesses(tmp_path: Path) -> None:
    new = write_new_arm(written(tmp_path, SOUND), None, None, None)
    report = check_yaml(new.yaml)
    assert {str(finding.severity) for finding in report.findings} == {"guess"}
    arm = report.arm
    assert arm is not None
    assert arm.unconfirmed == tuple(finding.field for finding in report.findings)
    assert "friction" not in arm.unconfirmed, "the URDF gives it"
    assert (arm.friction_coulomb.tolist(), arm.friction_viscous.tolist()) == ([0.25] * 3, [0.5] * 3)
    np.testing.assert_allclose(arm.servo_gain, arm.effort / (0.5 * arm.velocity), rtol=1e-12)
    assert arm.effort_mode is not None
    text = new.yaml.read_text()
    assert text.count("GUESS: ") == len(arm.unconfirmed)
    assert text == write_new_arm(written(tmp_path / "again", SOUND), None, None, None).yaml.read_text()


def test_a_copy_brings_its_meshes_and_nothing_is_overwritten(tmp_path: Path) -> None:
    source, out = tmp_path / "given", tmp_path / "mine"
    (source / "parts").mkdir(parents=True)
    trimesh.creation.cylinder(radius=0.05, height=0.3).export(source / "parts" / "fore.stl")
    shape = '<cylinder radius="0.05" length="0.3"/>'
    with_mesh = spoilt((shape, '<mesh filename="parts/fore.stl"/>'), (shape, "<mesh filename='parts/fore.stl'/>"))
    new = write_new_arm(written(source, with_mesh), out, None, None)
    shutil.rmtree(source)
    assert new.yaml == out / "test_arm.yaml"
    assert find_mesh("meshes/parts/fore.stl", new.urdf) == out / "meshes" / "parts" / "fore.stl"
    assert check_yaml(new.yaml).stops == 0
    before = new.yaml.read_bytes()
    for kept in (new.yaml, new.urdf, out / "meshes" / "parts" / "fore.stl"):
        others = {path: path.read_bytes() for path in (new.yaml, new.urdf) if path != kept}
        for path in others:
            path.unlink()
        (source / "parts").mkdir(parents=True, exist_ok=True)
        trimesh.creation.box([0.1, 0.1, 0.3]).export(source / "parts" / "fore.stl")
        with pytest.raises(ArmError, match=f"{kept.name}: exists"):
            write_new_arm(written(source, with_mesh), out, None, None)
        for path, content in others.items():
            path.write_bytes(content)
    assert new.yaml.read_bytes() == before


def test_the_terminal_says_which_shapes_could_not_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = '<cylinder radius="0.05" length="0.3"/>'
    missing, huge = '<mesh filename="nowhere.stl"/>', '<mesh filename="huge.stl"/>'
    path = written(tmp_path, spoilt((shape, missing), (shape, huge)))
    trimesh.creation.box([300.0, 300.0, 300.0]).export(tmp_path / "huge.stl")
    with pytest.raises(SystemExit, match="0"):
        cli.main(["robot", "new", "--urdf", str(path)])
    printed = capsys.readouterr().out
    for words in ("'nowhere.stl' not found", "huge.stl", 'write scale="0.001 0.001 0.001" at the mesh'):
        assert words in printed
