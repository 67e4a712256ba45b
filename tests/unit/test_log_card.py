"""The card of a log: counted in the data, whoever recorded it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_control.cli import main as cli
from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.log_card import as_markdown, log_card
from mbrl_control.episode_log.errors import LogError
from mbrl_control.replay.dataset import rows_left_out
from mbrl_control.replay.importing.report import JSON_NAME
from mbrl_control.replay.joint_coverage import BINS, NEAR_RAD, coverage, joint_figures
from mbrl_control.replay.transitions import Grid, cut_transitions
from mbrl_control.robot import load_arm
from tests.unit.foreign_recordings import TABLE, jittered, run, write_csv
from tests.unit.synthetic_log import Arm, arm_streams, write_streams

PLANAR = load_arm(arm_file("planar"))
WHOLE = arm_streams(Arm(), 20.0, np.random.default_rng(0))


@settings(max_examples=30)
@given(
    off=st.tuples(st.integers(0, 3999), st.integers(0, 400)),
    silent=st.tuples(st.integers(0, 399), st.integers(0, 40)),
    lost=st.tuples(st.integers(1, 4900), st.integers(0, 90)),
)
def test_rows_kept_and_left_out_are_all_that_there_could_be(
    off: tuple[int, int], silent: tuple[int, int], lost: tuple[int, int]
) -> None:
    """Drives off, a silent relay, a gap in the state, in any place and length: each row has one reason, or is there."""
    enabled, publishing = WHOLE.drives_enabled.copy(), WHOLE.publishing.copy()
    enabled[off[0] : sum(off)] = False
    publishing[silent[0] : sum(silent)] = False
    stays = np.ones(len(WHOLE.belief_ns), dtype=bool)
    stays[lost[0] : sum(lost)] = False
    beliefs = {name: getattr(WHOLE, name)[stays] for name in ("belief_ns", "position", "velocity", "effort")}
    streams = replace(WHOLE, drives_enabled=enabled, publishing=publishing, **beliefs)
    moments, why = rows_left_out(streams, Grid(0.012), {})
    assert moments - sum(why.values()) == len(cut_transitions(streams, Grid(0.012)))
    if off[1] and 100 < off[0] < 3800:
        assert why["drives off"] >= off[1] // 2 - 1, "commands come every 5 ms, rows every 10"
    assert all(count > 0 for count in why.values())


def test_where_joints_were_and_were_not_is_counted() -> None:
    rows = cut_transitions(WHOLE, Grid(0.012))
    for index, joint in enumerate(joint_figures(rows, WHOLE.joint_names, PLANAR)):
        position, speed = rows.position[:, index], np.abs(rows.velocity[:, index])
        assert len(joint.bins) == BINS
        assert sum(each.rows for each in joint.bins) == len(rows)
        for each in joint.bins:
            inside = (position >= each.begin) & (position < each.end)
            if each is joint.bins[0] or each is joint.bins[-1]:
                continue  # what lies beyond an end counts there
            assert each.rows == inside.sum()
            assert each.speed == pytest.approx(speed[inside].max() if inside.any() else 0.0)
        for begin, end in joint.empty:
            assert not ((position > begin) & (position < end)).any()
        assert (joint.least, joint.most, joint.speed_most) == (position.min(), position.max(), speed.max())


def test_coverage_is_the_share_of_poses_near_a_row() -> None:
    axes = [np.linspace(low, high, 12) for low, high in zip(PLANAR.box_lower, PLANAR.box_upper, strict=True)]
    everywhere = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    assert (PLANAR.box_upper - PLANAR.box_lower).max() / 11 < NEAR_RAD
    assert coverage(everywhere, PLANAR).share == 1.0
    middle = 0.5 * (PLANAR.box_lower + PLANAR.box_upper)
    spans = (2 * NEAR_RAD / (PLANAR.box_upper - PLANAR.box_lower)).clip(max=1.0)
    assert coverage(middle[None], PLANAR).share == pytest.approx(float(spans.prod()), abs=0.05)
    assert coverage(middle[None] + 10.0, PLANAR).share == 0.0


def test_the_card_of_a_log_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_streams(tmp_path / "log.mcap", WHOLE)
    card = log_card(tmp_path / "log.mcap", "planar")
    assert card.delay_s == pytest.approx(0.012, abs=1e-3)
    assert card.log.rows + sum(card.log.left_out.values()) == card.log.moments
    assert card.coverage is not None
    told = as_markdown(card)
    assert f"declared payload: {card.log.payloads_kg[0]:g} kg" in told
    assert f"delay from command to motion: {card.delay_s * 1e3:.0f} ms" in told
    assert str(tmp_path) not in told
    with pytest.raises(SystemExit, match="0"):
        cli.main(["log", "card", str(tmp_path / "log.mcap"), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["log"]["rows"] == card.log.rows
    assert said["coverage"] is None, "no arm was named"
    assert said["joints"][0]["lower"] == said["joints"][0]["least"]
    with pytest.raises(LogError, match=r"belief\.joint_names"):
        log_card(tmp_path / "log.mcap", "ur5e")


def test_a_log_without_a_row_says_so(tmp_path: Path) -> None:
    write_streams(tmp_path / "log.mcap", replace(WHOLE, drives_enabled=np.zeros_like(WHOLE.drives_enabled)))
    card = log_card(tmp_path / "log.mcap", "planar")
    assert (card.log.rows, card.delay_s, card.joints) == (0, None, ())
    assert set(card.log.left_out) >= {"drives off"}
    told = as_markdown(card)
    assert "not found: logs: no 2 s with drives on" in told
    assert "nothing can be learned from this log" in told


def test_the_card_of_an_imported_log_says_what_the_import_said(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", jittered(np.random.default_rng(0)))
    report = run(tmp_path / "a.csv", TABLE, tmp_path / "log")
    card = log_card(tmp_path / "log", "planar")
    imported = card.log.source.imported
    assert imported is not None
    assert imported.bad_rows == report.bad_count
    assert imported.usable_s == report.usable_s
    assert [each.sha256 for each in imported.sources] == [each.sha256 for each in report.sources]
    told = as_markdown(card)
    assert "effort was not recorded and is zero" in told
    assert "from a.csv" in told
    (tmp_path / "log" / JSON_NAME).write_text('{"format": 1}')
    with pytest.raises(LogError, match=r"import\.json: robot: Field required; import the recording again"):
        log_card(tmp_path / "log", "planar")
