"""A bundle that is rejected is not announced as active, whatever ended the process that left it, or failed in it."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.cli.locations import arm_file
from mbrl_control.deployment.bundle import prior_bundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.lifecycle import promote
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.live.keeper import Announcement, ModelKeeper, Status
from mbrl_control.live.tape import Tape
from mbrl_control.live.watch import Decision, LiveWatch, Verdict
from mbrl_control.robot import load_arm
from tests.unit.stopped_writes import Killed, stopped

PLANAR = load_arm(arm_file("planar"))
GOOD, BAD, THIRD = 1, 2, 3
WHY = "off by 0.2 rad"
FULL = OSError(errno.ENOSPC, "No space left on device")
GOES_BACK = [(Status.REJECTED, "planar/2"), (Status.ACTIVE, "planar/1")]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three signed versions; the second one is active, the first one was."""
    registry = Registry(tmp_path_factory.mktemp("models"), PLANAR.model_name)
    for _ in range(3):
        prior_bundle(PLANAR, registry, 0.02, 0.01, 3, 0, GraphShape(horizon=5))
    registry.activate(GOOD)
    registry.activate(BAD)
    return registry.models


@pytest.fixture
def registry(original: Path, tmp_path: Path) -> Registry:
    return Registry(Path(shutil.copytree(original, tmp_path / "models")), PLANAR.model_name)


@dataclass(slots=True)
class Process:
    """One life of the node."""

    registry: Registry
    said: list[Announcement] = field(default_factory=list)
    keeper: ModelKeeper = field(init=False)

    def __post_init__(self) -> None:
        self.keeper = ModelKeeper(self.registry, PLANAR, self.said.append, np.random.default_rng(0))

    def poll(self, times: int = 1) -> None:
        for _ in range(times):
            self.keeper.poll(Tape(PLANAR))

    def statuses(self) -> list[tuple[Status, str]]:
        return [(each.status, each.model_id) for each in self.said]


def live_motion_speaks_against_it(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the next look, once."""
    verdict = Verdict(Decision.LEAVE, "planar/2", WHY)
    with monkeypatch.context() as patch:
        patch.setattr(LiveWatch, "advance", lambda *_: ([], verdict))
        process.poll()


def started(registry: Registry) -> Process:
    process = Process(registry)
    process.poll(3)
    return process


def test_when_nothing_fails_expect_it_left(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    process = started(registry)
    live_motion_speaks_against_it(process, monkeypatch)
    process.poll(3)
    assert process.statuses() == [(Status.ACTIVE, "planar/2"), *GOES_BACK]
    assert (registry.active(), registry.rejected(), process.keeper.trouble()) == (GOOD, {BAD: WHY}, "")
    assert started(registry).statuses() == [(Status.ACTIVE, "planar/1")]


def test_when_killed_between_both_files_expect_the_next_start_to_go_back(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = started(registry)
    with stopped(monkeypatch, 1, Killed()), pytest.raises(Killed):
        live_motion_speaks_against_it(process, monkeypatch)
    assert process.statuses()[1:] == [(Status.REJECTED, "planar/2")]
    following = started(registry)
    assert following.statuses() == GOES_BACK
    assert following.said[1].reason == f"rolled back from planar/2: {WHY}"
    assert (registry.active(), registry.rejected()) == (GOOD, {BAD: WHY})


@pytest.mark.parametrize("made", [0, 1])
def test_when_the_disk_is_full_expect_it_kept_as_soon_as_there_is_room(
    made: int, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = started(registry)
    with stopped(monkeypatch, made, FULL):
        live_motion_speaks_against_it(process, monkeypatch)
        process.poll(3)
    assert process.statuses()[1:] == [(Status.REJECTED, "planar/2")]
    assert "No space left on device" in process.keeper.trouble()
    process.poll(3)
    assert process.statuses()[1:] == [(Status.REJECTED, "planar/2")], "said once"
    assert (registry.active(), registry.rejected()) == (BAD, {BAD: WHY})
    assert started(registry).statuses() == GOES_BACK


def deleted(registry: Registry) -> None:
    shutil.rmtree(registry.path(GOOD))


def changed(registry: Registry) -> None:
    (registry.path(GOOD) / "card.md").write_text("better than it was")


def first(registry: Registry) -> None:
    (registry.folder / "active.json").write_text(json.dumps({"version": BAD}))


@pytest.mark.parametrize("lose", [deleted, changed, first])
def test_when_nothing_can_take_its_place_expect_it_rejected_at_every_start_until_an_operator_speaks(
    lose: Callable[[Registry], None], registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(registry)
    process = started(registry)
    live_motion_speaks_against_it(process, monkeypatch)
    assert (registry.active(), registry.rejected()) == (BAD, {BAD: WHY})
    following = started(registry)
    assert following.statuses() == [(Status.REJECTED, "planar/2")]
    assert following.said[0].reason == WHY
    for each in (process, following):
        each.poll(3)
        assert "planar/2 is rejected (off by 0.2 rad), and nothing takes its place" in each.keeper.trouble()
    promote(registry, BAD, PLANAR)
    for each in (process, following):
        each.poll(3)
        assert each.statuses()[-2:] == [(Status.REJECTED, "planar/2"), (Status.ACTIVE, "planar/2")]
        assert each.keeper.trouble() == ""


@pytest.mark.parametrize("how", [Killed(), FULL], ids=["killed", "full"])
@pytest.mark.parametrize("made", [0, 1])
def test_when_an_operators_activation_does_not_come_to_its_end_expect_what_was_active(
    made: int, how: BaseException, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.reject(BAD, WHY)
    registry.rollback()
    process = started(registry)
    with stopped(monkeypatch, made, how), pytest.raises((Killed, BundleError)):
        registry.activate(BAD)
    process.poll(3)
    assert process.statuses() == [(Status.ACTIVE, "planar/1")] == started(registry).statuses()
    registry.activate(BAD)
    process.poll(3)
    assert process.statuses()[1:] == [(Status.ACTIVE, "planar/2")] == started(registry).statuses()


def test_when_it_is_rejected_elsewhere_expect_it_left_here(registry: Registry) -> None:
    """Two graphs use one registry."""
    process = started(registry)
    registry.reject(BAD, WHY)
    process.poll(3)
    assert process.statuses()[1:] == GOES_BACK


def test_when_it_cannot_be_read_what_is_rejected_expect_nothing_active(registry: Registry) -> None:
    (registry.folder / "rejected.json").write_text("{")
    process = started(registry)
    assert process.statuses() == [(Status.REJECTED, "")]
    assert "rejected.json: json" in process.said[0].reason
    (registry.folder / "rejected.json").unlink()
    process.poll()
    assert process.statuses()[1:] == [(Status.ACTIVE, "planar/2")]


def test_when_a_refusal_was_killed_before_its_end_expect_it_finished(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.propose(THIRD, 60)
    with stopped(monkeypatch, 1, Killed()), pytest.raises(Killed):
        registry.refuse(THIRD, WHY)
    process = started(registry)
    assert process.statuses() == [(Status.ACTIVE, "planar/2"), (Status.REJECTED, "planar/3")]
    assert (registry.candidate(), registry.rejected()) == (None, {THIRD: WHY})


def test_when_a_promotion_was_killed_before_its_end_expect_no_comparison_with_itself(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.propose(THIRD, 60)
    with stopped(monkeypatch, 1, Killed()), pytest.raises(Killed):
        registry.activate(THIRD)
    assert started(registry).statuses() == [(Status.ACTIVE, "planar/3")]
