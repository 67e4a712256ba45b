"""Both renderers, without a display: the arm, its tool and the target are where they should be."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from mbrl_control.kinematics import forward_kinematics
from mbrl_control.robot import ArmError, load_arm
from sim.bullet_looks import visual_urdf
from sim.engines import Simulator
from sim.generate import ROBOTS
from sim.render import backdrop, load_camera
from sim.renderers import open_renderer

SOURCES = sorted(ROBOTS.glob("*.yaml"))
SIZE = (160, 120)
GREEN = (
    '<visual><geometry><mesh filename="{name}"/></geometry>'
    '<material name="g"><color rgba="0 1 0 1"/></material></visual>'
)


@pytest.fixture(params=SOURCES, ids=lambda path: path.stem)
def source(request: pytest.FixtureRequest) -> Path:
    return request.param


def foreground(picture: NDArray[np.uint8], source: Path) -> NDArray[np.bool_]:
    """[height, width] where a picture is neither floor nor sky."""
    height, width, _ = picture.shape
    return np.asarray((picture != backdrop(load_camera(source), width, height)).any(axis=-1))


@pytest.mark.parametrize("simulator", list(Simulator))
def test_a_picture_shows_arm_and_target(source: Path, simulator: Simulator) -> None:
    arm, draw = load_arm(source), open_renderer(simulator, source)
    home = draw(arm.home, *SIZE)
    assert (home.shape, home.dtype) == ((120, 160, 3), np.uint8)
    np.testing.assert_array_equal(home, draw(arm.home, *SIZE))
    assert (home != draw(arm.box_upper, *SIZE)).any(axis=-1).sum() > 200
    marked = draw(arm.home, *SIZE, target=forward_kinematics(arm, arm.box_lower))
    reddened = (marked[..., 0] / 2 > marked[..., 1]) & (home != marked).any(axis=-1)
    assert reddened.sum() > 5
    np.testing.assert_array_equal(home, draw(arm.home, *SIZE))


def test_both_renderers_show_the_same_arm_at_the_same_place(source: Path) -> None:
    """Overlap of the two outlines over their union; the rest are edges of half a pixel."""
    arm, generator = load_arm(source), np.random.default_rng(0)
    renderers = [open_renderer(simulator, source) for simulator in Simulator]
    for q in [arm.home, *generator.uniform(arm.box_lower, arm.box_upper, (2, arm.joints))]:
        pictures = [draw(q, 480, 360) for draw in renderers]
        first, second = (foreground(picture, source) for picture in pictures)
        assert (first & second).sum() > 0.92 * (first | second).sum()
        brightness = [picture[first & second].mean() for picture in pictures]
        assert abs(brightness[0] - brightness[1]) < 15.0


def with_mesh(folder: Path, name: str) -> Path:
    """The planar arm with a green block in place of its forearm's capsule."""
    shutil.copy(ROBOTS / "planar.yaml", folder)
    text = (ROBOTS / "planar.urdf").read_text()
    visual = GREEN.format(name=name)
    (folder / "planar.urdf").write_text(text.replace('<link name="forearm">', f'<link name="forearm">{visual}'))
    return folder / "planar.yaml"


@pytest.mark.parametrize("name", ["shapes/block.stl", "shapes/block.obj", "package://some_robot/shapes/block.stl"])
def test_a_visual_is_drawn_in_place_of_its_links_capsules(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "some_robot"
    (folder / "shapes").mkdir(parents=True)
    block = trimesh.creation.box((0.2, 0.2, 0.2))
    block.apply_translation((0.0, 0.0, -0.2))
    block.export(folder / "shapes" / Path(name).name)
    path = with_mesh(folder, name)
    arm = load_arm(path)
    picture = open_renderer(Simulator.PYBULLET, path)(arm.home, *SIZE)
    plain = open_renderer(Simulator.PYBULLET, ROBOTS / "planar.yaml")(arm.home, *SIZE)
    red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
    assert ((green > red + 60) & (green > blue + 60)).sum() > 30
    kept = (plain == picture).all(axis=-1) & foreground(plain, path)
    assert 100 < kept.sum() < 0.9 * foreground(plain, path).sum()


def test_a_mesh_of_a_ros_package_is_found_as_robot_check_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = tmp_path / "ros" / "a" / "b.stl"
    mesh.parent.mkdir(parents=True)
    trimesh.creation.box((0.2, 0.2, 0.2)).export(mesh)
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv("ROS_PACKAGE_PATH", str(tmp_path / "ros"))
    path = with_mesh(own, "package://a/b.stl")
    assert str(mesh) in visual_urdf(path.with_suffix(".urdf"), load_arm(path), tmp_path)


def test_a_mesh_that_is_not_there_is_named_with_its_link(tmp_path: Path) -> None:
    with pytest.raises(ArmError, match=r"planar\.urdf: link forearm: visual: mesh package://a/b\.stl: no such file"):
        open_renderer(Simulator.PYBULLET, with_mesh(tmp_path, "package://a/b.stl"))
