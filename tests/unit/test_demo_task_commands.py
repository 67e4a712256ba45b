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
from mbrl_nodes.command_line import CommandError, number, points, read_command, text, whole
from mbrl_nodes.demo_task import ENDED, IDLE_END
from tests.patience import HUNG_S

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
        hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run under nohup
        process = spawn(command, graph_environment(tmp_path, free_domain()), log, stdin=subprocess.PIPE)
        signal.signal(signal.SIGHUP, hangup)
        yield process
        process.kill()
        process.wait()


def test_bad_lines_are_answered_one_by_one_and_the_end_of_input_is_told(terminal: Any, tmp_path: Path) -> None:
    lines = 'hello\n{"do": "fly"}\n\n{"do": "track", "phase": "x"}\n{"do": "await_model", "model_id": ""}\n'
    output, _ = terminal.communicate(lines, timeout=HUNG_S)
    told = [json.loads(line) for line in output.splitlines()]
    # What waits on standard input already may be answered before the node says that it is there.
    events = [event for event in told if "node" not in event]
    assert len(told) - len(events) == 1
    assert [event["event"] for event in events] == ["error"] * 4 + ["done", "closed"]
    assert events[-1]["reason"] == ENDED
    assert "amplitude" in events[3]["reason"]
    assert terminal.returncode == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_an_open_terminal_waits_and_ends_in_order_with_a_signal(terminal: Any, tmp_path: Path) -> None:
    assert json.loads(terminal.stdout.readline())["state"] == "active"
    terminal.stdin.write("hello\n")
    terminal.stdin.flush()
    assert json.loads(terminal.stdout.readline())["event"] == "error"
    assert terminal.poll() is None
    terminal.send_signal(signal.SIGHUP)
    assert json.loads(terminal.stdout.readline()) == {"event": "closed", "reason": IDLE_END}
    assert terminal.wait(HUNG_S) == 0, (tmp_path / "log").read_text()


def test_hold_is_tried_at_once_and_ends_what_runs_and_what_waits(terminal: Any) -> None:
    """No graph runs: the guard's service is not there, which is told; the commands do not go on."""
    lines = '{"do": "await_model", "model_id": "x"}\n{"do": "payload", "mass": 1}\n{"do": "hold"}\n'
    output, _ = terminal.communicate(lines, timeout=HUNG_S)
    events = [event for event in map(json.loads, output.splitlines()) if "node" not in event]
    assert [(event["event"], event.get("do")) for event in events] == [
        ("error", "await_model"),
        ("error", "payload"),
        ("error", "hold"),
        ("closed", None),
    ]
    assert all("Halted" in event["reason"] for event in events[:2])
    assert "guard/hold: no such service" in events[2]["reason"]


def test_a_signal_in_the_middle_of_a_command_asks_for_a_hold_first(terminal: Any) -> None:
    assert json.loads(terminal.stdout.readline())["state"] == "active"
    # The second line is answered at once: by then the first one has been taken.
    terminal.stdin.write('{"do": "await_model", "model_id": "x"}\nhello\n')
    terminal.stdin.flush()
    assert "no JSON" in json.loads(terminal.stdout.readline())["reason"]
    terminal.send_signal(signal.SIGINT)
    events = [json.loads(line) for line in terminal.stdout]
    assert sorted(event["event"] for event in events) == ["closed", "error"]
    (closed,) = (event for event in events if event["event"] == "closed")
    assert "could not be told to hold" in closed["reason"]
    assert "guard/hold" in closed["reason"]
    assert terminal.wait(HUNG_S) == 0


@pytest.mark.parametrize("value", ["60", True, None, float("nan"), float("inf"), -1.0, 0.0, 0, [1.0]])
def test_what_is_no_number_is_refused_by_name(value: Any) -> None:
    with pytest.raises(CommandError, match=r"seconds: .*above 0, below 1e\+06, s"):
        number("seconds", value, "s")


def test_whole_numbers_become_floats_and_zero_is_allowed_where_it_means_something() -> None:
    assert type(number("mass", 2, "kg")) is float
    assert number("mass", 0, "kg", zero=True) == 0.0
    assert whole("laps", 3) == 3
    assert points("targets", [[0, 0, 1]]).tolist() == [[0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    "value", ["abc", [[0.1, 0.2]], [0.1, 0.2, 0.3], [], [[1.0, 2.0, float("nan")]], 7, [["a", 0, 0]]]
)
def test_targets_that_are_no_points_are_refused(value: Any) -> None:
    with pytest.raises(CommandError, match=r"targets: .*\[x, y, z\]"):
        points("targets", value)


@pytest.mark.parametrize(("check", "value"), [(whole, 1.5), (whole, 0), (whole, True), (text, 5), (text, None)])
def test_what_has_another_kind_is_refused(check: Any, value: Any) -> None:
    with pytest.raises(CommandError, match=r"field: .*: give a"):
        check("field", value)
