"""Speaks to the `demo_task` process: one JSON command a line in, JSON events out."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mbrl_control.cadence import ANCHOR_VARIABLE, FACTOR_VARIABLE
from mbrl_control.cli.errors import Refused
from mbrl_control.cli.processes import Graph, GraphFailed
from mbrl_control.cli.spawn import spawn
from mbrl_control.cli.transports import DISCOVERY_VARIABLES
from mbrl_control.graph import NodeStart

Event = dict[str, Any]
WITHOUT_ROS2_RUN = (sys.executable, "-m", "mbrl_nodes.demo_task")
"""The program where there may be no `ros2` command."""
END_S = 40.0
"""To hold the arm, to undo what a command began, and to end: milliseconds, unless the graph does not answer."""


class TaskError(Refused):
    """The task could not do what it was told."""


class TaskClient:
    """The demo's operator, in its own process beside the graph. A context manager."""

    def __init__(self, graph: Graph, arm_file: Path) -> None:
        command = [*WITHOUT_ROS2_RUN, *_node_arguments(graph.starts, arm_file)]
        self._graph = graph
        self._log = graph.folder / "demo_task.log"
        with self._log.open("w") as log:
            self._process = spawn(command, graph.environment, log, stdin=subprocess.PIPE)
        self._events = self._read()
        ready = next(self._events, {})
        if ready.get("state") != "active":
            raise GraphFailed(f"demo_task could not start; see {self._log}")

    def __enter__(self) -> TaskClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already, with something unread
            self._process.stdin.close()
        if kind is not None:
            # In the middle of a command the end of its input does not end it; by a signal it holds the arm.
            self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self._process.kill()

    def run(self, on_event: Callable[[Event], None] = lambda _: None, /, **command: Any) -> None:
        """Send one command and wait for its end; raise TaskError with the reason when it failed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise TaskError(f"demo_task ended before {command['do']}; see {self._log}") from error
        for event in self._events:
            self._graph.check()
            if event["event"] == "done":
                return
            if event["event"] == "closed":
                raise TaskError(f"{command['do']}: {event['reason']}")
            if event["event"] == "error":
                raise TaskError(f"{command['do']}: {event['reason']}")
            on_event(event)
        raise TaskError(f"demo_task ended during {command['do']}; see {self._log}")

    def _read(self) -> Iterator[Event]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                yield json.loads(line)


def operator_command(
    starts: Sequence[NodeStart], environment: Mapping[str, str], arm_file: Path, program: Sequence[str]
) -> list[str]:
    """What to run in another terminal to operate the graph by hand: the same process, fed from the keyboard."""
    names = (ANCHOR_VARIABLE, FACTOR_VARIABLE, "ROS_DOMAIN_ID", *DISCOVERY_VARIABLES)
    settings = [f"{name}={environment[name]}" for name in names if name in environment]
    return ["env", *settings, *program, *_node_arguments(starts, arm_file)]


def _node_arguments(starts: Sequence[NodeStart], arm_file: Path) -> list[str]:
    guard = next(start for start in starts if start.name == "guard")
    command = guard.parameters["command_interface"]
    parameters = ("-p", f"arm:={arm_file}", "-p", f"command_interface:={command}")
    return ["--ros-args", "-r", f"__ns:=/{guard.namespace}", *parameters]
