"""`--command` against what is there: the other interface's log, bundle or arm is refused before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mbrl_control import retrain as library
from mbrl_control.cli import main as cli
from mbrl_control.cli.locations import arm_file
from mbrl_control.robot import ArmError
from tests.unit.synthetic_log import Arm, arm_streams, write_streams


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on standard error of a command that exits with 2."""
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    (line,) = printed.err.splitlines()
    return line


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A velocity bundle of the planar arm, once in its place and once where torques look for theirs."""
    folder = tmp_path_factory.mktemp("registry")
    with pytest.raises(SystemExit, match="0"):
        cli.main(["models", "prior", "--robot", "planar", "--registry", str(folder)])
    shutil.copytree(folder / "planar", folder / "planar_effort")
    return folder


def test_a_velocity_log_teaches_no_model_of_torques(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "run_in_background", lambda: None)  # would lower this test process for good
    log = tmp_path / "log.mcap"
    write_streams(log, arm_streams(Arm(), 2.0, np.random.default_rng(0)))
    given = ("retrain", "--log", str(log), "--robot", "planar", "--registry", str(tmp_path / "models"))
    line = refused(capsys, *given, "--command", "effort")
    assert f"{log}: safe_command.interface: holds velocity commands, the model is to take effort" in line
    assert "say --command as the log was made" in line
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("verb", ["show", "verify", "rollback"])
def test_models_refuses_a_bundle_of_the_other_interface(
    verb: str, registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("models", verb, "1", "--robot", "planar", "--registry", str(registry), "--command", "effort")
    line = refused(capsys, *given)
    assert str(registry / "planar_effort" / "1" / "manifest.json") in line
    assert "command_interface: velocity, the arm takes effort commands here; choose a bundle of this interface" in line


def test_up_refuses_a_velocity_bundle_under_torques_and_leaves_no_folder(
    registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    given = ("up", "--robot", "planar", "--command", "effort", "--out", str(out), "--registry")
    assert "command_interface: velocity, the arm takes effort" in refused(capsys, *given, str(registry))
    velocity_only = tmp_path / "registry"
    shutil.copytree(registry / "planar", velocity_only / "planar")
    line = refused(capsys, *given, str(velocity_only))
    assert str(velocity_only / "planar_effort") in line
    assert "names no bundle; run `mbrl-control models prior`" in line
    assert not out.exists()


@pytest.mark.parametrize("verb", [("up",), ("demo",), ("models", "prior")], ids=" ".join)
def test_an_arm_that_takes_no_torques_is_refused_by_file_field_and_remedy(
    verb: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = arm_file("planar")
    for file in (source.with_suffix(".urdf"), source.with_suffix(".mjcf.xml")):
        shutil.copy(file, tmp_path / file.name)
    lines = source.read_text().splitlines()
    begin = lines.index("effort_mode:")
    end = next(i for i in range(begin + 1, len(lines)) if lines[i][:1] not in ("", " ", "#"))
    arm = tmp_path / "planar.yaml"
    arm.write_text("\n".join([*lines[:begin], *lines[end:]]) + "\n")
    where = ("--registry" if verb == ("models", "prior") else "--out", str(tmp_path / "out"))
    line = refused(capsys, *verb, "--robot", str(arm), "--command", "effort", *where)
    assert str(arm) in line
    assert "effort_mode: missing; add it (see panda.yaml), or command velocities" in line
    assert not (tmp_path / "out").exists()


def test_up_refuses_a_namespace_that_ros_would_refuse_and_leaves_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    line = refused(capsys, "up", "--robot", "planar", "--namespace", "my arm", "--out", str(out))
    assert "namespace: 'my arm': letters, digits and _ only" in line
    assert not out.exists()


def test_a_urdf_in_the_place_of_an_arm_is_answered_by_what_is_beside_it(tmp_path: Path) -> None:
    urdf = tmp_path / "my.urdf"
    with pytest.raises(ArmError, match=r"my\.urdf: no such file"):
        arm_file(str(urdf))
    urdf.touch()
    with pytest.raises(ArmError, match=r"a URDF alone; write its YAML first: mbrl-control robot new --urdf .*my\.urdf"):
        arm_file(str(urdf))
    beside = urdf.with_suffix(".yml")
    beside.touch()
    with pytest.raises(ArmError, match=rf"a URDF; give the YAML beside it: {beside}$"):
        arm_file(str(urdf))
