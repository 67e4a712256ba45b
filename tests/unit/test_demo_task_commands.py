"""The operator's terminal: a line that is no command is answered, and the next one is done. No graph runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.processes import free_domain, graph_environment
from mbrl_control.cli.spawn import spawn
from mbrl_nodes.demo_task import CLOSED, CommandError, read_command

NAMES = ("reach", "hold")
NO_COMMANDS: dict[bytes, str] = {
    b"hello": "'hello' is no JSON object; write .*reach, hold",
    b"": "is no JSON object",
    b'["hold"]': "is no JSON object",
    b'"hold"': "is no JSON object",
    b"\xff\xfe{": "is no JSON object",
    b"[" * 100_000: "is no JSON object",
    b"{}": "do: None: no such command; write .*reach, hold",
    b'{"do": "fly"}': "do: 'fly': no such command",
    b'{"do": ["hold"]}': r"do: \['hold'\]: no such command",
}


@pytest.mark.parametrize("line", NO_COMMANDS, ids=lambda line: repr(line[:20]))
def test_a_line_that_is_no_command_is_refused_with_the_commands(line: bytes) -> None:
    with pytest.raises(CommandError, match=NO_COMMANDS[line]) as caught:
        read_command(line, NAMES)
    assert len(str(caught.value)) < 200


def test_a_command_is_its_name_and_its_arguments() -> None:
    assert read_command(b'{"do": "reach", "window": 3.0}\n', NAMES) == ("reach", {"window": 3.0})


@pytest.fixture
def terminal(tmp_path: Path) -> Any:
    command = [sys.executable, "-m", "mbrl_nodes.demo_task", "--ros-args", "-p", f"arm:={arm_file('planar')}"]
    with (tmp_path / "log").open("w") as log:
        process = spawn(command, graph_environment(tmp_path, free_domain()), log, stdin=subprocess.PIPE)
        yield process
        process.kill()
        process.wait()


def test_bad_lines_are_answered_one_by_one_and_the_end_of_input_is_told(terminal: Any, tmp_path: Path) -> None:
    lines = 'hello\n{"do": "fly"}\n\n{"do": "track", "phase": "x"}\n{"do": "await_model", "model_id": ""}\n'
    output, _ = terminal.communicate(lines, timeout=40.0)
    told = [json.loads(line) for line in output.splitlines()]
    # What waits on standard input already may be answered before the node says that it is there.
    events = [event for event in told if "node" not in event]
    assert len(told) - len(events) == 1
    assert [event["event"] for event in events] == ["error"] * 4 + ["done", "closed"]
    assert events[-1]["reason"] == CLOSED
    assert "amplitude" in events[3]["reason"]
    assert terminal.returncode == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_an_open_terminal_waits_and_ends_in_order_with_a_signal(terminal: Any, tmp_path: Path) -> None:
    assert json.loads(terminal.stdout.readline())["state"] == "active"
    terminal.stdin.write("hello\n")
    terminal.stdin.flush()
    assert json.loads(terminal.stdout.readline())["event"] == "error"
    assert terminal.poll() is None
    terminal.send_signal(signal.SIGINT)
    assert terminal.wait(20.0) == 0, (tmp_path / "log").read_text()
