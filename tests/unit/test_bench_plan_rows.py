"""What `bench plan` leaves on the disk is enough to go on: after a kill, elsewhere, and never with other weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.plan_rows import NotToBeResumed, Row, RowFile, machine, read_rows, require_model
from benchmarks.plan_weights import fingerprint, kept
from mbrl_control.cli.locations import arm_file
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface

ROW = Row("reach", "icem", "icem samples=8", 3, 12.5, 0.25, 1.75, 1.5, 0, 24, "0123456789ab", "A processor, fast x 2")


def written(path: Path, count: int) -> list[Row]:
    rows = [replace(ROW, seed=seed) for seed in range(count)]
    with RowFile(path) as file:
        for row in rows:
            file.append(row)
    return rows


def test_rows_come_back_as_they_were_and_more_are_appended(tmp_path: Path) -> None:
    rows = written(tmp_path / "e.csv", 3)
    assert read_rows(tmp_path / "e.csv") == rows
    with RowFile(tmp_path / "e.csv") as file:
        file.append(ROW)
    assert read_rows(tmp_path / "e.csv") == [*rows, ROW]


@pytest.mark.parametrize("lost", range(1, 60, 7))
def test_of_a_file_that_was_cut_off_the_whole_lines_count_and_the_next_row_begins_a_line(
    tmp_path: Path, lost: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "e.csv"
    rows = written(path, 3)
    path.write_bytes(path.read_bytes()[:-lost])
    assert read_rows(path) == rows[:2]
    assert "not whole" in capsys.readouterr().err
    with RowFile(path) as file:
        file.append(rows[2])
    assert read_rows(path) == rows


def test_a_file_without_a_whole_line_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_bytes(b"task,plan")
    assert read_rows(path) == []
    assert written(path, 1) == read_rows(path)


def test_columns_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text("task,planner\nreach,icem\n")
    with pytest.raises(NotToBeResumed, match=r"e\.csv: columns .*another --out"):
        read_rows(path)


def test_episodes_with_other_weights_are_refused_by_task() -> None:
    rows = [ROW, replace(ROW, task="swing_up", model="ffffffffffff")]
    require_model(rows, "reach", ROW.model, Path("e.csv"))
    with pytest.raises(NotToBeResumed, match="swing_up was played with the weights ffffffffffff, here they are 0123"):
        require_model(rows, "swing_up", ROW.model, Path("e.csv"))


def test_the_machine_has_a_name() -> None:
    assert machine() == machine()
    assert " x " in machine()


@pytest.mark.parametrize("interface", list(CommandInterface))
def test_learned_weights_are_read_again_and_not_learned_again(tmp_path: Path, interface: CommandInterface) -> None:
    arm = load_arm(arm_file("planar"), interface)
    prior = found = prior_of(arm, 0.02)
    if isinstance(prior, RigidBodyPrior):
        found = prior.with_found(np.full((2, arm.joints), 0.3), np.zeros(10))
    generator = torch.Generator().manual_seed(1)
    made = ProbabilisticEnsemble(EnsembleShape(2, arm.joints, 1, 8), found, generator).eval()
    calls = []

    def learn() -> ProbabilisticEnsemble:
        calls.append(1)
        return made

    again = [kept(tmp_path / "weights.safetensors", prior, learn) for _ in range(2)]
    assert calls == [1]
    assert {fingerprint(one) for one in (made, *again)} == {fingerprint(made)}
    other = ProbabilisticEnsemble(EnsembleShape(2, arm.joints, 1, 8), found, generator).eval()
    assert fingerprint(other) != fingerprint(made)
    state, action = torch.zeros(2, 3, 3 * arm.joints), torch.ones(3, arm.joints)
    for one, wanted in zip(again[1](state, action), made(state, action), strict=True):
        torch.testing.assert_close(one, wanted, rtol=0.0, atol=0.0)
