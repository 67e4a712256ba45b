"""Bundles judged while a simulated arm moves: what is left, what stays, what takes over. In virtual time; a minute."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.deployment.bundle import prior_bundle
from mbrl_control.deployment.keys import FOLDER_VARIABLE, Keys
from mbrl_control.deployment.lifecycle import promote, shadow, sign_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.signing import SIGNATURE
from mbrl_control.live import score
from mbrl_control.live.keeper import Announcement, ModelKeeper, Status
from mbrl_control.live.open_loop import Ahead
from mbrl_control.live.watch import Role, Scored
from tests.live_support import Moving, Taught, moving, taught
from tests.patience import SLOW_S

pytestmark = pytest.mark.timeout(SLOW_S)
GOOD, SAME, BROKEN, WORSE, PRIOR = 1, 2, 3, 4, 5
SECOND_NS = 1_000_000_000


@pytest.fixture(scope="module")
def lesson() -> Taught:
    return taught()


@pytest.fixture(scope="module")
def original(lesson: Taught, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good model twice, a broken one that claims the same, one that is two to three times worse, and the prior."""
    registry = Registry(tmp_path_factory.mktemp("models"), lesson.arm.model_name)
    stated = next(each.position for each in lesson.training.k_step if each.steps == 15)
    for off in (0.0, 0.0, 0.5, 3.0 * stated):
        lesson.store(registry, off)
    prior_bundle(lesson.arm, registry, 0.02, lesson.learned.delay_s, 3, 0)
    registry.activate(GOOD)
    return registry.models


@dataclass(slots=True)
class Graph:
    """The keeper beside a moving arm."""

    registry: Registry
    motion: Moving
    said: list[tuple[int, Announcement]] = field(default_factory=list)
    windows: list[Scored] = field(default_factory=list)
    keeper: ModelKeeper = field(init=False)

    def begin(self, lesson: Taught) -> None:
        self.keeper = ModelKeeper(
            self.registry,
            lesson.arm,
            lambda said: self.said.append((self.motion.now_ns, said)),
            np.random.default_rng(0),
        )

    def run(self, seconds: float) -> Iterator[None]:
        for tape in self.motion.run(seconds):
            self.windows += self.keeper.poll(tape)
            yield

    def go(self, seconds: float) -> None:
        for _ in self.run(seconds):
            pass

    def statuses(self) -> list[tuple[Status, str]]:
        return [(each.status, each.model_id) for _, each in self.said]

    def of(self, role: Role) -> list[Scored]:
        return [each for each in self.windows if each.role is role]


@pytest.fixture
def graph(lesson: Taught, original: Path, tmp_path: Path) -> Graph:
    registry = Registry(Path(shutil.copytree(original, tmp_path / "models")), lesson.arm.model_name)
    graph = Graph(registry, moving())
    graph.begin(lesson)
    return graph


def active(registry: Registry, *versions: int) -> None:
    for version in versions:
        registry.activate(version)


def test_as_promised_nothing_is_said_and_every_window_is_scored(graph: Graph) -> None:
    active(graph.registry, SAME, GOOD)
    graph.go(60.0)
    assert graph.statuses() == [(Status.ACTIVE, "planar/1")]
    ours, before = graph.of(Role.ACTIVE), graph.of(Role.PREVIOUS)
    # The excitation stands at times; what is left is most of the minute.
    assert 60 < len(ours) == len(before) < 120
    assert not any(each.exceeded for each in ours)
    assert graph.keeper.trouble() == ""
    assert graph.keeper.facts() == {"held_to": "its promise", "previous": "planar/2"}
    begins = [each.window.begin_ns for each in ours]
    assert np.diff(begins).min() >= 0.5 * SECOND_NS
    assert [each.window.position for each in ours] == [each.window.position for each in before]


def test_a_load_is_drift_and_no_reason_to_go_back(graph: Graph) -> None:
    active(graph.registry, SAME, GOOD)
    graph.go(10.0)
    graph.motion.lockstep.attach_payload(2.0)
    graph.go(20.0)
    assert graph.statuses() == [(Status.ACTIVE, "planar/1")]
    assert graph.registry.active() == GOOD
    assert graph.of(Role.ACTIVE)[-1].exceeded
    assert "the arm moves otherwise than planar/1 promised" in graph.keeper.trouble()


def test_a_broken_model_with_a_good_signature_is_left_within_a_second_of_motion(graph: Graph, lesson: Taught) -> None:
    graph.go(10.3)
    promote(graph.registry, BROKEN, lesson.arm)
    activated_ns = graph.motion.now_ns
    graph.go(2.0)
    assert graph.statuses() == [
        (Status.ACTIVE, "planar/1"),
        (Status.ACTIVE, "planar/3"),
        (Status.REJECTED, "planar/3"),
        (Status.ACTIVE, "planar/1"),
    ]
    rejected_ns, rejected = graph.said[2]
    assert rejected_ns - activated_ns <= SECOND_NS
    assert "and more in 3 starts in a row" in rejected.reason
    assert graph.said[3][1].reason == f"rolled back from planar/3: {rejected.reason}"
    assert graph.registry.active() == GOOD
    assert graph.registry.rejected() == {BROKEN: rejected.reason}
    graph.go(5.0)
    assert len(graph.said) == 4, "it does not come back by itself"
    promote(graph.registry, BROKEN, lesson.arm)
    assert graph.registry.rejected() == {}, "an operator's word takes the mark away"


def test_a_model_that_is_only_worse_is_left_on_evidence(graph: Graph) -> None:
    active(graph.registry, WORSE)
    graph.go(60.0)
    assert graph.statuses()[:3] == [
        (Status.ACTIVE, "planar/4"),
        (Status.REJECTED, "planar/4"),
        (Status.ACTIVE, "planar/1"),
    ]
    assert "beyond what it promised, and planar/1 better in" in graph.said[1][1].reason
    assert len(graph.said) == 3


def test_with_nothing_to_go_back_to_it_is_rejected_all_the_same_and_said(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No numbers: the guard has to hold, whoever takes its place."""
    graph.go(3.0)
    nothing = Ahead(np.full(6, np.nan), np.full(6, np.nan))
    monkeypatch.setattr(score, "look_ahead", lambda *_: nothing)
    graph.go(5.0)
    assert graph.statuses() == [(Status.ACTIVE, "planar/1"), (Status.REJECTED, "planar/1")]
    assert "not finite numbers" in graph.said[1][1].reason
    assert "nothing takes its place" in graph.keeper.trouble()
    assert graph.registry.active() == GOOD


def test_the_prior_is_held_to_nothing_and_a_good_candidate_takes_over(graph: Graph, lesson: Taught) -> None:
    active(graph.registry, PRIOR)
    shadow(graph.registry, SAME, 12, lesson.arm)
    graph.go(4.0)
    assert graph.statuses() == [(Status.ACTIVE, "planar/5"), (Status.CANDIDATE, "planar/2")]
    assert graph.keeper.facts()["held_to"].startswith("nothing but finite numbers")
    graph.go(40.0)
    assert graph.statuses()[2:] == [(Status.ACTIVE, "planar/2")]
    assert graph.said[2][1].reason.startswith("better in the shadow of planar/5: position after 0.3 s on ")
    assert (graph.registry.active(), graph.registry.candidate(), graph.registry.before()) == (SAME, None, PRIOR)


@pytest.mark.parametrize(("version", "words"), [(BROKEN, "3 starts in a row"), (WORSE, "on 48 windows of live motion")])
def test_a_bad_candidate_is_refused_with_its_numbers(version: int, words: str, graph: Graph, lesson: Taught) -> None:
    shadow(graph.registry, version, 12, lesson.arm)
    graph.go(45.0)
    assert graph.statuses() == [
        (Status.ACTIVE, "planar/1"),
        (Status.CANDIDATE, f"planar/{version}"),
        (Status.REJECTED, f"planar/{version}"),
    ]
    assert words in graph.said[2][1].reason
    assert (graph.registry.active(), graph.registry.candidate()) == (GOOD, None)
    assert graph.registry.rejected() == {version: graph.said[2][1].reason}


def test_a_candidate_that_is_damaged_meanwhile_is_refused_and_nothing_else_happens(
    graph: Graph, lesson: Taught
) -> None:
    active(graph.registry, PRIOR)
    shadow(graph.registry, SAME, 12, lesson.arm)
    graph.go(1.0)
    (graph.registry.path(SAME) / "card.md").write_text("better than it was")
    graph.go(40.0)
    assert graph.statuses()[2:] == [(Status.REJECTED, "planar/2")]
    assert "card.md: sha256" in graph.said[2][1].reason
    assert (graph.registry.active(), graph.registry.candidate()) == (PRIOR, None)


def test_a_candidate_that_cannot_be_read_is_refused_at_once(graph: Graph, lesson: Taught) -> None:
    shadow(graph.registry, SAME, 12, lesson.arm)
    shutil.rmtree(graph.registry.path(SAME))
    graph.go(0.2)
    assert graph.statuses() == [(Status.ACTIVE, "planar/1"), (Status.REJECTED, "planar/2")]
    assert graph.registry.candidate() is None


def test_an_operator_who_activates_another_begins_the_comparison_anew(graph: Graph, lesson: Taught) -> None:
    shadow(graph.registry, SAME, 12, lesson.arm)
    graph.go(4.0)
    promote(graph.registry, PRIOR, lesson.arm)
    graph.go(0.2)
    assert graph.statuses()[2:] == [(Status.ACTIVE, "planar/5"), (Status.CANDIDATE, "planar/2")]
    windows = int(graph.keeper.facts()["candidate"].split(", ")[1].split()[0])
    assert windows <= 1, "what was just before the activation counts"


def test_an_active_bundle_without_a_signature_is_used_once_it_is_signed(graph: Graph, lesson: Taught) -> None:
    signature = graph.registry.path(GOOD) / SIGNATURE
    signature.unlink()
    graph.go(2.0)
    assert graph.statuses() == [(Status.REJECTED, "planar/1")], "said once, not at every look"
    sign_bundle(graph.registry, GOOD, lesson.arm)
    graph.go(2.0)
    assert graph.statuses()[1:] == [(Status.ACTIVE, "planar/1")]


def test_an_active_bundle_of_a_stranger_is_used_once_its_key_is_trusted(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = tmp_path / "maker.pem"
    public.write_bytes(next(iter(Keys().trusted().values())).read_bytes())
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "another user"))
    graph.go(2.0)
    Keys().trust(public)
    graph.go(2.0)
    assert graph.statuses() == [(Status.REJECTED, "planar/1"), (Status.ACTIVE, "planar/1")]
