"""One turn of the service on real logs and bundles, with a retraining that is handed in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mbrl_control.cli.locations import arm_file
from mbrl_control.deployment.bundle import prior_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.learner.memory import FILE, LearnerError, alone, load
from mbrl_control.learner.policy import Memory, Policy
from mbrl_control.learner.service import Ended, Service
from mbrl_control.learner.watch import Watch
from mbrl_control.robot import Arm, load_arm
from tests.unit.synthetic_log import T0_NS, arm_streams, write_streams
from tests.unit.synthetic_log import Arm as Simulated

POLICY = Policy(minutes=0.2, retry_minutes=0.2, least_minutes=0.1)
"""12 s, 12 s and 6 s: the logs here are short."""


@pytest.fixture(scope="module")
def arm() -> Arm:
    return load_arm(arm_file("planar"))


@pytest.fixture
def registry(arm: Arm, tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "models", arm.model_name)
    registry.activate(int(prior_bundle(arm, registry, 0.02, 0.01, 3, 0, GraphShape(horizon=5)).name))
    return registry


@dataclass
class Bench:
    """A service, what it said, and what its retrainings were given."""

    registry: Registry
    arm: Arm
    logs: Path
    answer: Callable[[tuple[Path, ...]], Ended]
    calls: list[tuple[Path, ...]] = field(default_factory=list)
    said: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    policy: Policy = POLICY

    def service(self) -> Service:
        def retraining(logs: tuple[Path, ...]) -> Ended:
            self.calls.append(logs)
            return self.answer(logs)

        def report(event: str, log: Path, reason: str) -> None:
            self.said.append((event, {"log": log, "reason": reason}))

        watch = Watch(self.logs, self.arm, 3600.0, report)
        return Service(
            watch,
            self.registry,
            self.arm,
            self.policy,
            retraining,
            lambda event, _, facts: self.said.append((event, facts)),
        )

    def move(self, name: str, seconds: float, begin_s: float) -> Path:
        path = self.logs / f"{name}.mcap"
        rng = np.random.default_rng(3)
        write_streams(path, arm_streams(Simulated(), seconds, rng, start_ns=T0_NS + round(begin_s * 1e9)))
        return path

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.said]


@pytest.fixture
def bench(registry: Registry, arm: Arm, tmp_path: Path) -> Bench:
    logs = tmp_path / "out"
    logs.mkdir()
    return Bench(registry, arm, logs, lambda logs: Ended(1, "", "error: retrain: candidate refused: numbers"))


def test_a_refused_candidate_is_not_tried_again_until_there_is_new_motion(bench: Bench) -> None:
    oldest = bench.move("oldest", 2.0, 0.0)
    first = bench.move("first", 14.0, 10.0)
    service = bench.service()
    assert not service.turn()
    for _ in range(3):
        assert service.turn()
    assert bench.calls == [(first, oldest)]
    assert bench.events == ["begun", "refused", "waiting"]
    # Nor by another process, and not for motion that is too little.
    second = bench.move("second", 7.0, 100.0)
    again = bench.service()
    assert again.turn()
    assert len(bench.calls) == 1
    third = bench.move("third", 7.0, 200.0)
    assert not again.turn()
    assert bench.calls[1] == (third, second, first, oldest), "not only what came after the mark"
    assert load(bench.registry.folder).failures == 2


def test_a_pass_is_remembered_and_a_rollback_of_it_is_a_failure(bench: Bench, arm: Arm) -> None:
    made = int(prior_bundle(arm, bench.registry, 0.02, 0.01, 3, 0, GraphShape(horizon=5)).name)

    def passes(_logs: tuple[Path, ...]) -> Ended:
        assert load(bench.registry.folder).failures == 1  # already on the disk, should this end the service
        bench.registry.activate(made)
        return Ended(0, json.dumps({"model_id": f"planar/{made}", "rows": 9, "active": True}) + "\n", "")

    bench.answer = passes
    bench.move("first", 14.0, 0.0)
    service = bench.service()
    assert service.turn()
    assert service.turn()
    memory = load(bench.registry.folder)
    assert (memory.failures, memory.made, len(bench.calls)) == (0, made, 1)
    assert dict(bench.said)["passed"]["result"]["rows"] == 9
    assert dict(bench.said)["passed"]["role"] == "active"
    bench.registry.rollback()
    bench.move("second", 7.0, 100.0)
    assert service.turn()
    assert "1 without a model that stayed" in bench.said[-1][1]["reason"]
    assert len(bench.calls) == 1


def _proposes(bench: Bench, arm: Arm) -> int:
    """The next retraining makes a candidate; its number."""
    made = int(prior_bundle(arm, bench.registry, 0.02, 0.01, 3, 0, GraphShape(horizon=5)).name)

    def proposes(_logs: tuple[Path, ...]) -> Ended:
        bench.registry.propose(made, 60)
        return Ended(0, json.dumps({"model_id": f"planar/{made}", "active": False}) + "\n", "")

    bench.answer = proposes
    bench.policy = replace(POLICY, shadow=True)
    return made


def test_nothing_is_learned_while_live_motion_judges_a_candidate(bench: Bench, arm: Arm) -> None:
    made = _proposes(bench, arm)
    bench.move("first", 14.0, 0.0)
    service = bench.service()
    assert service.turn()
    assert dict(bench.said)["passed"]["role"] == "candidate"
    bench.move("second", 14.0, 100.0)
    assert service.turn()
    assert bench.said[-1][0] == "waiting"
    assert f"planar/{made} is compared with planar/1" in bench.said[-1][1]["reason"]
    assert bench.service().turn()  # nor by another process
    assert len(bench.calls) == 1
    bench.registry.activate(made)
    bench.answer = lambda logs: Ended(1, "", "refused")
    assert not service.turn()
    assert ("taken", {"model_id": f"planar/{made}"}) in bench.said
    assert len(bench.calls) == 2


def test_a_candidate_that_live_motion_refused_is_a_failure_and_its_reason_is_said(bench: Bench, arm: Arm) -> None:
    made = _proposes(bench, arm)
    bench.move("first", 14.0, 0.0)
    service = bench.service()
    assert service.turn()
    bench.registry.refuse(made, "worse by 9 %")
    assert service.turn()
    assert ("left", {"model_id": f"planar/{made}", "reason": "worse by 9 %", "active": "planar/1"}) in bench.said
    assert "1 without a model that stayed" in bench.said[-1][1]["reason"]
    assert len(bench.calls) == 1


def test_without_shadow_the_candidate_of_an_operator_holds_nothing_up(bench: Bench, arm: Arm) -> None:
    made = int(prior_bundle(arm, bench.registry, 0.02, 0.01, 3, 0, GraphShape(horizon=5)).name)
    bench.registry.propose(made, 60)
    bench.move("first", 14.0, 0.0)
    assert not bench.service().turn()
    assert len(bench.calls) == 1


def test_an_attempt_that_took_the_service_with_it_is_not_begun_at_once_again(bench: Bench) -> None:
    class Killed(BaseException):
        pass

    def kills(_logs: tuple[Path, ...]) -> Ended:
        raise Killed

    bench.answer = kills
    bench.move("first", 14.0, 0.0)
    with pytest.raises(Killed):
        bench.service().turn()
    assert bench.service().turn()
    assert len(bench.calls) == 1


def test_an_attempt_that_was_interrupted_is_no_failure(bench: Bench) -> None:
    def interrupts(_logs: tuple[Path, ...]) -> Ended:
        raise KeyboardInterrupt

    bench.answer = interrupts
    bench.move("first", 14.0, 0.0)
    with pytest.raises(KeyboardInterrupt):
        bench.service().turn()
    assert load(bench.registry.folder) == Memory()
    with pytest.raises(KeyboardInterrupt):
        bench.service().turn()
    assert bench.events == ["begun", "interrupted"] * 2


def test_an_older_log_that_is_refused_by_name_does_not_fail_every_later_attempt(bench: Bench) -> None:
    old = bench.move("old", 14.0, 0.0)
    new = bench.move("new", 14.0, 100.0)
    bench.answer = lambda logs: Ended(2, "", f"mbrl-control: error: {old}: belief.effort: is not finite; leave it out")
    service = bench.service()
    assert not service.turn()
    assert bench.calls == [(new, old)]
    assert bench.events == ["begun", "failed", "skipped"]
    newer = bench.move("newer", 14.0, 200.0)
    assert not service.turn()
    assert bench.calls[1] == (newer, new)


def test_a_log_whose_name_begins_another_ones_is_not_left_out_for_that_one(bench: Bench) -> None:
    """The newest is refused: `old.mcap`, whose path its own begins with, is as good as it was."""
    old = bench.move("old", 14.0, 0.0)
    newest = bench.logs / "old.mcap.d" / "log_0.mcap"
    newest.parent.mkdir()
    bench.move("spare", 14.0, 100.0).rename(newest)
    bench.answer = lambda logs: Ended(2, "", f"mbrl-control: error: {logs[0]}: belief.effort: is not finite")
    service = bench.service()
    assert not service.turn()
    assert bench.calls == [(newest.parent, old)]
    assert bench.events == ["begun", "failed"]


def test_the_end_by_a_signal_is_said(bench: Bench) -> None:
    bench.answer = lambda logs: Ended(-9, "", "")
    bench.move("first", 14.0, 0.0)
    assert not bench.service().turn()
    assert bench.said[-1] == ("failed", {"status": -9, "reason": "it said nothing", "failures": 1})


def test_a_memory_that_is_none_is_named_and_one_registry_has_one_service(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(LearnerError, match="another learner"), alone(tmp_path):
        pass
    with alone(tmp_path):  # free again
        pass
    (tmp_path / FILE).write_text('{"tried_ns": -1, "failures": 0, "made": 0}')
    with pytest.raises(LearnerError, match=r"learner\.json: tried_ns"):
        load(tmp_path)
    (tmp_path / FILE).write_text("")
    with pytest.raises(LearnerError, match=r"learner\.json: json"):
        load(tmp_path)
