"""`bench plan` killed at any moment and resumed says what an undisturbed one says; episodes are stand-ins here."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import plan
from benchmarks.plan_contestants import Contestant
from benchmarks.plan_rows import EPISODES, Row, read_rows
from benchmarks.plan_tasks import TASKS


class Killed(Exception):
    """The end of the process."""


class Stand:
    """In the place of what plays: costs fall with the samples, and differ by the seed alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.played = 10**6, 0
        monkeypatch.setattr(plan, "prepare", lambda task, *_: SimpleNamespace(task=task, model="m"))
        monkeypatch.setattr(plan, "run", self.run)
        self._monkeypatch = monkeypatch

    def run(
        self, stage: Any, contestant: Contestant, seeds: list[int], machine_name: str, _peers: Any
    ) -> Iterator[Row]:
        work = contestant.settings["samples"] * contestant.settings["iterations"]
        for seed in seeds:
            if self.left == 0:
                raise Killed
            self.left, self.played = self.left - 1, self.played + 1
            luck = np.random.default_rng([seed, work]).uniform(0.8, 1.2)
            fixed = (stage.task.name, contestant.planner, str(contestant), seed)
            costs = (round(100.0 / work * luck, 5), 1.0)
            yield Row(*fixed, *costs, float(work), float(work), 0, work, stage.model, machine_name)

    def play(self, folder: Path, machine: str, *more: str) -> None:
        chosen = ["--tasks", "reach", "--planners", "icem", "cem", "--most-samples", "16", "--episodes", "4"]
        self._monkeypatch.setattr(sys, "argv", ["plan", *chosen, "--out", str(folder), *more])
        self._monkeypatch.setattr(plan, "machine", lambda: machine)
        plan.main()


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return {name: value for name, value in found.items() if name not in ("wall_s", "csv", "picture")}


@pytest.mark.parametrize("killed_after", [0, 5, 20, 40])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_killed_and_resumed_it_says_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    killed_after: int,
    elsewhere: bool,
) -> None:
    stand = Stand(monkeypatch)
    stand.play(tmp_path / "whole", "here")
    whole, count = said(capsys), stand.played
    assert TASKS["reach"].unit == "mm"
    assert len(whole["fronts"]["reach"]["icem"]) > 1
    stand.left = killed_after
    with pytest.raises(Killed):
        stand.play(tmp_path / "killed", "there" if elsewhere else "here")
    path = tmp_path / "killed" / EPISODES
    path.write_bytes(path.read_bytes()[:-3])
    stand.left, stand.played = 10**6, 0
    stand.play(tmp_path / "killed", "here", "--resume")
    assert said(capsys) == whole
    assert whole["machines"] == {"reach": "here"}
    lost = 1 if killed_after else 0
    screening = sum(row.seed >= 1_000_000 for row in read_rows(tmp_path / "whole" / EPISODES))
    again = max(0, killed_after - lost - screening) if elsewhere else 0
    assert stand.played == count - killed_after + lost + again


def test_a_finished_one_is_summed_up_without_playing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also on another machine, and without a model of any task."""
    stand = Stand(monkeypatch)
    stand.play(tmp_path / "whole", "here")
    whole = said(capsys)
    stand.left = 0
    monkeypatch.setattr(plan, "prepare", lambda *_: pytest.fail("nothing is left to prepare for"))
    stand.play(tmp_path / "whole", "there", "--resume")
    assert said(capsys) == whole


def test_other_weights_are_an_error_before_anything_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand = Stand(monkeypatch)
    stand.left = 10
    with pytest.raises(Killed):
        stand.play(tmp_path / "run", "here")
    monkeypatch.setattr(plan, "prepare", lambda task, *_: SimpleNamespace(task=task, model="other"))
    with pytest.raises(SystemExit) as ended:
        stand.play(tmp_path / "run", "here", "--resume")
    assert ended.value.code == 2
    assert "reach was played with the weights m, here they are other" in capsys.readouterr().err
