"""A fit that was interrupted and resumed is the one that was not, to the bit; another fit's state is refused."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mbrl_control.learning.fit_ensemble as fit_module
from mbrl_control.learning.checkpoint import FILE, CheckpointRefused
from mbrl_control.learning.curves import tensorboard_curves
from mbrl_control.learning.fit_ensemble import FitResult, FitSettings, fit
from mbrl_control.learning.fit_settings import Checkpointing, RolloutLoss
from mbrl_control.learning.method import Method
from tests.oracle.servo_rows import PRIOR, servo_rows
from tests.patience import UNCUT_S

EVERY = 3
SETTINGS = FitSettings(trained_members=3, elites=2, width=12, epochs=11, batch_size=64, max_seconds=UNCUT_S)
VARIANTS = {
    "ensemble": SETTINGS,
    "dropout": replace(SETTINGS, method=Method.DROPOUT),
    "laplace": replace(SETTINGS, method=Method.LAPLACE),
    "rollout": replace(SETTINGS, rollout=RolloutLoss(5), epochs=7),
    "stops early": replace(SETTINGS, learning_rate=0.05, patience=2, epochs=60),
}
ROWS = servo_rows(600, 0, 0.02)


class Killed(BaseException):
    """Nobody catches it."""


def fitted(settings: FitSettings, progress: Callable[[int, float], None] | None = None, seed: int = 0) -> FitResult:
    return fit(ROWS, PRIOR, torch.Generator().manual_seed(seed), settings, progress=progress)


def kept_in(folder: Path, settings: FitSettings = SETTINGS) -> FitSettings:
    return replace(settings, checkpoint=Checkpointing(folder, EVERY))


def interrupted(settings: FitSettings, after: int) -> None:
    def kill(epoch: int, _: float) -> None:
        if epoch == after:
            raise Killed

    with pytest.raises(Killed):
        fitted(settings, kill)


def assert_same(one: FitResult, other: FitResult) -> None:
    assert (one.epochs, one.holdout_nll) == (other.epochs, other.holdout_nll)
    for name, value in one.ensemble.state_dict().items():
        assert torch.equal(value, other.ensemble.state_dict()[name]), name


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("after", [1, 3, 5])
def test_resumed_equals_uninterrupted(variant: str, after: int, tmp_path: Path) -> None:
    """Killed before the first checkpoint, at one, and between two."""
    settings = VARIANTS[variant]
    interrupted(kept_in(tmp_path, settings), after)
    assert (tmp_path / FILE).exists() == (after >= EVERY)
    seen: list[int] = []
    resumed = fitted(kept_in(tmp_path, settings), lambda epoch, _: seen.append(epoch))
    assert seen[0] == after // EVERY * EVERY + 1
    assert_same(resumed, fitted(settings))


def test_killed_again_and_again(tmp_path: Path) -> None:
    for after in (4, 5, 7, 10):
        interrupted(kept_in(tmp_path), after)
    assert_same(fitted(kept_in(tmp_path)), fitted(SETTINGS))


def test_a_process_killed_outright_leaves_what_can_be_resumed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from tests.unit.test_fit_checkpoint import fitted, kept_in\n"
        "die = lambda epoch, _: os.kill(os.getpid(), signal.SIGKILL) if epoch == 8 else None\n"
        "fitted(kept_in(Path(sys.argv[1])), die)"
    )
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=False, cwd=root, env={**os.environ, "PYTHONPATH": path}
    )
    assert child.returncode == -signal.SIGKILL
    assert_same(fitted(kept_in(tmp_path)), fitted(SETTINGS))


def test_a_finished_fit_resumed_is_finished(tmp_path: Path) -> None:
    settings = kept_in(tmp_path, replace(SETTINGS, epochs=2 * EVERY))
    first, seen = fitted(settings), list[int]()
    assert_same(fitted(settings, lambda epoch, _: seen.append(epoch)), first)
    assert seen == []


def test_runs_that_are_cut_off_get_further_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has time for two epochs, fewer than lie between two checkpoints."""
    settings, epochs = replace(kept_in(tmp_path), max_seconds=EVERY - 0.5), list[int]()
    whole = fitted(SETTINGS)
    for _ in range(6):
        monkeypatch.setattr(fit_module, "time", SimpleNamespace(monotonic=partial(next, count())))
        cut = fitted(settings)
        epochs.append(cut.epochs)
    assert (epochs, cut.cut_off) == ([2, 4, 6, 8, 10, 11], False)
    assert_same(cut, whole)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (replace(SETTINGS, width=13), r"settings\.width was 12, is 13"),
        (replace(SETTINGS, epochs=12), r"settings\.epochs was 11, is 12"),
        (replace(SETTINGS, rollout=RolloutLoss(6)), r"settings\.rollout was None, is"),
    ],
)
def test_other_settings_are_refused_by_name(settings: FitSettings, reason: str, tmp_path: Path) -> None:
    interrupted(kept_in(tmp_path), 4)
    with pytest.raises(CheckpointRefused, match=reason):
        fitted(kept_in(tmp_path, settings))


def test_other_rows_weights_or_seeds_are_refused_with_the_reason(tmp_path: Path) -> None:
    settings = kept_in(tmp_path)
    interrupted(settings, 4)
    moved = ROWS.next_velocity.copy()
    moved[7, 0] = np.nextafter(moved[7, 0], 1.0)
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(CheckpointRefused, match="the rows or their weights"):
        fit(replace(ROWS, next_velocity=moved), PRIOR, generator, settings)
    with pytest.raises(CheckpointRefused, match="the rows or their weights"):
        fit(ROWS, PRIOR, generator.manual_seed(0), settings, np.full(len(ROWS), 2.0))
    with pytest.raises(CheckpointRefused, match="seed, prior or parent"):
        fitted(settings, seed=1)


@pytest.mark.parametrize("content", [b"", b"no such thing", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_checkpoint_is_refused_with_the_remedy(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CheckpointRefused, match="delete it to begin anew"):
        fitted(kept_in(tmp_path))


def test_a_full_disk_ends_the_fit_and_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    interrupted(kept_in(tmp_path), 4)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            fitted(kept_in(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert_same(fitted(kept_in(tmp_path)), fitted(SETTINGS))


@pytest.fixture(scope="module")
def whole_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("checkpoint")
    interrupted(kept_in(folder), 10)
    return (folder / FILE).read_bytes()


def resumed_or_refused(folder: Path) -> FitResult | CheckpointRefused:
    try:
        return fitted(kept_in(folder))
    except CheckpointRefused as error:
        return error


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0.0, 1.0, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_is_resumed_from(place: float, bit: int, whole_checkpoint: bytes, tmp_path: Path) -> None:
    """Refused, or of no consequence: the header's padding."""
    data = bytearray(whole_checkpoint)
    data[int(place * len(data))] ^= 1 << bit
    (tmp_path / FILE).write_bytes(data)
    found = resumed_or_refused(tmp_path)
    if isinstance(found, CheckpointRefused):
        assert str(tmp_path / FILE) in str(found)
    else:
        assert_same(found, fitted(SETTINGS))


def test_curves_of_every_epoch_go_into_the_event_file_and_change_nothing(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tensorboard_curves(tmp_path) as curves:
        heard = fit(ROWS, PRIOR, torch.Generator().manual_seed(0), SETTINGS, curves=curves)
    assert_same(heard, fitted(SETTINGS))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert {"loss", "learning_rate", "held_out/mean", "held_out/member_2"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("held_out/mean")] == list(range(1, heard.epochs + 1))
    assert events.Scalars("learning_rate")[0].value == pytest.approx(SETTINGS.learning_rate)
