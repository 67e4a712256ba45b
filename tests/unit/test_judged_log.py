"""`models judge`: a bundle on a log of its own, on synthetic logs of an arm that is known exactly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from mbrl_control.cli import main as cli
from mbrl_control.cli.locations import arm_file
from mbrl_control.deployment.bundle import load_weights, prior_bundle
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.judged_log import FIGURES, PICTURE, SCORES, CannotJudge, Judge, judge_log, judged_rows
from mbrl_control.learning.calibration import CALIBRATED_STEPS, Errors, fit_scale, judged, judged_as_scaled
from mbrl_control.learning.fit_ensemble import FitSettings
from mbrl_control.learning.open_loop import predictions
from mbrl_control.replay.blocks import BLOCK_NS, split_blocks
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.streams import read_streams
from mbrl_control.retrain import RetrainConfig, retrain
from mbrl_control.robot import load_arm
from tests.patience import SLOW_S, UNCUT_S
from tests.unit.noisy_arm import knowing, noisy_arm
from tests.unit.synthetic_log import T0_NS, Arm, arm_streams, write_streams

QUICK = FitSettings(trained_members=3, elites=2, width=24, epochs=20, max_seconds=UNCUT_S)
SECOND = 1_000_000_000
PLANAR = load_arm(arm_file("planar"))
SLOW, WORN = Arm(lag_ms=(70.0, 90.0)), Arm(lag_ms=(130.0, 40.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs: what bundle 2 has learned from, two later ones of the same arm, one of an arm that has changed."""
    folder = tmp_path_factory.mktemp("judged")
    logs = {
        "learned": (SLOW, 80.0, 0),
        "same": (SLOW, 40.0, 1000),
        "null": (SLOW, 40.0, 2000),
        "worn": (WORN, 40.0, 3000),
    }
    for seed, (name, (arm, seconds, begin)) in enumerate(logs.items()):
        streams = arm_streams(arm, seconds, np.random.default_rng(seed), T0_NS + begin * SECOND)
        write_streams(folder / f"{name}.mcap", streams)
    registry = Registry(folder / "models", PLANAR.name)
    registry.activate(int(prior_bundle(PLANAR, registry, 0.02, 0.01, 3, T0_NS).name))
    retrain(RetrainConfig((folder / "learned.mcap",), folder / "models", PLANAR, T0_NS, fit=QUICK))
    return folder


@pytest.fixture(scope="module")
def judge(folder: Path) -> Judge:
    path = Registry(folder / "models", PLANAR.name).path(2)
    return Judge(verify_bundle(path, PLANAR), load_weights(path, PLANAR), PLANAR)


def run(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["models", "judge", *arguments, "--robot", "planar", "--registry", str(folder / "models")])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.mark.timeout(SLOW_S)
def test_one_line_of_figures_and_a_picture(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, null, out = folder / "worn.mcap", folder / "null.mcap", tmp_path / "judged"
    status, printed, _ = run(capsys, folder, "2", "--log", str(log), "--null", str(null), "--out", str(out))
    assert status == 0
    (line,) = printed.splitlines()
    said = json.loads(line)
    assert said == json.loads((out / FIGURES).read_text(encoding="utf-8"))
    assert (said["model_id"], said["rows_judged"], said["log"]) == ("planar/2", "all", str(log))
    assert said["plots"] == [str(out / PICTURE)]
    assert matplotlib.image.imread(out / PICTURE).std() > 0.05
    # A changed arm: told by innovation, in any window, and a running graph would have said so.
    for window in ("0.5_s", "1_s", "2_s"):
        assert set(said["auroc"][window]) == set(SCORES)
        assert said["auroc"][window]["innovation"] > 0.95
        assert said["innovation"][window]["windows"] >= 10
        assert abs(said["innovation"][window]["null"] - 0.5) < 0.3
    assert said["promise"]["exceeded"]
    status, _, err = run(capsys, folder, "2", "--log", str(log), "--out", str(out))
    assert (status, "--out: exists already" in err) == (2, True)


@pytest.mark.timeout(SLOW_S)
def test_the_same_arm_on_another_day_keeps_what_the_bundle_says(folder: Path, judge: Judge) -> None:
    same = judge_log(judge, folder / "same.mcap", None, None, folder / "null.mcap")
    worn = judge_log(judge, folder / "worn.mcap", None, None, None)
    assert same["promise"]["exceeded"] == []
    assert same["ece_15"] < worn["ece_15"]
    assert same["nll"] < worn["nll"]
    assert abs(same["auroc"]["1_s"]["innovation"] - 0.5) < 0.3
    assert "auroc" not in worn
    # Held-out blocks as the null: too short for windows of a second, which is no reason to say nothing.
    by_own = judge_log(judge, folder / "worn.mcap", None, None, folder / "learned.mcap")["auroc"]
    assert by_own["0.5_s"]["innovation"] > 0.95
    assert by_own["2_s"]["innovation"] is None
    assert same["errors"][-1]["position"] < same["errors"][-1]["nominal_position"]
    assert 0.0 <= same["spread"]["share_beyond"] < 0.2
    # Its own scale, on rows that this scale has not seen.
    ahead = {each.steps: each for each in predictions(judge.ensemble, rows_of(folder, "same", judge), CALIBRATED_STEPS)}
    for steps in CALIBRATED_STEPS:
        expected = judged_as_scaled(steps, judge.scales[steps], Errors.of(ahead[steps]))
        assert same[f"ece_{steps}"] == pytest.approx(expected.ece)
        assert same[f"ece_constant_{steps}"] == pytest.approx(expected.ece_constant)


def rows_of(folder: Path, name: str, judge: Judge) -> Any:
    return judged_rows(read_streams(folder / f"{name}.mcap"), judge)[0]


def test_of_what_it_has_learned_from_only_the_held_out_blocks_judge(folder: Path, judge: Judge) -> None:
    streams = read_streams(folder / "learned.mcap")
    rows, unseen = judged_rows(streams, judge)
    assert not unseen
    every, _ = judged_rows(streams, replace(judge, manifest=forgetful(judge)))
    assert 0 < len(rows) < 0.3 * len(every)
    held = every.stamp_ns[split_blocks(every, 20_000_000).held]
    assert np.isin(rows.stamp_ns // BLOCK_NS, held // BLOCK_NS).all()
    with pytest.raises(TooLittleData, match="no held-out block of 2 s"):
        judged_rows(read_streams(folder / "learned.mcap", newest_ns=SECOND), judge)


def forgetful(judge: Judge) -> Any:
    """The manifest of a bundle that has learned from no log, as shipped ones are."""
    assert judge.manifest.training is not None
    training = judge.manifest.training.model_copy(update={"newest_ns": 0})
    return judge.manifest.model_copy(update={"training": training})


def test_what_cannot_be_judged_is_said_in_one_line(
    folder: Path, judge: Judge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(capsys, folder, "1", "--log", str(folder / "same.mcap"), "--out", str(tmp_path / "prior"))
    assert (status, "planar/1: manifest.json: training.calibration" in err) == (2, True)
    foreign = replace(arm_streams(SLOW, 3.0, np.random.default_rng(9)), joint_names=("a", "b"))
    write_streams(tmp_path / "foreign.mcap", foreign)
    with pytest.raises(ValueError, match=r"foreign\.mcap: belief\.joint_names"):
        judge_log(judge, tmp_path / "foreign.mcap", None, None, None)
    still = arm_streams(SLOW, 6.0, np.random.default_rng(9))
    write_streams(tmp_path / "off.mcap", replace(still, drives_enabled=np.zeros_like(still.drives_enabled)))
    with pytest.raises(TooLittleData, match="no row with drives enabled"):
        judge_log(judge, tmp_path / "off.mcap", None, None, None)
    assert not (tmp_path / "prior").exists()
    assert issubclass(CannotJudge, ValueError)


@pytest.mark.parametrize("off", [0.5, 1.0, 2.0])
def test_a_scale_that_is_known_is_judged_as_it_is(off: float) -> None:
    """The noise is known exactly: with a scale of one the spread is as wide as the errors and the best constant one."""
    (one,) = predictions(knowing(0.05), noisy_arm(0.05, 3, 8000), (1,))
    # Position has no noise of its own there: velocity and effort say it.
    errors = Errors(one.error[:, 1:], one.std[:, 1:])
    found = judged_as_scaled(1, np.full(2, off), errors)
    assert found.scale == (off, off)
    assert found.sharpness_ratio == pytest.approx(off, rel=0.1)
    assert (found.ece < 0.02) == (off == 1.0)
    assert found.ece_constant < 0.02
    # The constant spread is the best of the judged rows themselves.
    scaled = judged(1, errors, errors)
    assert found.nll_constant == pytest.approx(scaled.nll_constant)
    assert np.allclose(fit_scale(errors.constant()), errors.std[0] * fit_scale(errors))
