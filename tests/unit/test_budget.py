"""What a run with a time limit does with the tests it has no time for."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.budget import is_over
from tests.patience import HUNG_S

ROOT = Path(__file__).parents[2]


def run_under_limit(folder: Path, until: float, *arguments: str) -> str:
    (folder / "conftest.py").write_text('pytest_plugins = ["tests.budget"]\n')
    (folder / "test_fault.py").write_text("def test_that_fails(): raise SystemError('it ran')\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}", str(folder)]
    environment = {"PYTHONPATH": str(ROOT), "MBRL_TESTS_UNTIL": str(until)}
    done = subprocess.run([*command, *arguments], env=environment, timeout=HUNG_S, capture_output=True, text=True)
    assert done.returncode in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), done.stderr
    return done.stdout


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "loadfile")], ids=["one process", "two workers"])
def test_when_the_time_is_over_expect_tests_named_that_were_not_started(
    workers: tuple[str, ...], tmp_path: Path
) -> None:
    output = run_under_limit(tmp_path, time.time() - 1, *workers)
    assert "it ran" not in output
    assert "not run: 1 tests" in output
    assert "test_fault.py: 1" in output


def test_when_there_is_time_expect_the_tests_run(tmp_path: Path) -> None:
    output = run_under_limit(tmp_path, time.time() + HUNG_S)
    assert "it ran" in output
    assert "not run" not in output


@pytest.mark.parametrize("until", [None, ""])
def test_without_a_limit_expect_no_test_skipped(until: str | None) -> None:
    assert not is_over(until, time.time())
