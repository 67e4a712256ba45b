"""A real arm does not go live on guesses: `up`, `collect` and real.launch.py name them; a dry run warns."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mbrl_control.cli import launching
from mbrl_control.cli.collect import collect
from mbrl_control.cli.errors import UserError
from mbrl_control.cli.launch_arguments import REAL
from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.run_options import RunOptions, open_session
from mbrl_control.cli.simulation import Simulator
from mbrl_control.signals import CommandInterface

NAMED = r"planar\.yaml: unconfirmed: home, servo: .*take it off `unconfirmed`"


@pytest.fixture
def guessed(tmp_path: Path) -> Path:
    """An arm with two guesses left."""
    source = arm_file("planar")
    (tmp_path / "planar.urdf").write_bytes(source.with_suffix(".urdf").read_bytes())
    text = yaml.safe_dump(yaml.safe_load(source.read_text()) | {"unconfirmed": ["home", "servo"]})
    (tmp_path / "planar.yaml").write_text(text)
    return tmp_path / "planar.yaml"


def options(robot: str, out: Path, go_live: bool) -> RunOptions:
    given = (robot, Simulator.MUJOCO, CommandInterface.VELOCITY, out, None, 0.5, 0)
    return RunOptions(*given, False, True, go_live, None, "", None, None)


def test_up_goes_live_on_no_guess(guessed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match=NAMED):
        open_session(options(str(guessed), out, go_live=True), "up")
    assert not out.exists()
    session, warning = open_session(options(str(guessed), out, go_live=False), "up")
    assert session.wiring.dry_run
    assert "home, servo" in warning
    session, warning = open_session(options("planar", tmp_path / "live", go_live=True), "up")
    assert not session.wiring.dry_run
    assert warning == ""


def test_collect_refuses_a_dry_run_and_guesses(guessed: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--real: a dry run moves nothing"):
        collect(robot="planar", real=True, out=tmp_path / "out")
    with pytest.raises(UserError, match=NAMED):
        collect(robot=str(guessed), real=True, go_live=True, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_launch_file_goes_live_on_no_guess(guessed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "prepare", lambda _: "")
    values = {argument.name: argument.default for argument in REAL}
    values |= {"arm": str(guessed), "out": str(tmp_path / "out")}
    with pytest.raises(UserError, match=NAMED):
        launching.real(values | {"dry_run": "false"})
    session, _ = launching.real(values)
    assert "home, servo" in launching.begin(session).message
