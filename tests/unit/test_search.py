"""Seeds and sweeps: what is tried, what decides, and rows that neither the fits nor the gate see."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_control.cli.errors import UserError
from mbrl_control.cli.retrain_search import SearchOptions
from mbrl_control.learning.errors import DataError, SweepError
from mbrl_control.learning.fit_ensemble import FitResult
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.judge import gaussian_nll
from mbrl_control.learning.method import Method
from mbrl_control.learning.search import Search, Trial, best_of, fit_here, validation_split, write_table
from mbrl_control.learning.split_fit import FitTask, fit_split
from mbrl_control.learning.sweep import combinations, read_sweep
from mbrl_control.replay.blocks import BLOCK_NS, MARGIN_NS, split_blocks
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.transitions import select
from tests.oracle.servo_rows import DT_NS, PRIOR, servo_rows
from tests.patience import UNCUT_S

SETTINGS = FitSettings(trained_members=2, elites=2, width=8, epochs=3, batch_size=64, max_seconds=UNCUT_S)
ROWS = servo_rows(3000, 0, 0.02)
TASK = FitTask(ROWS, PRIOR, 5, SETTINGS, np.linspace(0.5, 1.5, 3000))


def nothing(_share: float) -> None:
    pass


def test_the_best_of_the_candidates_is_chosen_by_rows_they_have_not_seen() -> None:
    seen: list[FitTask] = []

    def fit_all(tasks: Sequence[FitTask], progress: Callable[[float], None]) -> list[FitResult | DataError]:
        seen.extend(tasks)
        return fit_here(tasks, progress)

    shares: list[float] = []
    search = Search(2, {"epochs": (1, 8)}, fit_all)
    chosen = search(TASK, shares.append, None)
    train, validation = validation_split(ROWS)
    assert [(task.seed, task.settings.epochs) for task in seen] == [(5, 1), (6, 1), (5, 8), (6, 8)]
    for task in seen:
        np.testing.assert_array_equal(task.transitions.stamp_ns, ROWS.stamp_ns[train])
        assert task.row_weights is not None
        assert TASK.row_weights is not None
        np.testing.assert_array_equal(task.row_weights, TASK.row_weights[train])
    rows = select(ROWS, validation)
    scores = [trial.validation_nll for trial in search.trials]
    assert scores == [gaussian_nll(fit_split(task).ensemble, rows) for task in seen]
    (best,) = (number for number, trial in enumerate(search.trials) if trial.chosen)
    assert scores[best] == min(score for score in scores if score is not None)
    assert torch.equal(chosen.ensemble.w0, fit_split(seen[best]).ensemble.w0)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)


def test_one_candidate_gives_up_no_rows_and_makes_no_table() -> None:
    search = Search(1, {}, fit_here)
    alone = search(TASK, nothing, None)
    assert torch.equal(alone.ensemble.w0, fit_split(TASK).ensemble.w0)
    assert search.trials == ()


def test_a_candidate_that_fails_is_a_row_of_the_table_and_all_failing_is_an_error() -> None:
    def fit_all(tasks: Sequence[FitTask], progress: Callable[[float], None]) -> list[FitResult | DataError]:
        return [DataError("fit: never finite"), *fit_here(tasks[1:], progress)]

    search = Search(2, {}, fit_all)
    search(TASK, nothing, None)
    assert [(trial.chosen, trial.failed) for trial in search.trials] == [(False, "fit: never finite"), (True, "")]
    with pytest.raises(DataError, match=r"not one of 2 .* fit: never finite"):
        Search(2, {}, lambda tasks, progress: [DataError("fit: never finite")] * 2)(TASK, nothing, None)


@given(st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_a_score_that_is_none_never_wins(scores: list[float | None]) -> None:
    trials = [Trial(0, {}, score) for score in scores]
    finite = [score for score in scores if score is not None]
    if finite:
        assert trials[best_of(trials)].validation_nll == min(finite)
    else:
        with pytest.raises(DataError, match="not finite"):
            best_of(trials)


@settings(max_examples=20)
@given(st.integers(0, 2**40), st.integers(40, 120), st.integers(0, 30))
def test_rows_to_choose_by_lie_apart_from_those_learned_from(begin_ns: int, blocks: int, older: int) -> None:
    count = blocks * BLOCK_NS // DT_NS
    rows = servo_rows(count, 0)
    session = (np.arange(count) >= older * BLOCK_NS // DT_NS).astype(np.int64)
    rows = replace(rows, stamp_ns=rows.stamp_ns + begin_ns, session=session)
    try:
        train, validation = validation_split(rows)
    except TooLittleData:
        assert blocks - older < 8 * 4  # of each six blocks one, the first and the last six may not be whole
        return
    chosen = rows.stamp_ns[validation]
    assert not np.isin(rows.stamp_ns[train] // BLOCK_NS, chosen // BLOCK_NS).any()
    assert (chosen % BLOCK_NS).min() >= MARGIN_NS
    assert (chosen % BLOCK_NS).max() < BLOCK_NS - MARGIN_NS
    assert rows.session[validation].min() == rows.session.max()
    assert 0.6 * count < train.sum() < count
    # What was logged later does not change what was chosen.
    earlier = select(rows, np.arange(count) < count - BLOCK_NS // DT_NS)
    if earlier.session.max() == rows.session.max():
        try:
            _, before = validation_split(earlier)
        except TooLittleData:
            return
        np.testing.assert_array_equal(earlier.stamp_ns[before], chosen[chosen <= earlier.stamp_ns[-1]])


def test_they_are_no_rows_of_the_gate() -> None:
    rows = servo_rows(9000, 0)
    split = split_blocks(rows, DT_NS)
    left = select(rows, split.train)
    _, validation = validation_split(left)
    assert not np.isin(left.stamp_ns[validation], rows.stamp_ns[split.held]).any()
    assert validation.any()


def test_another_shape_of_network_begins_anew_and_the_same_goes_on() -> None:
    parent = fit_split(TASK).ensemble
    seen: list[FitTask] = []

    def fit_all(tasks: Sequence[FitTask], progress: Callable[[float], None]) -> list[FitResult | DataError]:
        seen.extend(tasks)
        return fit_here(tasks, progress)

    Search(1, {"width": (8, 16)}, fit_all)(replace(TASK, warm_start=parent), nothing, None)
    assert [task.warm_start is parent for task in seen] == [True, False]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "mapping"),
        ("- 1", "mapping"),
        ("width: [64", "YAML"),
        ("widht: [64]", "widht: cannot be swept; name one of trained_members"),
        ("method: [dropout]", "method: cannot be swept"),
        ("width: []", "width"),
        ("width: [64, 64]", "one twice"),
        ("width: [64.5]", "width: 64.5 is not a whole number from 1 to 1024"),
        ("width: [true]", "width: True is not"),
        ("learning_rate: [2.0]", "learning_rate: 2.0 is not a number from 1e-07 to 1"),
        ("learning_rate: [.nan]", "learning_rate: nan"),
        ("holdout: [some]", "holdout: 'some'"),
        ("width: [.inf]", "width: inf"),
        ("width: {a: 1}", "width"),
        ("epochs: " + str(list(range(1, 60))) + "\nwidth: " + str(list(range(1, 60))), "3481 combinations"),
    ],
)
def test_a_sweep_that_cannot_be_is_named_with_file_field_and_remedy(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(SweepError) as refused:
        read_sweep(path)
    assert str(path) in str(refused.value)
    assert told in str(refused.value)


def test_a_sweep_is_every_combination_and_no_more_elites_than_members(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("width: [64, 128]\nlearning_rate: [1e-3, 2.0e-3]\nepochs: 7\n")
    found = combinations(SETTINGS, read_sweep(path))
    assert [(one.width, one.learning_rate, one.epochs) for _, one in found] == [
        (64, 1e-3, 7), (64, 2e-3, 7), (128, 1e-3, 7), (128, 2e-3, 7)
    ]  # fmt: skip
    assert combinations(SETTINGS, {}) == [({}, SETTINGS)]
    with pytest.raises(SweepError, match="elites 2 of trained_members 1"):
        combinations(SETTINGS, {"trained_members": (1, 2)})


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_the_table_has_every_candidate_the_best_first(tmp_path: Path, suffix: str) -> None:
    trials = [
        Trial(0, {"width": 64}, -1.0, 2.0, 9, 1.5),
        Trial(0, {"width": 8}, failed="why"),
        Trial(0, {"width": 128}, -3.0, 2.0, 9, 1.5, chosen=True),
    ]
    path = tmp_path / f"tried{suffix}"
    write_table(path, trials)
    if suffix == ".json":
        rows = json.loads(path.read_text())
        told = [(row["changed"]["width"], row["validation_nll"]) for row in rows]
        assert told == [
            (128, -3.0),
            (64, -1.0),
            (8, None),
        ]
        return
    with path.open(newline="") as file:
        flat = list(csv.DictReader(file))
    assert [(row["width"], row["validation_nll"], row["failed"]) for row in flat] == [
        ("128", "-3.0", ""), ("64", "-1.0", ""), ("8", "", "why")
    ]  # fmt: skip


def test_options_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--checkpoints"):
        SearchOptions(seeds=2).check(tmp_path, None)
    with pytest.raises(UserError, match="--tensorboard"):
        SearchOptions(ray="local").check(None, tmp_path)
    with pytest.raises(UserError, match="--method laplace: is one network"):
        SearchOptions(seeds=2).check(None, None, Method.LAPLACE)
    with pytest.raises(UserError, match=r"--table .*\.txt"):
        SearchOptions(seeds=2, table=tmp_path / "a.txt").check(None, None)
    with pytest.raises(UserError, match="--table"):
        SearchOptions(ray="local", table=tmp_path / "a.csv").check(None, None)
    SearchOptions(seeds=2, table=tmp_path / "a.csv").check(None, None)
    SearchOptions().check(tmp_path, tmp_path)
