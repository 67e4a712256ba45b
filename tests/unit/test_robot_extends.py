"""An arm's YAML that says only how it differs from another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.swing_up_run import ARM
from mbrl_control.robot import ArmError, load_arm
from mbrl_control.robot_file import YamlFile
from sim.generate import ROBOTS, generated_files


def written(folder: Path, text: str) -> Path:
    shutil.copy(ROBOTS / "planar.yaml", folder)
    path = folder / "own.yaml"
    path.write_text("extends: planar.yaml\n" + text)
    return path


def test_what_is_not_said_stays_and_what_is_said_counts(tmp_path: Path) -> None:
    base = YamlFile(ROBOTS / "planar.yaml").tree
    tree = YamlFile(
        written(tmp_path, "name: own\njoints: [{name: elbow, upper: 1.0}]\nnoise: {effort_std: 0.5}\n")
    ).tree
    assert "extends" not in tree
    assert tree["joints"][0] == base["joints"][0]
    assert tree["joints"][1] == base["joints"][1] | {"upper": 1.0}
    assert tree["noise"] == base["noise"] | {"effort_std": 0.5}
    assert {key: tree[key] for key in base if key not in ("name", "joints", "noise")} == {
        key: base[key] for key in base if key not in ("name", "joints", "noise")
    }


def test_a_list_without_names_is_replaced(tmp_path: Path) -> None:
    assert YamlFile(written(tmp_path, "home: [0.1, 0.2]\n")).tree["home"] == [0.1, 0.2]


def test_the_hash_covers_both_files(tmp_path: Path) -> None:
    path = written(tmp_path, "name: own\n")
    before = YamlFile(path).sha256
    (tmp_path / "planar.yaml").write_text((tmp_path / "planar.yaml").read_text() + "# heavier\n")
    between = YamlFile(path).sha256
    path.write_text(path.read_text() + "# too\n")
    assert len({before, between, YamlFile(path).sha256}) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("joints: [{name: wrist, upper: 1.0}]\n", "own.yaml: joints: 'wrist' is not in the extended file; known: shou"),
        ("joints: [{name: elbow, uper: 1.0}]\n", r"joints\[1\].uper: unknown field"),
        ("colour: red\n", "colour: unknown field"),
    ],
)
def test_a_slip_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ArmError, match=words):
        generated_files(path)


def test_the_extended_file_must_be_there_and_be_whole(tmp_path: Path) -> None:
    path = written(tmp_path, "name: own\n")
    second = tmp_path / "second.yaml"
    second.write_text("extends: own.yaml\n")
    with pytest.raises(ArmError, match=r"second.yaml: extends: own.yaml extends another file itself"):
        YamlFile(second)
    second.write_text("extends: none.yaml\n")
    with pytest.raises(ArmError, match=r"second.yaml: extends: 'none.yaml' is no file"):
        YamlFile(second)
    assert YamlFile(path).tree["name"] == "own"


def test_the_swing_up_arm_is_the_planar_one_but_for_its_limits() -> None:
    for path, text in generated_files(ARM).items():
        assert path.read_text() == text, f"{path.name} is stale: run `python -m sim.generate {ARM.name}`"
    own, base = load_arm(ARM), load_arm(ROBOTS / "planar.yaml")
    for mine, theirs in zip(own.bodies, base.bodies, strict=True):
        assert mine.mass == theirs.mass
        np.testing.assert_array_equal(mine.inertia, theirs.inertia)
    np.testing.assert_array_equal(own.friction_viscous, base.friction_viscous)
    assert own.upper[0] > np.pi
