"""`mbrl-control learner` as a child of `bench retrain`: the service until its first retraining ends, and `--once`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbrl_control.cli.processes import GraphFailed
from mbrl_control.cli.spawn import spawn

PATIENCE_S = 300.0
"""For a retraining that has not ended with the motion."""
DECISIVE = ("passed", "refused", "failed", "ended")
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Learned:
    """One retraining, by the learner's events."""

    begun_s: float
    passed_s: float
    """Wall time, s, of these events."""
    cause: str
    result: dict[str, Any]

    @property
    def wall_s(self) -> float:
        """Of the retraining's process."""
        return self.passed_s - self.begun_s


class LearnerChild:
    """The service, from entering on; it is told to end when its first retraining has ended. A context manager."""

    def __init__(self, log: Path, options: Sequence[str]) -> None:
        self._command = learner_command(log, options)
        self._events: list[Event] = []
        self._decided = threading.Event()

    def __enter__(self) -> LearnerChild:
        self._child = spawn(self._command, os.environ, None)
        threading.Thread(target=self._follow, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._child)

    def learned(self) -> Learned:
        """What it made; waits for the end of the retraining. GraphFailed where it made no model."""
        if not self._decided.wait(PATIENCE_S):
            raise GraphFailed(f"the learner has come to no end: {json.dumps(self._events[-1:])}")
        return learned_of(self._events)

    def _follow(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._events.append(json.loads(line))
            if self._events[-1]["event"] in DECISIVE and not self._decided.is_set():
                self._decided.set()
                self._child.send_signal(signal.SIGINT)  # else it would go on watching
        self._decided.set()


def learn_once(log: Path, options: Sequence[str]) -> Learned:
    """One look, and the retraining that is due."""
    child = spawn([*learner_command(log, options), "--once"], os.environ, None)
    try:
        output, _ = child.communicate()
    except BaseException:
        _end(child)
        raise
    return learned_of(map(json.loads, output.splitlines()))


def learner_command(log: Path, options: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "mbrl_control.cli.main", "learner", "--logs", str(log), *options]


def learned_of(events: Iterable[Event]) -> Learned:
    """GraphFailed where no model was made, for the reason on standard error."""
    found = {event["event"]: event for event in events}
    if "passed" not in found:
        raise GraphFailed(f"the learner made no model: {json.dumps(list(found.values())[-2:])}")
    begun, passed = found["begun"], found["passed"]
    return Learned(begun["time"], passed["time"], begun["cause"], passed["result"])


def _end(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
    child.wait()
