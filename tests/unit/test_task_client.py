"""The demo's operator process: told to hold where its verb is interrupted, and missed by name where it is gone."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mbrl_control.cli import task_client
from mbrl_control.cli.task_client import TaskClient, TaskError

BEGIN = "import signal, sys, time\n"
READY = 'print(\'{"state": "active"}\', flush=True)'
END = "open(sys.argv[-1], 'w').write"
BUSY = f"{BEGIN}try:\n  {READY}; time.sleep(3600)\nexcept KeyboardInterrupt:\n  {END}('held')"
PATIENT = f"{BEGIN}{READY}; sys.stdin.read(); {END}('ended')"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def started(script: str) -> TaskClient:
        monkeypatch.setattr(task_client, "WITHOUT_ROS2_RUN", (sys.executable, "-c", script))
        # What is last on the command line is the file that the stand-in writes its end into.
        monkeypatch.setattr(task_client, "_node_arguments", lambda *_: [str(tmp_path / "end")])
        graph: Any = SimpleNamespace(starts=[], folder=tmp_path, environment=os.environ, check=lambda: None)
        return TaskClient(graph, tmp_path / "arm.yaml")

    return started


def test_a_task_in_the_middle_of_a_command_is_told_when_its_verb_is_interrupted(client: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), client(BUSY):
        raise KeyboardInterrupt
    assert (tmp_path / "end").read_text() == "held"


def test_a_task_ends_with_its_input_where_nothing_went_wrong(client: Any, tmp_path: Path) -> None:
    with client(PATIENT):
        pass
    assert (tmp_path / "end").read_text() == "ended"


def test_a_task_that_has_ended_between_two_commands_is_an_error_with_its_log(client: Any) -> None:
    with client(BEGIN + READY) as task:
        task._process.wait()
        with pytest.raises(TaskError, match=r"demo_task ended before hold; see .*demo_task\.log"):
            task.run(do="hold")
