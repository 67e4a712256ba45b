"""Arm description: what is read, what is refused, and the targets drawn from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mbrl_control.cli.simulation import check_simulation_model
from mbrl_control.kinematics import forward_kinematics, sample_targets
from mbrl_control.robot import ArmError, load_arm

ROBOTS = Path(__file__).parents[2] / "sim" / "robots"
Edit = Callable[[dict[str, Any]], object]


def test_the_files_are_read_in_joint_order() -> None:
    arm = load_arm(ROBOTS / "panda.yaml")
    assert arm.joint_names == tuple(f"panda_joint{index}" for index in range(1, 8))
    assert (arm.base_frame, arm.tool_frame, arm.joints) == ("panda_link0", "tool0", 7)
    assert arm.velocity.tolist() == [2.175] * 4 + [2.61] * 3
    assert arm.effort.tolist() == [87.0] * 4 + [12.0] * 3
    assert (arm.lower[3], arm.upper[3]) == (-3.0718, -0.0698)
    assert all(len(digest) == 64 for digest in arm.sha256)


def test_kinematics_take_any_leading_shape() -> None:
    arm = load_arm(ROBOTS / "panda.yaml")
    q = np.random.default_rng(0).uniform(arm.lower, arm.upper, (4, 3, 7))
    tool = forward_kinematics(arm, q)
    assert tool.shape == (4, 3, 3)
    np.testing.assert_allclose(tool[2, 1], forward_kinematics(arm, q[2, 1]), atol=1e-15)
    with pytest.raises(ValueError, match="needs"):
        forward_kinematics(arm, q[..., :6])


@pytest.mark.parametrize("seed", range(3))
def test_targets_lie_in_the_box_apart_from_each_other_and_repeat_with_the_seed(seed: int) -> None:
    arm = load_arm(ROBOTS / "panda.yaml")
    q, p = sample_targets(arm, 40, 0.25, np.random.default_rng(seed))
    assert ((arm.box_lower <= q) & (q <= arm.box_upper)).all()
    np.testing.assert_array_equal(p, forward_kinematics(arm, q))
    assert (np.linalg.norm(np.diff(p, axis=0), axis=1) >= 0.25).all()
    np.testing.assert_array_equal(q, sample_targets(arm, 40, 0.25, np.random.default_rng(seed))[0])


def test_targets_farther_apart_than_the_box_allows_are_refused() -> None:
    with pytest.raises(ArmError, match="work_box"):
        sample_targets(load_arm(ROBOTS / "planar.yaml"), 3, 5.0, np.random.default_rng(0))


def edited(folder: Path, edit: Edit) -> Path:
    """A copy of the planar arm with one edit of its YAML."""
    shutil.copy(ROBOTS / "planar.urdf", folder / "planar.urdf")
    description = yaml.safe_load((ROBOTS / "planar.yaml").read_text())
    edit(description)
    (folder / "planar.yaml").write_text(yaml.safe_dump(description))
    return folder / "planar.yaml"


def test_a_simulation_model_of_another_arm_is_refused(tmp_path: Path) -> None:
    """The URDF's forearm is shortened; control would reach past what the simulator shows, silently."""
    path = edited(tmp_path, lambda d: None)
    model = tmp_path / "planar.mjcf.xml"
    with pytest.raises(ArmError, match="no such file"):
        check_simulation_model(path, load_arm(path))
    shutil.copy(ROBOTS / "planar.mjcf.xml", model)
    assert check_simulation_model(path, load_arm(path)) == model
    urdf = path.with_suffix(".urdf")
    urdf.write_text(urdf.read_text().replace("-0.45", "-0.3"))
    with pytest.raises(ArmError, match="puts the tool"):
        check_simulation_model(path, load_arm(path))
    for content, words in (("junk", "not a model"), ((ROBOTS / "panda.mjcf.xml").read_text(), "joints are")):
        model.write_text(content)
        with pytest.raises(ArmError, match=words):
            check_simulation_model(path, load_arm(path))


@pytest.mark.parametrize(
    ("field", "edit"),
    [
        ("home", lambda d: d.pop("home")),
        ("servo.gain", lambda d: d["servo"].pop("gain")),
        ("servo.lag_s", lambda d: d["servo"].update(lag_s=[0.03])),
        ("servo.gain", lambda d: d["servo"].update(gain=[100.0, -1.0])),
        ("home: outside the joint limits: shoulder 9, not in -2.8..2.8 rad", lambda d: d.update(home=[9.0, 1.0])),
        ("home", lambda d: d.update(home=[float("nan"), 1.0])),
        ("home", lambda d: d.update(home=["a", 1.0])),
        ("work_box.lower", lambda d: d["work_box"].update(lower=[2.0, 0.3])),
        ("work_box", lambda d: d["work_box"].update(upper=[1.6, 3.0])),
        ("joints[0].upper", lambda d: d["joints"][0].update(upper=2.7)),
        ("joints[0].velocity", lambda d: d["joints"][0].update(velocity=3.1)),
        ("joints[].jerk", lambda d: d["joints"][1].update(jerk="fast")),
        ("joints[1].acceleration", lambda d: d["joints"][1].pop("acceleration")),
        ("joints[1].name", lambda d: d["joints"][1].update(name="wrist")),
        ("joint", lambda d: d.update(tool_frame="gripper")),
        ("capsules[1].link", lambda d: d["capsules"][1].update(link="finger")),
        ("capsules[0].radius", lambda d: d["capsules"][0].update(radius=0.0)),
        ("noise.velocity_std", lambda d: d["noise"].update(velocity_std=-1.0)),
        ("delays.command_s", lambda d: d["delays"].pop("command_s")),
        ("joints", lambda d: d.update(joints=[])),
        ("joints[0].velocty", lambda d: d["joints"][0].update(velocty=3.0)),
        ("jerk", lambda d: d["joints"][1].update(jerk=0.0)),
        ("delays.command_s", lambda d: d["delays"].update(command_s=5.0)),
        ("unconfirmed: 'break' is no field", lambda d: d.update(unconfirmed=["home", "break"])),
    ],
)
def test_a_wrong_field_is_named_with_file_and_remedy(tmp_path: Path, field: str, edit: Edit) -> None:
    path = edited(tmp_path, edit)
    with pytest.raises(ArmError) as caught:
        load_arm(path)
    place, fault = str(caught.value).split(": ", 1)
    assert place in (str(path), str(path.with_suffix(".urdf")))
    assert fault.startswith(field)
    assert fault[len(field)] in ":; "
    assert "; " in fault


def test_the_yaml_may_set_a_stricter_speed_or_effort_and_no_looser_one(tmp_path: Path) -> None:
    arm = load_arm(edited(tmp_path, lambda d: d["joints"][1].update(velocity=1.5, effort=12)))
    assert (arm.velocity.tolist(), arm.effort.tolist()) == ([3.0, 1.5], [150.0, 12.0])
    with pytest.raises(ArmError, match=r"joints\[1\]\.effort: 16\.0, but planar\.urdf says 15\.0"):
        load_arm(edited(tmp_path, lambda d: d["joints"][1].update(effort=16)))


@pytest.mark.parametrize("added", ["home: [0.0, 0.0]", "  factor: 3.0"], ids=["at the top", "inside"])
def test_a_key_given_twice_is_named_with_its_lines(tmp_path: Path, added: str) -> None:
    path = edited(tmp_path, lambda d: None)
    lines = path.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(added.split(":")[0] + ":"))
    at = first + 1 if added.startswith(" ") else len(lines)
    path.write_text("\n".join([*lines[:at], added, *lines[at:]]) + "\n")
    key = "brake.factor" if added.startswith(" ") else "home"
    with pytest.raises(ArmError, match=rf"planar\.yaml: {key}: given twice, in line {first + 1} and in line {at + 1};"):
        load_arm(path)


def test_a_key_that_is_no_text_is_an_unknown_field(tmp_path: Path) -> None:
    for line, key in (("5: x", "5"), ("on: 1", "True")):
        path = edited(tmp_path, lambda d: None)
        path.write_text(path.read_text() + line + "\n")
        with pytest.raises(ArmError, match=rf"{key}: unknown field"):
            load_arm(path)


def test_a_yaml_alias_that_leads_round_in_a_circle_is_no_endless_search(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda d: None)
    path.write_text(path.read_text() + "circle: &x [*x]\n")
    with pytest.raises(ArmError, match="circle: unknown field"):
        load_arm(path)


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ArmError, match=r"arm\.yaml: no such file"):
        load_arm(tmp_path / "arm.yaml")
    path = edited(tmp_path, lambda d: None)
    urdf = tmp_path / "planar.urdf"
    for content, message in [("<robot", "not XML"), ("<robot/>", "no chain")]:
        urdf.write_text(content)
        with pytest.raises(ArmError, match=message):
            load_arm(path)
    urdf.unlink()
    with pytest.raises(ArmError, match=r"planar\.urdf: no such file"):
        load_arm(path)
    path.write_text("a: [")
    with pytest.raises(ArmError, match="not YAML"):
        load_arm(path)
