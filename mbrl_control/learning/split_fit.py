"""An ensemble's fit in parts, a member each, that processes or machines can share out among them.

What a member becomes depends on the task and on its number alone, every one with a generator of its own: in however
many parts, wherever and in whatever order they are done, the same ensemble comes out, to the bit on processors alike.

It is another fit than `fit_ensemble.fit`, which takes all members through one pass: a member stops by its own held-out
score, and the bounds of the variance, which all members have in common, stay where they begin.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.prior import Prior
from mbrl_control.learning.beginning import begin
from mbrl_control.learning.errors import DataError
from mbrl_control.learning.fit_ensemble import FitResult, problem_of
from mbrl_control.learning.fit_rows import check_rows, holdout_rows
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.method import Method
from mbrl_control.learning.train import member_nll, member_scores, train, training_of
from mbrl_control.signals import Array, Transitions

_COMMON_STREAM = 0
"""Of random numbers: the held-out rows, which all members are compared on. Members have those after it."""
_ROUNDING = 1e-4
"""Relative, of what members have in common: processors that are not alike differ in the last digits."""


@dataclass(frozen=True, slots=True)
class FitTask:
    """All that a fit depends on."""

    transitions: Transitions
    prior: Prior
    seed: int
    settings: FitSettings
    row_weights: Array | None = None
    """[N] > 0."""
    warm_start: ProbabilisticEnsemble | None = None


@dataclass(frozen=True, slots=True)
class MemberFit:
    """One member, fitted alone."""

    member: ProbabilisticEnsemble
    score: float
    """Held out, as training has it: the lowest ones stay."""
    nll: float
    """Held out, nats per row."""
    epochs: int
    cut_off: bool


def fit_split(task: FitTask, after_member: Callable[[], object] = lambda: None) -> FitResult:
    """All members here, one after the other; DataError as `fit_ensemble.fit`."""
    started = time.monotonic()
    fits = []
    for number in range(task.settings.trained_members):
        fits.append(fit_member(task, number))
        after_member()
    return merge(task, fits, time.monotonic() - started)


def fit_member(task: FitTask, number: int) -> MemberFit:
    """The member of that ``number``, from 0."""
    settings = require_members(task.settings)
    check_rows(task.transitions, task.row_weights)
    parent = task.warm_start
    if parent is not None:
        parent = parent.select([number % parent.shape.members])
    started = time.monotonic()
    with settings.on_torch():
        generator = _generator(task.seed, _COMMON_STREAM + 1 + number)
        beginning = begin(task.transitions, task.prior, generator, settings, parent)
        for bound in (beginning.ensemble.min_log_variance, beginning.ensemble.max_log_variance):
            bound.requires_grad_(False)
        problem = problem_of(task.transitions, beginning, held_out(task), settings, task.row_weights)
        training = training_of(beginning.ensemble, generator, settings)

        def late() -> bool:
            return time.monotonic() - started > settings.max_seconds

        cut_off = train(training, problem, late, lambda training, now: None, None, None)
        score = float(member_scores(training.ensemble, problem))
        nll = float(member_nll(training.ensemble, problem.held))
    return MemberFit(training.ensemble.eval(), score, nll, training.epoch, cut_off)


def merge(task: FitTask, fits: Sequence[MemberFit], seconds: float) -> FitResult:
    """The best members as one ensemble; ``fits`` in the order of their numbers.

    DataError where they do not have in common what members of one ensemble do.
    """
    best = sorted(range(len(fits)), key=lambda number: fits[number].score)[: task.settings.elites]
    chosen = [fits[number] for number in sorted(best)]
    first = chosen[0].member
    ensemble = ProbabilisticEnsemble(
        replace(first.shape, members=len(chosen)), first.prior, torch.Generator().manual_seed(0)
    )
    states = [fit.member.state_dict() for fit in chosen]
    ensemble.load_state_dict({name: _joined(name, [state[name] for state in states]) for name in states[0]})
    nll = float(np.mean([fit.nll for fit in chosen]))
    epochs, cut_off = max(fit.epochs for fit in fits), any(fit.cut_off for fit in fits)
    return FitResult(ensemble.eval(), held_out(task), nll, epochs, seconds, cut_off)


def held_out(task: FitTask) -> NDArray[np.int64]:
    """Rows by which members are stopped and compared."""
    return holdout_rows(task.transitions, task.settings, _generator(task.seed, _COMMON_STREAM))


def require_members(settings: FitSettings) -> FitSettings:
    """What one of its members is fitted with; DataError where there are none to be fitted apart."""
    if settings.method is not Method.ENSEMBLE or settings.checkpoint is not None:
        raise DataError(
            f"settings: method {settings.method}, checkpoint {settings.checkpoint}: only members of an ensemble are "
            "fitted apart, and without checkpoints; choose method ensemble and drop the checkpoint"
        )
    if settings.elites > settings.trained_members:
        raise DataError(
            f"settings: elites {settings.elites} of trained_members {settings.trained_members}; give no more elites"
        )
    return replace(settings, trained_members=1, elites=1)


def _joined(name: str, values: list[torch.Tensor]) -> torch.Tensor:
    """Weights and biases of each member; of all else that of the first, where the others agree."""
    if name[0] in "wb" and name[1:].isdecimal():
        return torch.cat(values)
    scale = float(values[0].abs().max())
    if any(float((value - values[0]).abs().max()) > _ROUNDING * scale for value in values):
        raise DataError(
            f"members: {name} differs between them by more than rounding: they were not fitted by the same program "
            "from the same rows; fit them on machines alike"
        )
    return values[0]


def _generator(seed: int, stream: int) -> torch.Generator:
    """Streams of one seed do not overlap, nor do those of another (numpy.random.SeedSequence)."""
    state = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
