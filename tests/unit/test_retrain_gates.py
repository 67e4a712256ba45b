"""A retraining with golden logs and a closed loop: what it learns from, what decides, what its bundle says of both."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mbrl_control.cli.locations import arm_file
from mbrl_control.deployment.bundle import prior_bundle
from mbrl_control.deployment.check import CARD, DATASET, DATASET_CARD, verify_bundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.registry import Registry
from mbrl_control.golden_logs import FOLDER, LOG, GoldenError, add_golden, remove_golden
from mbrl_control.learning.fit_ensemble import FitSettings
from mbrl_control.learning.judge import RetrainRefused
from mbrl_control.learning.learn import Parent
from mbrl_control.learning.stability import LoopFigures, Loops, LoopScore, OtherPayloads
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.retrain import RetrainConfig, RetrainResult, retrain
from mbrl_control.robot import load_arm
from tests.patience import SLOW_S, UNCUT_S
from tests.unit.signing_support import rehash, sign_anew
from tests.unit.synthetic_log import T0_NS, Arm, arm_streams, write_streams

QUICK = FitSettings(trained_members=3, elites=2, width=24, epochs=20, max_seconds=UNCUT_S)
SECOND = 1_000_000_000
SLOW = Arm(delay_ms=12, lag_ms=(70.0, 90.0))
STABLE, SWINGING = LoopFigures(True, 0, 0, 0.01, 0.004), LoopFigures(True, 7, 0, 1.5, 0.2)


@dataclass
class Loop:
    """In the simulator's place."""

    figures: LoopFigures
    asked: list[tuple[float, ...]] = field(default_factory=list)

    def __call__(self, candidate: Parent, reference: Parent | None, payloads_kg: tuple[float, ...]) -> Loops:
        assert np.isfinite(candidate.ensemble.target_std.numpy()).all()
        self.asked.append(payloads_kg)
        return Loops(tuple(LoopScore(each, self.figures, STABLE) for each in payloads_kg))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RetrainConfig:
    """130 s: 20 s without a load, then 110 s with 1 kg declared. Golden: 24 s of the loaded motion, another log of it,
    and one of another load; the registry has the prior."""
    folder = tmp_path_factory.mktemp("gates")
    loaded = arm_streams(SLOW, 130.0, np.random.default_rng(2))
    loaded = replace(loaded, payload_ns=np.array([T0_NS + 20 * SECOND]), session_kg=(0.0, 1.0))
    write_streams(folder / "run.mcap", loaded)
    arm = load_arm(arm_file("planar"))
    registry = Registry(folder / "models", arm.name)
    registry.activate(int(prior_bundle(arm, registry, 0.02, 0.01, 3, T0_NS).name))
    for name, seed, payload_kg, begin in (("loaded", 3, 1.0, 1000), ("heavy", 4, 3.0, 2000)):
        apart = arm_streams(SLOW, 24.0, np.random.default_rng(seed), T0_NS + begin * SECOND)
        write_streams(folder / f"{name}.mcap", replace(apart, payload_kg=payload_kg))
        add_golden(registry, arm, folder / f"{name}.mcap", name, T0_NS)
    stretch = cut(loaded, T0_NS + 60 * SECOND, T0_NS + 84 * SECOND)
    write_streams(folder / "stretch.mcap", replace(stretch, payload_kg=1.0))
    add_golden(registry, arm, folder / "stretch.mcap", "stretch", T0_NS)
    return RetrainConfig((folder / "run.mcap",), folder / "models", arm, T0_NS, fit=QUICK)


def fresh(config: RetrainConfig, tmp_path: Path) -> Registry:
    """A copy of the registry in which the prior is active."""
    registry = Registry(Path(shutil.copytree(config.models, tmp_path / "models")), config.arm.name)
    registry.activate(1)
    return registry


def cut(streams: Any, begin_ns: int, end_ns: int) -> Any:
    belief, command, relay = (
        (stamps >= begin_ns) & (stamps < end_ns) for stamps in (streams.belief_ns, streams.command_ns, streams.relay_ns)
    )
    fields = {name: getattr(streams, name)[belief] for name in ("belief_ns", "position", "velocity", "effort")}
    fields |= {name: getattr(streams, name)[command] for name in ("command_ns", "applied", "drives_enabled")}
    fields |= {name: getattr(streams, name)[relay] for name in ("relay_ns", "publishing")}
    return replace(streams, **fields, payload_ns=np.empty(0, dtype=np.int64), session_kg=())


@pytest.fixture(scope="module")
def passed(config: RetrainConfig) -> tuple[RetrainResult, Loop]:
    loop = Loop(STABLE)
    return retrain(replace(config, closed_loop=loop)), loop


@pytest.mark.timeout(SLOW_S)
def test_golden_logs_are_judged_and_their_numbers_kept(
    config: RetrainConfig, passed: tuple[RetrainResult, Loop]
) -> None:
    result, loop = passed
    training = verify_bundle(result.path, config.arm).training
    assert training is not None
    assert training.gate is not None
    golden = {each.name: each for each in training.gate.golden}
    assert {name: each.payload_kg for name, each in golden.items()} == {"loaded": 1.0, "heavy": 3.0, "stretch": 1.0}
    for name in ("loaded", "stretch"):
        assert golden[name].limit == 0.0, "the prior is to be beaten"
        assert golden[name].upper < 0.0
        assert golden[name].blocks >= 8
    assert golden["heavy"].limit is None
    assert loop.asked == [(0.0, 3.0)], "of the log's other session and of the golden log with another load"
    assert [each.payload_kg for each in training.gate.loops] == [0.0, 3.0]
    card = (result.path / CARD).read_text(encoding="utf-8")
    assert "golden log heavy (3 kg" in card
    assert "another payload: reported, not decisive" in card
    assert "closed loop in simulation with 3 kg: ends 4.0 mm" in card
    assert DATASET_CARD in card


@pytest.mark.timeout(SLOW_S)
def test_the_dataset_card_counts_every_row(config: RetrainConfig, passed: tuple[RetrainResult, Loop]) -> None:
    result, _ = passed
    manifest = verify_bundle(result.path, config.arm)
    assert manifest.dataset
    assert {DATASET, DATASET_CARD} <= set(manifest.files)
    said = json.loads((result.path / DATASET).read_text(encoding="utf-8"))
    (log,) = said["logs"]
    assert log["rows"] + sum(log["left_out"].values()) == log["moments"]
    assert log["left_out"]["of golden log stretch"] == pytest.approx((24 + 0.6) * 100, rel=0.02)
    assert not [why for why in log["left_out"] if "loaded" in why or "heavy" in why]
    assert log["source"]["files"][0]["sha256"] == manifest.training.log_sha256[0]  # type: ignore[union-attr]
    assert log["source"]["log"] == f"{config.logs[0].parent.name}/run.mcap"
    assert log["payloads_kg"] == [0.0, 1.0]
    assert log["state"]["usual_hz"] == pytest.approx(250.0)
    assert [regime["payload_kg"] for regime in said["regimes"]] == [0.0, 1.0]
    assert sum(regime["rows"] for regime in said["regimes"]) == said["rows"] == log["rows"]
    assert said["regimes"][-1]["held_out_blocks"] == result.held_out_blocks
    assert said["trained_on"] == result.rows < said["rows"]
    assert said["delay_s"] == result.delay_s
    newest = said["regimes"][-1]["rows"]
    for joint, lower, upper in zip(said["joints"], config.arm.lower, config.arm.upper, strict=True):
        assert sum(each["rows"] for each in joint["bins"]) == newest
        assert max(each["speed"] for each in joint["bins"]) == joint["speed_most"]
        assert (joint["lower"], joint["upper"]) == (lower, upper)
        empty = sum(end - begin for begin, end in joint["empty"])
        assert empty == pytest.approx(sum(e["end"] - e["begin"] for e in joint["bins"] if e["rows"] == 0))
    text = (result.path / DATASET_CARD).read_text(encoding="utf-8")
    assert f"| {config.arm.joint_names[0]} |" in text
    assert f"{log['rows']} of {log['moments']}" in text
    assert "left out, of golden log stretch" in text
    assert str(config.logs[0].parent) not in text


@pytest.mark.timeout(SLOW_S)
def test_a_changed_dataset_file_makes_the_bundle_refused(
    config: RetrainConfig, passed: tuple[RetrainResult, Loop], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(passed[0].path, tmp_path / "models" / passed[0].path.name))
    (folder / DATASET_CARD).write_text("all poses\n")
    with pytest.raises(BundleError, match=r"dataset_card\.md: sha256 differs"):
        verify_bundle(folder, config.arm)
    rehash(folder, DATASET_CARD)
    sign_anew(folder)
    verify_bundle(folder, config.arm)
    (folder / DATASET).unlink()
    with pytest.raises(BundleError, match=r"dataset\.json: cannot be read"):
        verify_bundle(folder, config.arm)


@pytest.mark.timeout(SLOW_S)
def test_an_unstable_loop_with_another_payload_refuses_and_writes_nothing(
    config: RetrainConfig, tmp_path: Path
) -> None:
    registry = fresh(config, tmp_path)
    before = (registry.versions(), registry.active())
    with pytest.raises(RetrainRefused, match=r"with other payloads, .* 0 kg: 7 steps .* 1\.5 rad/s .*; 3 kg: "):
        retrain(replace(config, models=registry.models, closed_loop=Loop(SWINGING)))
    assert (registry.versions(), registry.active()) == before


@pytest.mark.timeout(SLOW_S)
def test_an_unstable_loop_may_be_accepted_and_then_the_bundle_says_so(config: RetrainConfig, tmp_path: Path) -> None:
    accepted = replace(config, closed_loop=Loop(SWINGING), other_payloads=OtherPayloads.REPORT)
    result = retrain(replace(accepted, models=fresh(config, tmp_path).models))
    training = verify_bundle(result.path, config.arm).training
    assert training is not None
    assert training.gate is not None
    assert not training.gate.loops_decide
    assert [each.candidate.speed for each in training.gate.loops] == [1.5, 1.5]
    assert "1.500 rad/s (0.010), 7 steps beyond a limit; reported, not decisive" in (result.path / CARD).read_text()


@pytest.mark.timeout(SLOW_S)
def test_without_a_simulation_the_bundle_says_that_there_was_none(config: RetrainConfig, tmp_path: Path) -> None:
    result = retrain(replace(config, models=fresh(config, tmp_path).models))
    assert result.gate.loops == ()
    assert "no simulation of the arm was given" in result.gate.not_simulated
    assert "not simulated: no simulation" in (result.path / CARD).read_text(encoding="utf-8")


def test_nothing_is_learned_from_golden_rows(config: RetrainConfig, tmp_path: Path) -> None:
    """A log that is golden as a whole gives no row; which one it is, is said. And a damaged one stops everything."""
    registry = fresh(config, tmp_path)
    own = replace(config, models=registry.models, logs=(registry.folder / FOLDER / "loaded",))
    with pytest.raises(TooLittleData, match=r"golden logs are never learned from, these were left out: loaded \(2"):
        retrain(own)
    (registry.folder / FOLDER / "heavy" / LOG).write_bytes(b"")
    with pytest.raises(GoldenError, match="heavy"):
        retrain(own)
    remove_golden(registry, "heavy")
    remove_golden(registry, "loaded")
    logs = (config.models.parent / "loaded.mcap",)
    with pytest.raises(TooLittleData) as refused:
        retrain(replace(own, logs=logs))
    assert "golden" not in str(refused.value), "too short, and no golden log any more"


def test_a_payload_declared_last_without_motion_is_not_taken_for_the_one_before(
    config: RetrainConfig, tmp_path: Path
) -> None:
    streams = arm_streams(SLOW, 80.0, np.random.default_rng(5))
    late = np.array([streams.belief_ns[-1]])
    write_streams(tmp_path / "log.mcap", replace(streams, payload_ns=late))
    with pytest.raises(TooLittleData, match="no usable row with the payload declared last, 1 kg"):
        retrain(replace(config, logs=(tmp_path / "log.mcap",)))
