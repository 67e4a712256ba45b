"""The contestants of `bench fit`: each a process of its own, an epoch at a time, in an order that is drawn every round.

First the paces: both libraries in every way that they can compute, a few epochs each. Then the runs: each schedule
once, in the fastest way of its library, until its fit would end.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fit_figures import Contest, Epoch, Way, is_over
from benchmarks.peers import CHECKOUT
from mbrl_control.command_interface import CommandInterface
from mbrl_control.learning.fit_settings import FitSettings

_PACE_EPOCHS = 5
_THREADS = (1, 2)
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Problem:
    """The same for all."""

    rows: Path
    """Of `fit_rows.Rows.save`."""
    width: int
    seed: int
    members: int = 7
    depth: int = 4
    """Hidden layers."""
    batch: int = 256
    share: float = 1.0
    """Of the rows to train on."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a run trains."""

    library: str
    rate: float
    """Learning rate that it begins with."""
    epochs: int
    cosine: bool = True
    """The rate falls to zero over the epochs; else it stays."""
    patience: int | None = None
    """Epochs without a better held-out NLL before it ends; None: it does not."""


def schedules(peer_epochs: int) -> dict[str, Schedule]:
    """By name. `ours` is what a fit does when it is told nothing, the same that `retrain` begins.

    `ours_tuned` and its 17 epochs were chosen by trials with seed 0. `mbrl_own` is the peer as its MBPO configurations
    of 7 x 200 x 4 with batches of 256 have it (mbrl-lib 0.2.0, examples/conf/overrides/mbpo_halfcheetah.yaml:
    model_lr 0.001, model_wd 1e-5, no schedule).
    """
    default = FitSettings.deployed(CommandInterface.VELOCITY)
    ours = Schedule("ours", default.learning_rate, default.epochs, patience=default.patience)
    tuned = Schedule("ours", 2e-3, 17)
    return {
        "ours": ours,
        "ours_tuned": tuned,
        "mbrl_own": Schedule("mbrl", 1e-3, peer_epochs, cosine=False),
        "mbrl_as_ours": Schedule("mbrl", ours.rate, ours.epochs),
        "mbrl_as_tuned": Schedule("mbrl", tuned.rate, tuned.epochs),
    }


DEFAULT = Contest("ours", ("mbrl_own", "mbrl_as_ours"))
TUNED = Contest("ours_tuned", ("mbrl_own", "mbrl_as_tuned"))


def paces(peers: Path, problem: Problem, onednn: bool) -> dict[Way, list[Epoch]]:
    """A few epochs of both libraries with one and two threads, and, where ``onednn`` is exact, with that, too."""
    ways = [
        Way(library, threads, flag)
        for library in ("ours", "mbrl")
        for threads in _THREADS
        for flag in ((False, True) if onednn else (False,))
    ]
    commands = {str(way): command(peers, problem, way, Schedule(way.library, 1e-3, _PACE_EPOCHS)) for way in ways}
    taken = in_turns(commands, problem.seed, lambda name, run: len(run) >= _PACE_EPOCHS)
    return {way: taken[str(way)] for way in ways}


def runs(
    peers: Path, problem: Problem, ways: Mapping[str, Way], plans: Mapping[str, Schedule]
) -> dict[str, list[Epoch]]:
    """Each schedule's epochs, ``ways`` by library."""
    commands = {name: command(peers, problem, ways[plan.library], plan) for name, plan in plans.items()}

    def over(name: str, run: Sequence[Epoch]) -> bool:
        plan = plans[name]
        return is_over(run, plan.epochs, plan.patience or plan.epochs)

    return in_turns(commands, problem.seed, over)


def epoch_seconds(problem: Problem, way: Way, share: float, repeats: int = 5) -> float:
    """The least of ``repeats`` epochs of ours with the first ``share`` of the rows."""
    told = command(Path(), replace(problem, share=share), way, Schedule("ours", 1e-3, repeats))
    with started(told) as child:
        return min(one_epoch(child).seconds for _ in range(repeats))


def command(peers: Path, problem: Problem, way: Way, plan: Schedule) -> list[str]:
    """Of the process of one contestant."""
    told = {**asdict(problem), **asdict(plan), **asdict(way), "rows": str(problem.rows)}
    if way.library == "ours":
        return [sys.executable, "-P", "-m", "benchmarks.fit_ours", json.dumps(told)]
    return [str(peers), str(_HERE / "fit_peers.py"), json.dumps(told)]


def in_turns(
    commands: Mapping[str, list[str]], seed: int, over: Callable[[str, Sequence[Epoch]], bool]
) -> dict[str, list[Epoch]]:
    """Every contestant's epochs, each until it is ``over``."""
    order, taken = np.random.default_rng(seed), {name: list[Epoch]() for name in commands}
    with contextlib.ExitStack() as stack:
        children = {name: stack.enter_context(started(told)) for name, told in commands.items()}
        while left := [name for name, run in taken.items() if not over(name, run)]:
            for name in order.permutation(left).tolist():
                taken[name].append(one_epoch(children[name]))
                last = taken[name][-1]
                say(f"{name} epoch {len(taken[name])}: {last.seconds:.2f} s, NLL {last.nll:.3f}")
    return taken


@contextlib.contextmanager
def started(told: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A contestant that has read its rows and waits for its turn."""
    child = subprocess.Popen(told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
    try:
        _line(child)
        yield child
    finally:
        child.kill()
        child.wait()


def one_epoch(child: subprocess.Popen[str]) -> Epoch:
    """RuntimeError when the contestant has ended."""
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()
    return Epoch(**_line(child))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _line(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"{child.args}: ended with status {child.wait()}")
    values: dict[str, Any] = json.loads(line)
    return values
