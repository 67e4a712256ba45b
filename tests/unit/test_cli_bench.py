"""`mbrl-control bench`: finds, lists and runs the benches of a checkout; here one with stand-in benches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mbrl_control.cli.bench import known_benches, listing
from mbrl_control.cli.errors import UserError
from tests.patience import HUNG_S

ROOT = Path(__file__).parents[2]
ECHO = '''"""Says what it was given.

More."""
import json, os, sys

def main():
    print("busy", file=sys.stderr)
    print(json.dumps({"arguments": sys.argv[1:], "folder": os.getcwd()}))
    sys.exit(7)
'''
HELPER = '"""No bench: nothing to run."""\nVALUE = 1\n'
WAITING = '''"""Waits."""
import time

def main():
    print("ready", flush=True)
    time.sleep(3600)
'''
FAILING = '''"""Fails as it is told."""
import sys
from mbrl_control.cli.errors import Refused, UserError

def main():
    raise {"input": UserError, "refused": Refused, "bug": ValueError}[sys.argv[1]]("file: field: the reason")
'''


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout" / "benchmarks"
    folder.mkdir(parents=True)
    for name, text in {"echo": ECHO, "failing": FAILING, "helper": HELPER, "waiting": WAITING}.items():
        (folder / f"{name}.py").write_text(text)
    return folder.parent


def command(checkout: Path, *arguments: str) -> list[str]:
    code = (
        "import sys; from pathlib import Path; from mbrl_control.cli import bench, main\n"
        "bench._CHECKOUT = Path(sys.argv[1]); main.main(sys.argv[2:])"
    )
    return [sys.executable, "-c", code, str(checkout), "bench", *arguments]


def run(checkout: Path, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command(checkout, *arguments), capture_output=True, text=True, env=env, cwd=cwd, timeout=HUNG_S, check=False
    )


def test_output_arguments_folder_and_status_are_the_benchs_own(checkout: Path, tmp_path: Path) -> None:
    # Started inside of another checkout, whose benchmarks must not answer.
    other = tmp_path / "other"
    (other / "benchmarks").mkdir(parents=True)
    (other / "benchmarks" / "echo.py").write_text("raise SystemExit(3)")
    done = run(checkout, "echo", "--seeds", "2", "--help", "last", cwd=other)
    assert done.returncode == 7, done.stderr
    assert json.loads(done.stdout) == {"arguments": ["--seeds", "2", "--help", "last"], "folder": str(other)}
    assert done.stderr == "busy\n"


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_lists_every_bench_with_its_line(checkout: Path, arguments: tuple[str, ...]) -> None:
    done = run(checkout, *arguments)
    assert done.returncode == 0
    assert "  echo     Says what it was given.\n  failing  Fails as it is told.\n  waiting  Waits.\n" in done.stdout
    assert "helper" not in done.stdout


def test_an_unknown_name_is_refused_with_the_list(checkout: Path) -> None:
    done = run(checkout, "ecco")
    assert (done.returncode, done.stdout) == (2, "")
    assert "  echo     Says what it was given.\n" in done.stderr
    assert done.stderr.splitlines()[-1].endswith(
        "bench ecco: there is no such bench; name one of echo, failing, waiting"
    )


@pytest.mark.parametrize(("kind", "status"), [("input", 2), ("refused", 1)])
def test_what_a_user_can_act_on_is_one_line(checkout: Path, kind: str, status: int) -> None:
    done = run(checkout, "failing", kind)
    assert (done.returncode, done.stderr) == (status, "mbrl-control bench failing: error: file: field: the reason\n")


def test_a_bug_keeps_its_traceback(checkout: Path) -> None:
    done = run(checkout, "failing", "bug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_outside_of_a_checkout_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="from a checkout"):
        known_benches(tmp_path)


def test_ending_the_verb_ends_the_bench(checkout: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command(checkout, "waiting"), stdout=subprocess.PIPE, text=True, env=env) as verb:
        assert verb.stdout is not None
        assert verb.stdout.readline() == "ready\n"
        verb.send_signal(signal.SIGTERM)
        # Standard output ends when the bench, which holds it too, has ended.
        assert verb.communicate(timeout=HUNG_S)[0] == ""
    assert verb.returncode != 0


def test_the_benches_of_this_checkout_have_a_line_each() -> None:
    known = known_benches(ROOT)
    assert {"transfer", "lockstep_run"} <= set(known)
    assert all(known.values()), listing(known)
