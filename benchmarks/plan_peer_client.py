"""A peer's optimizer in our planner's place: same belief, same goal, same limits, same model."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import peers_python
from mbrl_control.cadence import Clock
from mbrl_control.planning.limits import project
from mbrl_control.planning.methods.protocol import Method
from mbrl_control.planning.optimize import (
    AllScoresInvalid,
    Begin,
    Longest,
    Proposer,
    Result,
    Settings,
    optimize,
    score,
)
from mbrl_control.planning.problem import Problem

_SCRIPT = Path(__file__).with_name("plan_peers.py")
_ALIKE = 1e-3
"""Relative difference of what a plan costs here and there: single precision over a horizon."""


class Ours:
    """Our own optimizer in the same place, timed alone as a peer's is."""

    def __init__(self) -> None:
        self.cpu_ms: list[float] = []
        """Of every cycle."""

    def begin(self, seed: int) -> None:
        """An episode; what it draws is the planner's."""
        self.cpu_ms = []

    def optimize(self, *cycle: Any) -> Result | None:
        """See `planning.optimize.optimize`."""
        began = time.process_time()
        result = optimize(*cycle)
        self.cpu_ms.append((time.process_time() - began) * 1e3)
        return result


class Peers:
    """One child process of each kind, for one setting after another: what it imports takes seconds. A context
    manager."""

    def __init__(self) -> None:
        self._started: dict[str, Peer] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def of(self, kind: str, settings: dict[str, Any]) -> Peer:
        """For episodes with these settings; nothing is left of other ones."""
        if kind not in self._started:
            self._started[kind] = self._stack.enter_context(Peer(peers_python(), kind))
        self._started[kind].set(settings)
        return self._started[kind]


class Peer:
    """A child process; `optimize` is what `planning.optimize.optimize` is. A context manager."""

    def __init__(self, python: Path, kind: str) -> None:
        command: Sequence[str] = [str(python), str(_SCRIPT), kind]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._anew, self._seed = True, 0
        self.cpu_ms: list[float] = []
        """Of every cycle, of the child alone."""

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait()

    def set(self, settings: dict[str, Any]) -> None:
        """Before the episodes of these settings."""
        self._tell({"settings": settings})

    def begin(self, seed: int) -> None:
        """An episode: nothing is left of the one before, so it is the same in whatever order they are played."""
        self._anew, self._seed, self.cpu_ms = True, seed, []

    def optimize(
        self,
        problem: Problem,
        _method: Method,
        _begin: Begin,
        _propose: Proposer,
        settings: Settings,
        clock: Clock,
        _deadline_ns: int,
        _generator: np.random.Generator,
        _expected: Longest | None = None,
    ) -> Result:
        """Whatever time it takes: the clock is virtual, processor time is what is compared."""
        knots, told = self._ask(problem)
        feasible = project(knots[None], problem.first_knot, problem.limits)
        every = np.repeat(feasible, problem.evaluator.batch_size, axis=0)
        _, best = score(every, problem, settings.risk, None)
        if best is None:
            raise AllScoresInvalid("a peer's plan has a non-finite cost")
        if told is not None and abs(told - best.cost) > _ALIKE * max(abs(best.cost), 1.0):
            raise RuntimeError(f"a plan that costs {best.cost:g} here costs {told:g} at the peer: another problem")
        return Result(best, feasible[0], feasible, settings.iterations, clock.now_ns(), Longest())

    def _ask(self, problem: Problem) -> tuple[Any, float | None]:
        """Knots [H, J], and what they cost there where it was asked."""
        limits, objective = problem.limits, problem.objective
        cycle = {
            "anew": self._anew,
            "seed": self._seed,
            "state": problem.state,
            "first_knot": problem.first_knot,
            "goal_position": objective.tool,
            "goal_joint": objective.joint,
            "weights": objective.weights,
            "lower": limits.middle - limits.bound,
            "upper": limits.middle + limits.bound,
            "step": limits.step,
            "spread": problem.spread,
        }
        self._anew = False
        assert self._child.stdout is not None
        self._tell({name: np.asarray(value).tolist() for name, value in cycle.items()})
        answer = self._child.stdout.readline()
        if not answer:
            raise RuntimeError("the peer's process ended; what it said stands above")
        knots, cpu_ms, told = json.loads(answer)
        self.cpu_ms.append(cpu_ms)
        return np.array(knots), told

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(message).encode() + b"\n")
        self._child.stdin.flush()
