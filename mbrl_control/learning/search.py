"""The best of several fits, of other seeds or other settings, chosen on rows that neither they nor the gate have.

A gate that also chose would flatter the chosen one: of many candidates the luckiest on its blocks would win. So the
rows to learn from give up some blocks of time, the same for every candidate, and the likelihood of those decides.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.curves import Curves
from mbrl_control.learning.errors import DataError
from mbrl_control.learning.fit_ensemble import FitResult
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.judge import gaussian_nll
from mbrl_control.learning.split_fit import FitTask, fit_split
from mbrl_control.learning.sweep import Grid, combinations
from mbrl_control.replay.blocks import BLOCK_NS, MARGIN_NS, newest_regime
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.transitions import select
from mbrl_control.signals import Transitions

GROUP = 6
"""One block of so many is given up."""
LEAST_BLOCKS = 4

FitAll = Callable[[Sequence[FitTask], Callable[[float], None]], list[FitResult | DataError]]
"""Fits every task, or says why it could not be; tells the share of the members that are done."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A row of the table: one candidate."""

    seed: int
    changed: dict[str, Any]
    """Settings that were swept."""
    validation_nll: float | None = None
    """Nats per row of the newest regime's validation blocks; what decides. None: not finite, or not fitted."""
    holdout_nll: float | None = None
    """As `FitResult.holdout_nll`: of other rows for every seed."""
    epochs: int = 0
    seconds: float = 0.0
    cut_off: bool = False
    failed: str = ""
    """Why it could not be fitted."""
    chosen: bool = False


class Search:
    """A fitter (`learn.Fitter`): fits ``seeds`` ensembles for every combination of ``grid``, and returns the best."""

    def __init__(self, seeds: int, grid: Grid, fit_all: FitAll) -> None:
        self.trials: tuple[Trial, ...] = ()
        """Of the last call; empty where there was nothing to choose from."""
        self._seeds, self._grid, self._fit_all = seeds, grid, fit_all

    def __call__(self, task: FitTask, progress: Callable[[float], None], curves: Curves | None) -> FitResult:
        """DataError for a fit that failed, SweepError, TooLittleData without enough rows to choose by."""
        if curves is not None:
            raise DataError("curves: candidates have no learning curves; leave them out, or fit one ensemble alone")
        candidates = [
            (seed, changed, replace(task, seed=seed, settings=settings, warm_start=_start(task, changed, settings)))
            for changed, settings in combinations(task.settings, self._grid)
            for seed in range(task.seed, task.seed + self._seeds)
        ]
        if len(candidates) == 1:
            return _fitted(self._fit_all([candidates[0][2]], progress)[0])
        train, validation = validation_split(task.transitions)
        weights = None if task.row_weights is None else task.row_weights[train]
        rows = select(task.transitions, train)
        tasks = [replace(each, transitions=rows, row_weights=weights) for _, _, each in candidates]
        fits = self._fit_all(tasks, progress)
        judged_by = select(task.transitions, validation)
        trials = [
            _tried(seed, changed, fit, judged_by) for (seed, changed, _), fit in zip(candidates, fits, strict=True)
        ]
        best = best_of(trials)
        self.trials = tuple(replace(trial, chosen=number == best) for number, trial in enumerate(trials))
        return _fitted(fits[best])


def _start(task: FitTask, changed: dict[str, Any], settings: FitSettings) -> ProbabilisticEnsemble | None:
    """The parent, unless another shape of network is tried than it has: that begins anew."""
    parent = task.warm_start
    if parent is None or not {"width", "depth"} & set(changed):
        return parent
    return parent if (parent.shape.width, parent.shape.depth) == (settings.width, settings.depth) else None


def fit_here(tasks: Sequence[FitTask], progress: Callable[[float], None]) -> list[FitResult | DataError]:
    """One after the other, in this process."""
    members = sum(task.settings.trained_members for task in tasks)
    done: list[None] = []

    def after_member() -> None:
        done.append(None)
        progress(len(done) / members)

    found: list[FitResult | DataError] = []
    for task in tasks:
        try:
            found.append(fit_split(task, after_member))
        except DataError as error:
            found.append(error)
    return found


def best_of(trials: Sequence[Trial]) -> int:
    """Index of the lowest NLL; DataError where not one is a number."""
    scores = {number: trial.validation_nll for number, trial in enumerate(trials) if trial.validation_nll is not None}
    if not scores:
        reasons = {trial.failed or "its likelihood on the validation rows is not finite" for trial in trials}
        raise DataError(f"candidates: not one of {len(trials)} could be judged: {'; '.join(sorted(reasons))}")
    return min(scores, key=lambda number: scores[number])


def validation_split(rows: Transitions) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks [N] of the rows to learn from and to choose by; the second has the newest regime's alone.

    Blocks of 2 s as the gate's, of each six the one with the lowest hash of its time (other than the gate's); rows
    beside them belong to neither. TooLittleData with fewer than 4.
    """
    block = rows.stamp_ns // BLOCK_NS
    group = block // GROUP
    chosen = {
        number: min(range(number * GROUP, (number + 1) * GROUP), key=_hash) for number in np.unique(group).tolist()
    }
    given_up = block == np.array([chosen[number] for number in group.tolist()])
    inside = (rows.stamp_ns - block * BLOCK_NS >= MARGIN_NS) & ((block + 1) * BLOCK_NS - rows.stamp_ns > MARGIN_NS)
    validation = given_up & inside & newest_regime(rows)
    blocks = len(np.unique(block[validation]))
    if blocks < LEAST_BLOCKS:
        raise TooLittleData(
            f"logs: {blocks} blocks of the newest regime to choose between fits by, {LEAST_BLOCKS} are needed; log "
            "more motion with the present payload, or fit one ensemble"
        )
    return ~given_up, validation


def write_table(path: Path, trials: Sequence[Trial]) -> None:
    """All candidates, best first, as JSON or, by the file's name, CSV with a column per swept setting."""
    rows = [asdict(trial) for trial in sorted(trials, key=_rank)]
    if path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        return
    flat = [row.pop("changed") | row for row in rows]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(flat[0]) if flat else ["seed"])
        writer.writeheader()
        writer.writerows(flat)


def _tried(seed: int, changed: dict[str, Any], fit: FitResult | DataError, judged_by: Transitions) -> Trial:
    if isinstance(fit, DataError):
        return Trial(seed, changed, failed=str(fit))
    nll = gaussian_nll(fit.ensemble, judged_by)
    score = nll if math.isfinite(nll) else None
    return Trial(seed, changed, score, fit.holdout_nll, fit.epochs, round(fit.seconds, 3), fit.cut_off)


def _fitted(fit: FitResult | DataError) -> FitResult:
    if isinstance(fit, DataError):
        raise fit
    return fit


def _rank(trial: Trial) -> tuple[bool, float]:
    return not trial.chosen, math.inf if trial.validation_nll is None else trial.validation_nll


def _hash(block: int) -> bytes:
    return hashlib.sha256(b"validation" + block.to_bytes(8, "little", signed=True)).digest()
