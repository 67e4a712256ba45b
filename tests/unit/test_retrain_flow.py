"""Retraining start to end on the log of a synthetic arm that differs from its nominal prior."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mbrl_control.learning.judge as judge_module
import mbrl_control.learning.learn as learn_module
from mbrl_control.cli.locations import arm_file
from mbrl_control.deployment.bundle import prior_bundle
from mbrl_control.deployment.check import CARD, DATASET_CARD, verify_bundle
from mbrl_control.deployment.errors import ActiveChanged, BundleError
from mbrl_control.deployment.manifest import Promise
from mbrl_control.deployment.registry import Candidate, Registry
from mbrl_control.episode_log.errors import LogError
from mbrl_control.learning.fit_ensemble import FitSettings
from mbrl_control.learning.judge import RetrainRefused
from mbrl_control.learning.regimes import regime_weights
from mbrl_control.live.watch import WINDOWS
from mbrl_control.replay.blocks import BLOCK_NS, MARGIN_NS
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.streams import read_streams
from mbrl_control.replay.transitions import Grid, transitions_from_streams
from mbrl_control.retrain import RetrainConfig, retrain
from mbrl_control.robot import load_arm
from mbrl_control.signals import Transitions
from tests.patience import SLOW_S, UNCUT_S
from tests.unit.synthetic_log import T0_NS, Arm, arm_streams, write_streams

QUICK = FitSettings(trained_members=3, elites=2, width=24, epochs=20, max_seconds=UNCUT_S)
USELESS = FitSettings(trained_members=3, elites=2, width=24, epochs=1, learning_rate=1.0, max_seconds=UNCUT_S)
"""One epoch at an absurd rate: finite, but thrown far off."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RetrainConfig:
    folder = tmp_path_factory.mktemp("retrain")
    log = folder / "first.mcap"
    write_streams(log, arm_streams(Arm(delay_ms=12, lag_ms=(70.0, 90.0)), 80.0, np.random.default_rng(2)))
    arm = load_arm(arm_file("planar"))
    registry = Registry(folder / "models", arm.name)
    prior = prior_bundle(arm, registry, 0.02, 0.01, 3, T0_NS)
    registry.activate(int(prior.name))
    return RetrainConfig((log,), folder / "models", arm, T0_NS, fit=QUICK)


@pytest.mark.timeout(SLOW_S)
def test_first_bundle_beats_the_prior_and_the_next_must_beat_it(config: RetrainConfig) -> None:
    stages: list[str] = []
    registry = Registry(config.models, config.arm.name)

    with pytest.raises(RetrainRefused, match="nominal"):
        retrain(replace(config, fit=USELESS))
    assert registry.versions() == (1,)

    first = retrain(config, lambda stage, share: stages.append(stage))
    assert first.model_id == "planar/2"
    assert registry.active() == 2
    assert first.reference_id == "nominal"
    assert first.candidate.position_15 < 0.5 * first.reference.position_15
    assert abs(first.delay_s - 0.012) <= 1e-3
    assert list(dict.fromkeys(stages)) == ["reading", "fitting", "judging", "exporting", "trying"]
    manifest = verify_bundle(first.path, config.arm)
    assert manifest.training is not None
    assert [row.steps for row in manifest.training.k_step] == [1, 5, 15]
    assert 0.5 < manifest.training.coverage_90 <= 1.0
    assert len(manifest.training.spread) == 15
    assert min(manifest.training.spread) > 0.0
    record = manifest.training.gate
    assert record is not None
    assert (record.reference_id, record.limit) == ("nominal", 0.0)
    assert record.difference < record.upper < 0.0
    assert record.nll_difference is None
    assert record.blocks == first.held_out_blocks
    assert [each.steps for each in manifest.training.calibration] == [1, 15]
    assert all(len(each.scale) == 3 * config.arm.joints for each in manifest.training.calibration)
    card = (first.path / CARD).read_text(encoding="utf-8")
    assert f"of nominal, mean of {record.blocks} held-out blocks" in card
    assert card.count("calibration error") == 2
    check_promise(manifest.training.promise, record.blocks, card)

    # A changed arm: the active bundle is wrong there, so one that learns from the new log passes.
    changed = config.models.parent / "changed.mcap"
    write_streams(
        changed,
        arm_streams(
            Arm(delay_ms=12, lag_ms=(130.0, 40.0)), 80.0, np.random.default_rng(3), start_ns=T0_NS + 200_000_000_000
        ),
    )
    both = replace(config, logs=(changed, *config.logs))
    second = retrain(replace(both, shadow=True))
    assert (first.active, second.active) == (True, False)
    assert (registry.active(), registry.candidate()) == (2, Candidate(version=3, windows=WINDOWS))
    assert (second.model_id, second.reference_id) == ("planar/3", "planar/2")
    assert second.candidate.position_15 < second.reference.position_15
    record = second.gate
    assert record.reference_id == "planar/2"
    assert record.upper < record.limit == pytest.approx(0.02 * record.reference)
    # The log of the arm as it was is an older regime: the parent is better there, which is said and does not decide.
    (older,) = record.others
    assert older.regime == 0
    assert "| another arm: innovation of " in (second.path / DATASET_CARD).read_text(encoding="utf-8")
    assert older.blocks >= 8
    assert older.reference < older.candidate
    assert "older regime 0" in (second.path / CARD).read_text(encoding="utf-8")
    assert verify_bundle(second.path, config.arm).parents == ("planar/2",)


def check_promise(promise: Promise | None, blocks: int, card: str) -> None:
    assert promise is not None
    assert promise.windows >= blocks
    assert all(0.0 < value < 10.0 for value in promise.innovation)
    assert f"- promised innovation 15 steps ahead, {promise.windows} windows: position " in card


@pytest.mark.timeout(SLOW_S)
def test_what_a_candidate_is_judged_by_it_has_not_seen(config: RetrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of training and judging never meet, and what both stand on stays a margin away."""
    seen: dict[str, Any] = {}
    real_fit, real_errors = learn_module.fit, judge_module.k_step_errors

    def fit(rows: Transitions, *rest: Any) -> Any:
        seen["train"] = rows.stamp_ns
        return real_fit(rows, *rest)

    def k_step_errors(ensemble: Any, rows: Transitions, *rest: Any) -> Any:
        seen["judged"] = rows.stamp_ns
        return real_errors(ensemble, rows, *rest)

    monkeypatch.setattr(learn_module, "fit", fit)
    monkeypatch.setattr(judge_module, "k_step_errors", k_step_errors)
    with pytest.raises(RetrainRefused):
        retrain(replace(config, fit=USELESS))
    train, judged = seen["train"], seen["judged"]
    assert len(train) > 3 * len(judged) > 0
    assert not np.isin(judged // BLOCK_NS, train // BLOCK_NS).any()
    assert np.abs(judged[:, None] - train[None, ::10]).min() >= MARGIN_NS


@pytest.mark.timeout(SLOW_S)
def test_what_an_operator_activated_meanwhile_stays(config: RetrainConfig, tmp_path: Path) -> None:
    """The candidate passed, but against another: it is kept, and not made active."""
    own = replace(config, models=tmp_path / "models")
    registry = Registry(own.models, own.arm.name)
    for _ in range(2):
        prior_bundle(own.arm, registry, 0.02, 0.01, 3, T0_NS)
    registry.activate(1)

    def operator(stage: str, _: float | None) -> None:
        if stage == "exporting":
            registry.activate(2)

    with pytest.raises(
        ActiveChanged, match=r"is 2 by now, no more 1; .*planar/3 was compared with that.*models promote 3"
    ):
        retrain(own, operator)
    assert (registry.active(), registry.versions()) == (2, (1, 2, 3))


@pytest.mark.timeout(SLOW_S)
def test_what_an_operator_activated_during_the_first_retraining_stays(config: RetrainConfig, tmp_path: Path) -> None:
    """Nothing was active when it began, so it was compared with the prior alone."""
    own = replace(config, models=tmp_path / "models")
    registry = Registry(own.models, own.arm.name)

    def operator(stage: str, _: float | None) -> None:
        if stage == "exporting":
            registry.activate(int(prior_bundle(own.arm, registry, 0.02, 0.01, 3, T0_NS).name))

    with pytest.raises(
        ActiveChanged,
        match=r"is 1 by now, where there was none; .*planar/2 was compared with the prior alone .*models promote 2",
    ):
        retrain(own, operator)
    assert (registry.active(), registry.versions()) == (1, (1, 2))


def test_one_phase_of_a_log_is_cut_out(tmp_path: Path) -> None:
    whole = arm_streams(Arm(), 12.0, np.random.default_rng(6))
    second = 1_000_000_000
    marks = ((T0_NS, "a"), (T0_NS + 2 * second, "b"), (T0_NS + 3 * second, "a"), (T0_NS + 6 * second, "c"))
    write_streams(tmp_path / "log.mcap", whole, marks)
    newest = read_streams(tmp_path / "log.mcap", "a")
    kept = (whole.belief_ns >= marks[2][0]) & (whole.belief_ns < marks[3][0])
    np.testing.assert_array_equal(newest.belief_ns, whole.belief_ns[kept])
    np.testing.assert_allclose(newest.velocity, whole.velocity[kept])
    assert newest.command_ns[0] >= marks[2][0]
    assert newest.command_ns[-1] < marks[3][0]
    assert read_streams(tmp_path / "log.mcap", "c").belief_ns[-1] == whole.belief_ns[-1]
    with pytest.raises(LogError, match="never was 'd'; name one of its phases: a, b, c"):
        read_streams(tmp_path / "log.mcap", "d")


def test_short_logs_and_foreign_arms_are_refused(config: RetrainConfig, tmp_path: Path) -> None:
    short = tmp_path / "short.mcap"
    write_streams(short, arm_streams(Arm(), 20.0, np.random.default_rng(4)))
    with pytest.raises(TooLittleData, match="newest regime"):
        retrain(replace(config, logs=(short,)))
    foreign = tmp_path / "foreign.mcap"
    write_streams(foreign, replace(arm_streams(Arm(), 3.0, np.random.default_rng(4)), joint_names=("a", "b")))
    with pytest.raises(ValueError, match=r"foreign\.mcap: belief\.joint_names"):
        retrain(replace(config, logs=(foreign,)))
    with pytest.raises(ValueError, match="--log"):
        retrain(replace(config, logs=()))


def test_newest_regime_carries_ninety_percent() -> None:
    streams = replace(arm_streams(Arm(), 30.0, np.random.default_rng(5)), payload_ns=np.array([T0_NS + 20_000_000_000]))
    rows = transitions_from_streams([streams], Grid(0.012))
    weights = regime_weights(rows)
    assert weights.mean() == pytest.approx(1.0)
    assert weights[rows.session == 1].sum() / weights.sum() == pytest.approx(0.9)


def test_a_shadow_needs_something_to_stand_behind(config: RetrainConfig, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="names no bundle to compare with; retrain without --shadow"):
        retrain(replace(config, models=tmp_path, shadow=True))
