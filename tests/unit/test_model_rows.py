"""Rows of a fit are made piece by piece: what comes out is what all at once would have been."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mbrl_control.dynamics.normalizer import Normalizer
from mbrl_control.learning import model_rows, train
from mbrl_control.learning.beginning import begin
from mbrl_control.learning.fit_ensemble import FitResult, FitSettings, fit
from mbrl_control.learning.fit_rows import ScaledRows, holdout_rows, scaled_rows
from mbrl_control.learning.model_rows import rows_beside
from mbrl_control.learning.train import member_nll
from mbrl_control.replay.arm_rows import arm_layout, arm_steps, arm_transitions
from mbrl_control.replay.home import create_buffer
from mbrl_control.replay.layout import BufferSpec
from mbrl_control.replay.provenance import Provenance, Source
from mbrl_control.signals import Transitions
from tests.oracle.servo_rows import PRIOR, servo_rows
from tests.patience import UNCUT_S

SETTINGS = FitSettings(trained_members=3, elites=2, width=12, epochs=4, batch_size=64, max_seconds=UNCUT_S)
ROWS = servo_rows(700, 0, 0.02)


def scaled(rows: Transitions) -> tuple[Normalizer, tuple[ScaledRows, ScaledRows]]:
    generator = torch.Generator().manual_seed(0)
    beginning = begin(rows, PRIOR, generator, SETTINGS, None)
    weights = np.linspace(0.5, 1.5, len(rows))
    made = scaled_rows(beginning.ensemble, beginning.rows, weights, holdout_rows(rows, SETTINGS, generator))
    e = beginning.ensemble
    return Normalizer(e.feature_mean, e.feature_std, e.target_mean, e.target_std), made


@pytest.mark.parametrize("piece", [699, 100, 7])
def test_pieces_are_the_whole(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_scaling, whole = scaled(ROWS)
    monkeypatch.setattr(model_rows, "PIECE", piece)
    _, rows = rows_beside(PRIOR, ROWS, None)
    assert [len(part.position) for _, part in rows.pieces()] == [
        min(piece, 700 - begin) for begin in range(0, 700, piece)
    ]
    scaling, found = scaled(ROWS)
    for name in Normalizer.__dataclass_fields__:
        torch.testing.assert_close(getattr(scaling, name), getattr(whole_scaling, name), rtol=1e-6, atol=1e-9)
    for ours, theirs in zip(found, whole, strict=True):
        for name in ScaledRows.__dataclass_fields__:
            torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-4, atol=1e-5)


def test_a_constant_column_has_a_std_of_one_in_every_piece_and_in_all() -> None:
    parts = [torch.full((4, 1), 3.0).double(), torch.full((2, 1), 3.0).double()]
    found = Normalizer.of((part, torch.arange(len(part)).double()[:, None]) for part in parts)
    assert float(found.feature_std) == 1.0
    every = torch.tensor([0.0, 1.0, 2.0, 3.0, 0.0, 1.0]).double()
    torch.testing.assert_close(found.target_mean, every.mean()[None])
    torch.testing.assert_close(found.target_std, every.std(unbiased=False)[None])


def test_an_order_in_half_the_memory_is_the_same_order() -> None:
    ours, theirs = (torch.Generator().manual_seed(5) for _ in range(2))
    short = torch.empty(3, 1000, dtype=torch.int32)
    for row in short:
        torch.randperm(1000, generator=ours, out=row)
    assert torch.equal(short.long(), torch.stack([torch.randperm(1000, generator=theirs) for _ in range(3)]))


def test_the_score_of_many_rows_is_that_of_their_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = fit(ROWS, PRIOR, torch.Generator().manual_seed(0), SETTINGS)
    _, (rows, _) = scaled(ROWS)
    whole = member_nll(fitted.ensemble, rows)
    monkeypatch.setattr(train, "_SCORED_AT_ONCE", 50)
    torch.testing.assert_close(member_nll(fitted.ensemble, rows), whole)


def test_rows_mapped_from_a_buffer_give_the_same_fit_to_the_bit(tmp_path: Path) -> None:
    """Which `check_rows`, hashing, pieces and windows have to take as they lie: with gaps between their numbers."""

    def of(rows: Transitions) -> FitResult:
        return fit(rows, PRIOR, torch.Generator().manual_seed(0), SETTINGS)

    joints = ROWS.position.shape[1]
    layout = arm_layout(tuple(f"joint_{number}" for number in range(joints)), ROWS.history.shape[1])
    with create_buffer(tmp_path / "rows", BufferSpec(layout)) as buffer:
        stamped = replace(ROWS, stamp_ns=np.arange(len(ROWS)) * 20_000_000)
        buffer.append(arm_steps(stamped, (Provenance(Source.REAL, "excitation"),)))
        mapped = arm_transitions(buffer.view(0, len(buffer)))
        assert not mapped.position.flags.c_contiguous
        ours, theirs = of(mapped), of(stamped)
    assert ours.holdout_nll == theirs.holdout_nll
    for name, value in ours.ensemble.state_dict().items():
        assert torch.equal(value, theirs.ensemble.state_dict()[name])
