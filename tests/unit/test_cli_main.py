"""The command line in fresh processes: help, statuses, one-line errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from mbrl_control.cli import main as cli
from mbrl_control.cli.errors import Refused, UserError, exit_status, one_line
from tests.patience import HUNG_S

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from mbrl_control.cli.main import main; main(sys.argv[1:])"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERMINAL_WIDTH": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=HUNG_S, check=False)


@pytest.mark.parametrize(
    "verb",
    [
        (),
        ("robot",),
        ("robot", "check"),
        ("models",),
        ("models", "list"),
        ("models", "show"),
        ("models", "verify"),
        ("models", "promote"),
        ("models", "rollback"),
        ("models", "sign"),
        ("models", "import"),
        ("models", "judge"),
        ("models", "keys"),
        ("models", "golden"),
        ("models", "golden", "add"),
        ("models", "golden", "list"),
        ("models", "golden", "remove"),
        ("log", "card"),
        ("models", "keys", "list"),
        ("models", "keys", "trust"),
        ("models", "keys", "revoke"),
        ("log",),
        ("log", "info"),
        ("log", "recover"),
        ("log", "import"),
        ("log", "buffer"),
        ("retrain",),
        ("learner",),
        ("collect",),
        ("doctor",),
        ("bench",),
    ],
    ids=" ".join,
)
def test_every_verb_has_help_with_an_example(verb: tuple[str, ...]) -> None:
    done = run(*verb, "--help")
    assert done.returncode == 0, done.stderr
    assert "Example: mbrl-control" in done.stdout


def test_help_names_every_verb_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from mbrl_control.cli.main import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    heavy = {'torch', 'numpy', 'rclpy', 'onnxruntime', 'mujoco', 'scipy'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=HUNG_S, check=False
    )
    assert done.returncode == 0, done.stderr
    for verb in ("demo", "up", "robot", "models", "log", "retrain", "doctor", "bench"):
        assert verb in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nonsense",),
        ("nonsense",),
        ("log", "info", "--nonsense"),
        ("log", "info"),
        ("robot", "check", "/no/such.yaml"),
        ("bench", "nonsense"),
    ],
    ids=" ".join,
)
def test_bad_input_exits_2_without_a_traceback(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


def test_a_foreign_file_is_one_line_that_names_it(tmp_path: Path) -> None:
    foreign = tmp_path / "notes.mcap"
    foreign.write_text("these are notes, not a log\n")
    done = run("log", "info", str(foreign))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert str(foreign) in done.stderr


def test_recover_never_overwrites(tmp_path: Path) -> None:
    kept = tmp_path / "kept.mcap"
    kept.write_text("mine")
    done = run("log", "recover", str(tmp_path / "a.mcap"), "--out", str(kept))
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert kept.read_text() == "mine"


def test_a_deferred_verb_parses_its_own_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def up(arm: str, rate: int = typer.Option(50)) -> None:
        """Stand-in."""
        typer.echo(f"{arm} at {rate}")

    module = type(sys)("mbrl_control.cli.up")
    module.up = up  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mbrl_control.cli.up", module)
    for arguments, status in ((["up", "panda", "--rate", "100"], 0), (["up", "--help"], 0), (["up", "--nonsense"], 2)):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == status
    printed = capsys.readouterr().out
    assert "panda at 100" in printed
    assert "--rate" in printed


class TestStatus:
    def test_own_errors_are_the_users(self) -> None:
        assert exit_status(UserError("x")) == 2
        assert exit_status(Refused("worse than the active bundle")) == 1

    def test_a_missing_file_is_the_users(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="No such file") as missing:
            (tmp_path / "absent").read_text()
        assert exit_status(missing.value) == 2
        assert "absent" in one_line(missing.value)

    @pytest.mark.parametrize("bug", [ValueError("x"), KeyError("x"), OSError("x"), TypeError("x")], ids=repr)
    def test_anything_else_is_a_bug_and_keeps_its_traceback(self, bug: Exception) -> None:
        assert exit_status(bug) is None

    def test_an_error_is_one_line(self) -> None:
        assert one_line(UserError("arm.yaml:\n  home: missing")) == "arm.yaml: home: missing"
