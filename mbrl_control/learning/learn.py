"""Streams -> delay -> rows -> held-out blocks -> fit from the parent -> scores: all of a retraining but its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.learning.curves import Curves
from mbrl_control.learning.fit_ensemble import FitResult, fit
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.judge import GATE_STEPS, Judged, Reference, judge, score_of
from mbrl_control.learning.losses import LOSS_STEPS, losses_of
from mbrl_control.learning.open_loop import whole_windows
from mbrl_control.learning.promise import logarithm, window_innovation
from mbrl_control.learning.regimes import QUANTITIES, newest_stretches, regime_weights, thin_older_regimes
from mbrl_control.learning.score import k_step_errors
from mbrl_control.learning.split_fit import FitTask
from mbrl_control.replay.blocks import require_blocks, require_newest, split_blocks, thin_to_model_step
from mbrl_control.replay.carried_weight import on_command_side
from mbrl_control.replay.delay import estimate_delay
from mbrl_control.replay.effort_delay import estimate_effort_delay
from mbrl_control.replay.regimes import NewestRegime, as_declared, with_regimes
from mbrl_control.replay.streams import Streams
from mbrl_control.replay.transitions import Grid, history_of, select, transitions_from_streams
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, CommandInterface, Transitions

Progress = Callable[[str, float], None]
Fitter = Callable[[FitTask, Callable[[float], None], Curves | None], FitResult]
"""Fits the rows of a task; tells its share done, and, where it has them, its learning curves."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The model to start from and to beat."""

    model_id: str
    ensemble: ProbabilisticEnsemble
    delay_s: float


@dataclass(frozen=True, slots=True)
class Learned:
    """A candidate before the gate."""

    fitted: FitResult
    delay_s: float
    rows: int
    """Trained on."""
    blocks: int
    """Held out, of the newest regime."""
    regime: NewestRegime
    judged: Judged


def learn(
    streams: list[Streams],
    arm: Arm,
    seed: int,
    parent: Parent | None,
    settings: FitSettings,
    dt_ns: int = 20_000_000,
    progress: Progress = lambda stage, share: None,
    curves: Curves | None = None,
    fitter: Fitter | None = None,
) -> Learned:
    """Everything between a log and the gate: delay, rows, held-out blocks, fit from the ``parent``, scores.

    ``fitter``: None: one ensemble, all members in one pass; else see `search`.

    Raises TooLittleData or DataError.
    """
    delay_s = _delay_s(streams, arm)
    grid = Grid(delay_s, dt_ns, history_of(arm))
    regime = _newest(streams, parent, grid, arm)
    rows = with_regimes(_rows(streams, grid, arm), regime)
    require_newest(rows, regime, streams[-1].payload_kg)
    split = split_blocks(rows, grid.stride_ns)
    blocks = require_blocks(rows, split.held)
    newest, older = _held(rows, grid)
    train = select(rows, split.train)
    del rows, split  # or all of them would lie beside what the fit needs until its end
    train = thin_older_regimes(train)
    warm_start = None if parent is None else parent.ensemble
    progress("fitting", 0.0)
    task = FitTask(train, prior_of(arm, dt_ns * 1e-9), seed, settings, regime_weights(train), warm_start)
    fitted = (fitter or _fit_at_once)(task, lambda share: progress("fitting", share), curves)
    trained_on = len(train)
    del task, train

    progress("judging", 0.0)
    reference = None if parent is None else _reference(parent, streams, regime, grid, arm)
    judged = judge(fitted.ensemble, newest, older, reference)
    return Learned(fitted, delay_s, trained_on, blocks, regime, judged)


def _fit_at_once(task: FitTask, progress: Callable[[float], None], curves: Curves | None) -> FitResult:
    return fit(
        task.transitions,
        task.prior,
        torch.Generator().manual_seed(task.seed),
        task.settings,
        task.row_weights,
        task.warm_start,
        lambda epoch, nll: progress(epoch / task.settings.epochs),
        curves,
    )


def _delay_s(streams: list[Streams], arm: Arm) -> float:
    if arm.interface is CommandInterface.EFFORT:
        return estimate_effort_delay(streams, RigidBody(arm)).delay_s
    return estimate_delay(streams).delay_s


def _newest(streams: Sequence[Streams], parent: Parent | None, grid: Grid, arm: Arm) -> NewestRegime:
    """Of the stretches of the logs; without a parent as they were declared."""
    payloads_kg = [mass for each in streams for mass in each.payloads_kg]
    declared = as_declared(payloads_kg)
    if parent is None or len(declared.stretches) == 1:
        return declared
    own = _grid_of(parent, grid)
    rows = _rows(streams, own, arm)
    held = split_blocks(rows, own.stride_ns).held

    def scores(stretch: int) -> Array:
        kept = _of_regime(rows, held, stretch, own)
        if not len(whole_windows(kept, np.arange(len(kept)), LOSS_STEPS)):
            return np.empty((0, len(QUANTITIES)))
        # All in one unit, so no scale is needed; what is no number is the gate's to refuse.
        found = logarithm(window_innovation(parent.ensemble, kept, np.ones(3 * arm.joints)))
        return found[np.isfinite(found).all(axis=1)]

    return newest_stretches(payloads_kg, scores)


def _held(rows: Transitions, grid: Grid) -> tuple[Transitions, dict[int, Transitions]]:
    """Held-out rows of the newest regime and of the older ones that can be judged, all one model step apart."""
    held = split_blocks(rows, grid.stride_ns).held
    older = {number: _of_regime(rows, held, number, grid) for number in np.unique(rows.session[held]).tolist()}
    newest = int(rows.session.max())
    usable = {
        number: kept
        for number, kept in older.items()
        if number != newest and len(whole_windows(kept, np.arange(len(kept)), LOSS_STEPS))
    }
    return _of_regime(rows, held, newest, grid), usable


def _of_regime(rows: Transitions, held: NDArray[np.bool_], number: int, grid: Grid) -> Transitions:
    return thin_to_model_step(select(rows, held & (rows.session == number)), grid.stride_ns, grid.dt_ns)


def _rows(streams: Sequence[Streams], grid: Grid, arm: Arm) -> Transitions:
    return on_command_side(transitions_from_streams(streams, grid), arm)


def _grid_of(parent: Parent, grid: Grid) -> Grid:
    """With ITS delay: a parent is judged as it runs."""
    return Grid(parent.delay_s, grid.dt_ns, grid.history, grid.stride_ns)


def _reference(parent: Parent, streams: Sequence[Streams], regime: NewestRegime, grid: Grid, arm: Arm) -> Reference:
    own = _grid_of(parent, grid)
    newest, older = _held(with_regimes(_rows(streams, own, arm), regime), own)
    score = score_of(k_step_errors(parent.ensemble, newest, np.arange(len(newest)), GATE_STEPS))
    others = {number: losses_of(parent.ensemble, rows) for number, rows in older.items()}
    return Reference(parent.model_id, score, losses_of(parent.ensemble, newest), others)
