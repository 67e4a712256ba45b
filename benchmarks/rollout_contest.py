"""Contestants of `bench rollout` as processes that take turns, and busy processes beside them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from mbrl_control.signals import Array

PROCESSORS = 2
"""That all contestants share: with more, a figure would count processors."""
_HERE = Path(__file__).parent
_ALLOWED = 1e-4
"""Of the largest cost: what float32 loses over the horizon."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One measured evaluation."""

    network: str
    condition: str
    contestant: str
    round: int
    ms: float
    cpu_ms: float


def contestants(peers: Path, problem: Path) -> dict[str, list[str]]:
    """Name -> command; ``/1`` and the like are threads."""
    ours = [sys.executable, "-P", "-m", "benchmarks.rollout_ours"]
    theirs = [str(peers), str(_HERE / "rollout_peers.py")]
    named = {f"ours {kind}": [*ours, kind, str(problem)] for kind in ("chosen", "one_lane")}
    named |= {f"mbrl/{threads}": [*theirs, "mbrl", str(threads), str(problem)] for threads in (1, 2)}
    kinds = ("mppi", "mppi_wide")
    named |= {f"{kind}/{threads}": [*theirs, kind, str(threads), str(problem)] for kind in kinds for threads in (1, 2)}
    named["mbrl default"] = [*theirs, "mbrl_default", "0", str(problem)]
    named["mppi default"] = [*theirs, "mppi", "0", str(problem)]
    return named | {"roof": [*ours, "roof", str(problem)]}


def chosen_quiet(problem: Path) -> dict[str, list[str]]:
    """Ours as `ours chosen` is, to be started before anything is busy: a planner measures once, maybe on a quiet
    machine, and keeps that layout."""
    return {"ours chosen_quiet": [sys.executable, "-P", "-m", "benchmarks.rollout_ours", "chosen", str(problem)]}


class WrongAnswer(RuntimeError):
    """A contestant computes something else; its times would prove nothing."""


class Contest:
    """The processes, from their first answers to their end."""

    def __init__(
        self, commands: dict[str, list[str]], truth: Array, busy: int, early: dict[str, list[str]] | None = None
    ) -> None:
        """Beside ``busy`` busy processes, which begin after the ``early`` contestants have, and before all others."""
        self._commands, self._early, self._truth, self._busy = commands, early or {}, truth, busy
        self._open = contextlib.ExitStack()
        self.layouts: dict[str, str] = {}
        """By contestant, that it measured and chose."""
        self.roof = ""
        """What the roof was measured with."""

    def __enter__(self) -> Contest:
        with self._open:
            self._children = {name: self._started(name, command) for name, command in self._early.items()}
            for _ in range(self._busy):
                self._open.enter_context(
                    _ended(subprocess.Popen([sys.executable, "-c", "while True: pass"], text=True))
                )
            self._children |= {name: self._started(name, command) for name, command in self._commands.items()}
            self._kept = self._open.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()

    def measure(self, network: str, condition: str, rounds: int, count: int) -> list[Evaluation]:
        """``count`` evaluations of each contestant in each round, in an order that is drawn anew."""
        times, order = [], np.random.default_rng(0)
        for number in range(rounds):
            for name in order.permutation(list(self._children)):
                # The first is not counted: threads of the turn before may still spin, caches are cold.
                done = _ask(self._children[name], {"run": count + 1})
                pairs = list(zip(done["ms"], done["cpu_ms"], strict=True))[1:]
                times += [Evaluation(network, condition, str(name), number, *pair) for pair in pairs]
        return times

    def _started(self, name: str, command: list[str]) -> subprocess.Popen[str]:
        """One at a time: what one of them measures at start-up is not disturbed by the next."""
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_HERE.parent)
        self._open.enter_context(_ended(child))
        said = _line(child)
        answer = np.array(said["answer"])
        if name.startswith("ours") or "/" in name:
            self._check(name, answer)
        if layout := said.get("layout"):
            self.layouts[name] = str(layout)
        self.roof = self.roof or str(said.get("roof", ""))
        return child

    def _check(self, name: str, answer: Array) -> None:
        if answer.shape != self._truth.shape:
            raise WrongAnswer(f"{name}: {answer.shape} costs, expected {self._truth.shape}")
        off = float(np.abs(answer - self._truth).max() / np.abs(self._truth).max())
        if not off <= _ALLOWED:
            raise WrongAnswer(f"{name}: costs are off by {off:.1e} of the largest, allowed {_ALLOWED:.0e}")


def _ask(child: subprocess.Popen[str], question: dict[str, int]) -> dict[str, list[float]]:
    assert child.stdin is not None
    child.stdin.write(json.dumps(question) + "\n")
    child.stdin.flush()
    return _line(child)


def _line(child: subprocess.Popen[str]) -> dict[str, list[float]]:
    output: IO[str] | None = child.stdout
    assert output is not None
    line = output.readline()
    if not line:
        raise RuntimeError(f"{child.args}: ended with status {child.wait()}")
    values: dict[str, list[float]] = json.loads(line)
    return values


@contextlib.contextmanager
def _ended(child: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        child.kill()
        child.wait()
