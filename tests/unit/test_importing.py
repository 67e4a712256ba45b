"""Imports against motions known in closed form, and against this project's own logs."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from mbrl_control.cli.main import build_app
from mbrl_control.command_interface import CommandInterface
from mbrl_control.episode_log.bag_metadata import summary_of
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.export import export
from mbrl_control.episode_log.folder import log_files
from mbrl_control.replay.delay import estimate_delay
from mbrl_control.replay.importing.clean import longest_growing
from mbrl_control.replay.importing.report import JSON_NAME, TEXT_NAME
from mbrl_control.replay.streams import Streams, read_streams
from mbrl_control.replay.transitions import Grid, cut_transitions, transitions_from_logs
from tests.unit import foreign_recordings as foreign
from tests.unit.foreign_recordings import BAG, HDF5, T0_NS, TABLE, jittered, regular, run, write_bag, write_csv
from tests.unit.synthetic_log import Arm, arm_streams, write_streams

DOCUMENT = Path(__file__).parents[2] / "docs" / "importing.md"
EXAMPLES = {
    match[1]: match[2] for match in re.finditer(r"```yaml\n# ([a-z0-9]+)\.yaml\n(.*?)```", DOCUMENT.read_text(), re.S)
}


def agrees_with_the_motion(streams: Streams, atol: float = 1e-9) -> None:
    seconds = (streams.belief_ns - T0_NS) * 1e-9
    assert len(seconds) > 100
    np.testing.assert_allclose(streams.position, foreign.position(seconds), atol=atol)
    np.testing.assert_allclose(streams.velocity, foreign.velocity(seconds), atol=10 * atol)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_log_exported_and_imported_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    """Drives off in between: what was no command does not become one."""
    streams = arm_streams(Arm(), 6.0, np.random.default_rng(4))
    off = np.abs(streams.command_ns - streams.command_ns[600]) < 100_000_000
    streams = replace(streams, drives_enabled=~off)
    write_streams(tmp_path / "log.mcap", streams)
    export(tmp_path / "log.mcap", tmp_path / "tables", kind)
    report = run(tmp_path / "tables", EXAMPLES["exported"].replace(".csv", f".{kind}"), tmp_path / "back")
    ours = transitions_from_logs([tmp_path / "log.mcap"], Grid(0.012))
    back = transitions_from_logs([tmp_path / "back"], Grid(0.012))
    assert len(ours) - 20 <= len(back) <= len(ours)
    shared = np.isin(ours.stamp_ns, back.stamp_ns)
    assert shared.sum() == len(back), "no row that the log itself does not give"
    for name in ("position", "velocity", "history", "action", "next_position", "next_velocity", "next_effort"):
        np.testing.assert_allclose(getattr(back, name), getattr(ours, name)[shared], atol=1e-9)
    assert report.bad_count == off.sum()
    assert {bad.why for bad in report.bad_rows} == {"no command in force"}


def test_a_uniform_recording_comes_through_as_it_is(tmp_path: Path) -> None:
    motion = regular()
    write_csv(tmp_path / "a.csv", motion)
    report = run(tmp_path / "a.csv", TABLE, tmp_path / "log")
    streams = read_streams(tmp_path / "log")
    np.testing.assert_array_equal(streams.belief_ns, motion.ns)
    np.testing.assert_array_equal(streams.position, motion.q)
    np.testing.assert_array_equal(streams.velocity, motion.dq)
    np.testing.assert_allclose(streams.applied[streams.drives_enabled], motion.u, atol=1e-12)
    assert streams.effort.max() == 0.0
    assert any("effort was not recorded" in note for note in report.notes)
    assert report.bad_rows == report.state.gaps == report.command.gaps == ()


def test_jittered_stamps_are_resampled_within_the_error_of_linear_interpolation(tmp_path: Path) -> None:
    """|error| <= h^2 max|q''| / 8 (de Boor, A Practical Guide to Splines, chapter III), h the longest interval."""
    motion = jittered(np.random.default_rng(0))
    write_csv(tmp_path / "a.csv", motion)
    report = run(tmp_path / "a.csv", {**TABLE, "state": {"period_ms": 4.0}}, tmp_path / "log")
    streams = read_streams(tmp_path / "log")
    assert set(np.diff(streams.belief_ns)) == {4_000_000}
    longest = float(np.diff(motion.seconds).max())
    bound = longest**2 / 8 * (foreign.AMPLITUDE * foreign.OMEGA**2)
    error = np.abs(streams.position - foreign.position((streams.belief_ns - T0_NS) * 1e-9))
    assert (error.max(axis=0) <= bound).all()
    assert error.max() > 0.0
    assert report.state.period_ms == 4.0


def test_resampling_commands_moves_none_of_them(tmp_path: Path) -> None:
    """The integral of a held command up to any instant of the grid stays what it was: no delay is added."""
    motion = jittered(np.random.default_rng(1))
    write_csv(tmp_path / "a.csv", motion)
    run(tmp_path / "a.csv", TABLE, tmp_path / "log")
    streams = read_streams(tmp_path / "log")
    grid, applied = streams.command_ns[:-1], streams.applied[:-1]
    edges = (streams.command_ns - streams.command_ns[0]) * 1e-9
    seconds = motion.seconds - motion.seconds[0]
    held = np.vstack([np.zeros((1, 2)), np.cumsum(np.diff(seconds)[:, None] * motion.u[:-1], axis=0)])
    inside = edges <= seconds[-1]
    exact = np.stack([np.interp(edges[inside], seconds, held[:, joint]) for joint in range(2)], axis=1)
    ours = np.vstack([np.zeros((1, 2)), np.cumsum(np.diff(edges)[:, None] * applied, axis=0)])[inside]
    assert len(grid) > 250
    np.testing.assert_allclose(ours, exact, atol=1e-9)


def test_a_known_delay_survives_jitter_and_resampling(tmp_path: Path) -> None:
    streams = arm_streams(Arm(delay_ms=12), 20.0, np.random.default_rng(2))
    rng = np.random.default_rng(3)
    rows = []
    for kind, stamps, values in (
        ("q", streams.belief_ns, streams.position),
        ("u", streams.command_ns, streams.applied),
    ):
        kept = rng.random(len(stamps)) > 0.3  # 30 % of the messages were lost
        table = zip(stamps[kept].tolist(), values[kept].tolist(), strict=True)
        rows += [(ns, f"{ns},{a!r},{b!r},," if kind == "q" else f"{ns},,,{a!r},{b!r}") for ns, (a, b) in table]
    path = tmp_path / "merged.csv"
    path.write_text("\n".join(["t,q_joint_a,q_joint_b,u_joint_a,u_joint_b", *(text for _, text in sorted(rows))]))
    state = {"time": "t", "time_unit": "ns", "position": "q_{joint}"}
    command = {"time": "t", "time_unit": "ns", "command": "u_{joint}"}
    grids = {"state": {"max_gap_ms": 50.0}, "command": {"max_gap_ms": 50.0}}
    report = run(path, {**TABLE, **grids, "tables": {"state": state, "command": command}}, tmp_path / "log")
    assert report.velocity == "derived"
    assert report.state.bridged > 100
    found = estimate_delay(read_streams(tmp_path / "log"))
    assert abs(found.delay_s - 0.012) <= 0.003, "a loss of 30 % holds commands too long, which is the recording's"


def test_velocity_is_derived_where_it_is_missing_and_the_report_says_so(tmp_path: Path) -> None:
    motion = jittered(np.random.default_rng(2))
    write_csv(tmp_path / "a.csv", motion, skip=("dq",))
    tables = TABLE["tables"]
    state = {key: value for key, value in tables["state"].items() if key != "velocity"}
    report = run(tmp_path / "a.csv", {**TABLE, "tables": {**tables, "state": state}}, tmp_path / "log")
    streams = read_streams(tmp_path / "log")
    seconds = (streams.belief_ns - T0_NS) * 1e-9
    np.testing.assert_allclose(streams.velocity[1:-1], foreign.velocity(seconds)[1:-1], atol=2e-3)
    assert report.velocity == "derived"
    assert "derived from position" in (tmp_path / "log" / TEXT_NAME).read_text()


def test_a_gap_splits_and_is_reported_with_its_rows(tmp_path: Path) -> None:
    motion = regular(4.0)
    hole = (motion.seconds < 1.995) | (motion.seconds > 2.195)
    write_csv(tmp_path / "a.csv", foreign.Motion(motion.seconds[hole]))
    report = run(tmp_path / "a.csv", TABLE, tmp_path / "log")
    (gap,) = report.state.gaps
    assert (gap.after_row, gap.before_row, gap.length_ns) == (201, 202, 210_000_000)
    assert report.state.stretches == report.command.stretches == len(report.spans_ns) == 2
    rows = cut_transitions(read_streams(tmp_path / "log"), Grid(0.0))
    seconds = (rows.stamp_ns - T0_NS) * 1e-9
    assert len(np.unique(rows.segment)) == 2
    assert not ((seconds > 1.98) & (seconds < 2.2 + 0.06)).any(), "no row reads the hole, history included"
    np.testing.assert_allclose(rows.next_position, foreign.position(seconds + 0.02), atol=1e-9)


def test_a_gap_shorter_than_the_bound_is_bridged_and_counted(tmp_path: Path) -> None:
    motion = regular()
    kept = np.ones(len(motion.seconds), dtype=bool)
    kept[[100, 200, 201]] = False
    write_csv(tmp_path / "a.csv", foreign.Motion(motion.seconds[kept]))
    report = run(tmp_path / "a.csv", {**TABLE, "state": {"max_gap_ms": 25.0}}, tmp_path / "log")
    assert (report.state.bridged, len(report.state.gaps)) == (1, 1)
    assert (report.command.bridged, len(report.command.gaps)) == (2, 0)
    assert report.command.longest_bridged_ms == pytest.approx(30.0)


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda plugin: plugin.name)
def test_rosbag2_joints_by_name_in_any_order(tmp_path: Path, plugin: StoragePlugin) -> None:
    motion = regular()
    write_bag(tmp_path / "bag", motion, plugin)
    report = run(tmp_path / "bag", BAG, tmp_path / "log")
    streams = read_streams(tmp_path / "log")
    agrees_with_the_motion(streams)
    np.testing.assert_allclose(streams.applied[:-1], motion.u, atol=1e-12)
    assert any("messages of other joints: 6, passed over" in note for note in report.notes)
    assert {each.name for each in report.sources} >= {"metadata.yaml"}
    (data,) = [path for path in (tmp_path / "bag").iterdir() if path.suffix in (".db3", ".mcap")]
    single = run(data, BAG, tmp_path / "single")
    assert single.sources[0].sha256 == hashlib.sha256(data.read_bytes()).hexdigest()
    np.testing.assert_array_equal(read_streams(tmp_path / "single").position, streams.position)


@pytest.mark.parametrize("mode", [CompressionMode.MESSAGE, CompressionMode.FILE], ids=lambda mode: mode.name)
def test_bags_that_rosbag2_compressed_are_read(tmp_path: Path, mode: CompressionMode) -> None:
    write_bag(tmp_path / "bag", regular(), compression=mode)
    run(tmp_path / "bag", BAG, tmp_path / "log")
    np.testing.assert_array_equal(read_streams(tmp_path / "log").position, regular().q)


def test_commands_may_be_torques(tmp_path: Path) -> None:
    """Which no unit of angles scales."""
    write_csv(tmp_path / "a.csv", regular(), unit=180 / np.pi)
    mapping = {**TABLE, "interface": "effort", "unit": "deg"}
    with pytest.raises(LogError, match=r"command: elbow is outside \[-22.5, 22.5\]"):
        run(tmp_path / "a.csv", mapping, tmp_path / "log")
    write_csv(tmp_path / "a.csv", regular())
    run(tmp_path / "a.csv", {**mapping, "unit": "rad"}, tmp_path / "log")
    streams = read_streams(tmp_path / "log")
    assert streams.interface is CommandInterface.EFFORT
    np.testing.assert_allclose(streams.applied[:-1], regular().u, atol=1e-12)


def test_a_log_of_ours_is_a_source_too(tmp_path: Path) -> None:
    streams = arm_streams(Arm(), 3.0, np.random.default_rng(5))
    write_streams(tmp_path / "log.mcap", streams)
    topics = {"state": {"name": "belief"}, "command": {"name": "safe_command", "enabled": "drives_enabled"}}
    mapping = {"joints": {"shoulder": "shoulder", "elbow": "elbow"}, "topics": topics}
    run(tmp_path / "log.mcap", mapping, tmp_path / "back")
    back = read_streams(tmp_path / "back")
    np.testing.assert_array_equal(back.velocity, streams.velocity)
    np.testing.assert_array_equal(back.effort, streams.effort)
    again = run(tmp_path / "back", mapping, tmp_path / "again")  # a folder
    np.testing.assert_allclose(read_streams(tmp_path / "again").applied, back.applied, atol=1e-12)
    assert [each.name for each in again.sources] == ["log_0.mcap"]


def test_d4rl_episodes_end_at_terminals_and_timeouts(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    motion = regular(4.0)
    ends = {"terminals": np.zeros(400, dtype=bool), "timeouts": np.zeros(400, dtype=bool)}
    ends["terminals"][149] = ends["timeouts"][249] = True
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["observations"] = np.concatenate([motion.q, motion.dq], axis=1).astype(np.float32)
        file["actions"] = (motion.u / 1.5).astype(np.float32)
        for name, values in ends.items():
            file[name] = values
    layout = {**HDF5["hdf5"], "action_scale": [1.5, 1.5]}
    report = run(tmp_path / "a.hdf5", {**HDF5, "hdf5": layout}, tmp_path / "log")
    assert [(gap.after_row, gap.before_row) for gap in report.state.gaps] == [(149, 150), (249, 250)]
    assert {"terminals: 1", "timeouts: 1", "3 episodes"} <= set(report.notes)
    streams = read_streams(tmp_path / "log")
    np.testing.assert_allclose(streams.position, motion.q, atol=1e-6)
    np.testing.assert_allclose(streams.applied[streams.drives_enabled], motion.u, atol=1e-6)
    assert len(np.unique(cut_transitions(streams, Grid(0.0)).segment)) == 3


def test_minari_has_a_group_per_episode_and_one_observation_more(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    motion = regular(1.0)
    with h5py.File(tmp_path / "main_data.hdf5", "w") as file:
        for number in (0, 2, 10):
            group = file.create_group(f"episode_{number}")
            group["observations"] = np.concatenate([motion.q + 0.01 * number, motion.dq], axis=1)
            group["actions"] = motion.u[:-1]
    report = run(tmp_path / "main_data.hdf5", HDF5, tmp_path / "log")
    assert [gap.where for gap in report.state.gaps] == ["episode_0", "episode_2"], "in the order of their numbers"
    assert report.command.samples == 3 * 99
    streams = read_streams(tmp_path / "log")
    np.testing.assert_allclose(streams.position.reshape(3, 100, 2)[2], motion.q + 0.1)
    rows = cut_transitions(streams, Grid(0.0))
    assert len(np.unique(rows.segment)) == 3


@given(st.lists(st.integers(min_value=0, max_value=30), max_size=14))
def test_no_larger_set_of_rows_has_growing_stamps(stamps: list[int]) -> None:
    kept = longest_growing(np.array(stamps, dtype=np.int64))
    chosen = np.array(stamps)[kept]
    assert (np.diff(chosen) > 0).all()
    best = [1] * len(stamps)
    for i in range(len(stamps)):
        best[i] = 1 + max((best[j] for j in range(i) if stamps[j] < stamps[i]), default=0)
    assert kept.sum() == max(best, default=0)


def test_the_command_line_makes_a_bag_with_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(tmp_path / "a.csv", regular())
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(TABLE))
    out = tmp_path / "out" / "log"
    arguments = ["log", "import", str(tmp_path / "a.csv"), "--out", str(out), "--map", str(tmp_path / "map.yaml")]
    build_app()([*arguments, "--robot", "planar"], standalone_mode=False)
    assert "0 rows left out, 0 gaps" in capsys.readouterr().out
    report = json.loads((out / JSON_NAME).read_text())
    source = (tmp_path / "a.csv").read_bytes()
    assert report["sources"] == [{"name": "a.csv", "bytes": len(source), "sha256": hashlib.sha256(source).hexdigest()}]
    assert str(tmp_path) not in (out / JSON_NAME).read_text() + (out / TEXT_NAME).read_text()
    assert all(summary_of(path) is not None for path in log_files(out))
    assert "log_0.mcap" in (out / "metadata.yaml").read_text()


def test_the_examples_of_the_document_work(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    assert set(EXAMPLES) == {"bag", "table", "exported", "hdf5"}  # `exported` has the round trip above
    motion = regular(3.0, 0.02)
    write_bag(tmp_path / "bag", motion, command_topic="/forward_velocity_controller/commands")
    write_csv(tmp_path / "table.csv", motion, unit=180 / np.pi)
    with h5py.File(tmp_path / "flat.hdf5", "w") as file:
        file["observations"] = np.concatenate([motion.q, motion.dq], axis=1)
        file["actions"] = motion.u / 1.5
    for source, name in (("bag", "bag"), ("table.csv", "table"), ("flat.hdf5", "hdf5")):
        run(tmp_path / source, EXAMPLES[name], tmp_path / f"log_{name}")
        streams = read_streams(tmp_path / f"log_{name}")
        np.testing.assert_allclose(streams.position, motion.q, atol=1e-9)
        np.testing.assert_allclose(streams.applied[:-1], motion.u, atol=1e-9)
