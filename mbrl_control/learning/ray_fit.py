"""Members of fits as tasks on a Ray cluster (Moritz et al. 2018, arXiv:1712.05889).

Rows are put into the cluster once and every task reads their blocks; what else a fit depends on is put there once for
each candidate. A task fits one member (`split_fit`), so the ensemble is that of a fit without Ray. Objects travel as
Ray serializes them, by pickle: whoever can connect to the cluster can run code on all of it, and on this machine.
"""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any

import torch

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.prior import Prior
from mbrl_control.learning.errors import DataError, ScaleOutError
from mbrl_control.learning.fit_ensemble import FitResult
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.ray_rows import EXTRA, RowBlocks, rows_of, store
from mbrl_control.learning.split_fit import FitTask, MemberFit, fit_member, merge, require_members

LOCAL = "local"
"""Address of a cluster of this machine alone, started for the fit and ended with it."""
RETRIES = 1
"""Of a task whose worker or node died; an error of the task's own is none of these."""
_PATIENCE_S = 1.0
"""Between two looks at what is done: Ctrl-C is heard in between."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What the members of one candidate have in common: a `FitTask` whose rows are in the cluster."""

    blocks: RowBlocks
    prior: Prior
    seed: int
    settings: FitSettings
    warm_start: ProbabilisticEnsemble | None
    programs: tuple[str, ...]
    """What the driver runs, see `programs`."""


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """The `ray` module, connected to a cluster until the end of the block. ScaleOutError with the remedy."""
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise ScaleOutError(f"--ray {address}: Ray is not installed; {EXTRA}") from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is begun here reports to nobody
    own = {"include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **own)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise ScaleOutError(
            f"--ray {address}: no connection ({first}); give the HOST:PORT that `ray start --head` printed, `auto` on "
            f"a machine of the cluster, or `{LOCAL}`; Ray and Python have to be of the same version on both sides"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


class RayFits:
    """Fits tasks (`search.FitAll`), all members of all of them at once, as far as the cluster has processors."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def __call__(self, tasks: Sequence[FitTask], progress: Callable[[float], None]) -> list[FitResult | DataError]:
        """ScaleOutError where a worker died twice, or a node does not run the same program."""
        started = time.monotonic()
        blocks = self._blocks(tasks)
        jobs = [self._submit(task, blocks[id(task.transitions)]) for task in tasks]
        self._wait([reference for job in jobs for reference in job], progress)
        return [self._result(task, job, started) for task, job in zip(tasks, jobs, strict=True)]

    def _blocks(self, tasks: Sequence[FitTask]) -> dict[int, RowBlocks]:
        """By the identity of the rows: candidates share them, and have the same weights then."""
        return {id(task.transitions): store(self._ray, task.transitions, task.row_weights) for task in _distinct(tasks)}

    def _submit(self, task: FitTask, blocks: RowBlocks) -> list[Any]:
        require_members(task.settings)
        work = self._ray.put(_Work(blocks, task.prior, task.seed, task.settings, task.warm_start, programs()))
        fit = remote(self._ray, _fit_member)
        return [fit.remote(work, number) for number in range(task.settings.trained_members)]

    def _wait(self, pending: list[Any], progress: Callable[[float], None]) -> None:
        count = len(pending)
        while pending:
            done, pending = self._ray.wait(pending, timeout=_PATIENCE_S)
            if done:
                progress(1.0 - len(pending) / count)

    def _result(self, task: FitTask, job: list[Any], started: float) -> FitResult | DataError:
        try:
            fits = [result_of(self._ray, reference, f"member {n}") for n, reference in enumerate(job)]
            return merge(task, fits, time.monotonic() - started)
        except DataError as error:
            return error


def remote(ray: Any, function: Callable[..., Any]) -> Any:
    """The function as a task of one processor, done again once where its worker dies."""
    return ray.remote(num_cpus=1, max_retries=RETRIES)(function)


def result_of(ray: Any, reference: Any, what: str) -> Any:
    """What a task returned; DataError as the task raised it, ScaleOutError for all else, with ``what`` it was."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, DataError | ScaleOutError):
            raise type(cause)(str(cause)) from error
        raise ScaleOutError(
            f"{what}: {type(cause).__name__}: {_first_line(cause)}; every node needs the same program and packages"
        ) from error
    except ray.exceptions.RayError as error:
        raise ScaleOutError(
            f"{what}: its worker died {RETRIES + 1} times ({type(error).__name__}: {_first_line(error)}); see the "
            "memory of the nodes and Ray's own logs, or give the cluster fewer tasks at a time"
        ) from error


def programs() -> tuple[str, ...]:
    """What has to be the same on all nodes for results to be."""
    return (
        f"Python {platform.python_version()}",
        f"mbrl_control {version('mbrl_control')}",
        f"torch {torch.__version__}",
    )


def _fit_member(work: _Work, number: int) -> MemberFit:
    """On a worker."""
    if work.programs != programs():
        raise ScaleOutError(
            f"node {platform.node()}: has {', '.join(programs())}; here it is {', '.join(work.programs)}"
        )
    ray: Any = import_module("ray")
    rows, weights = rows_of(ray.get(list(work.blocks.references)))
    return fit_member(FitTask(rows, work.prior, work.seed, work.settings, weights, work.warm_start), number)


def _distinct(tasks: Sequence[FitTask]) -> list[FitTask]:
    return list({id(task.transitions): task for task in tasks}.values())


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")
