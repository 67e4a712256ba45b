"""Broken, hostile and mistaken sources: one line that says what to do, or a row left out and reported by its number."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import StoragePlugin

from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.main import main
from mbrl_control.episode_log.errors import LogError
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.importing.series import BadRows
from mbrl_control.replay.streams import read_streams
from mbrl_control.retrain import RetrainConfig, retrain
from mbrl_control.robot import load_arm
from tests.unit import foreign_recordings as foreign
from tests.unit.foreign_recordings import BAG, HDF5, TABLE, regular, run, write_bag, write_csv
from tests.unit.synthetic_log import Arm, arm_streams, write_streams

Edit = Callable[[list[str]], None]


def cells(lines: list[str], line: int, **changed: str) -> str:
    """A line (from 1, as in an editor) with cells changed."""
    head = lines[0].split(",")
    row = dict(zip(head, lines[line - 1].split(","), strict=True)) | changed
    return ",".join(row.values())


def swap(lines: list[str], line: int, **changed: str) -> None:
    lines[line - 1] = cells(lines, line, **changed)


def ragged(lines: list[str]) -> None:
    lines[49] += ",1.0"
    lines[50] = lines[50].rsplit(",", 1)[0]


def wild_stamp(lines: list[str]) -> None:
    """Far ahead, but all that follow are still used."""
    swap(lines, 50, t="1900000000000")


def backward(lines: list[str]) -> None:
    lines[49], lines[50] = lines[50], lines[49]


@pytest.mark.parametrize(
    ("edit", "state"),
    [
        (ragged, [(50, "has 10 cells, the head has 9"), (51, "has 8 cells, the head has 9")]),
        (lambda lines: swap(lines, 50, q_joint_b="nan"), [(50, "holds a number that is not finite")]),
        (lambda lines: swap(lines, 50, dq_joint_a=""), [(50, "velocity is not finite")]),
        (lambda lines: swap(lines, 50, dq_joint_a="1_0"), [(50, "'1_0' is not a number")]),
        (lambda lines: swap(lines, 50, t="later"), [(50, "time is not a number")]),
        (lambda lines: swap(lines, 50, t="inf"), [(50, "time is not a number")]),
        (lambda lines: swap(lines, 50, t="-5"), [(50, "stamp outside of 1970 to 2038")]),
        (lambda lines: swap(lines, 50, q_joint_a="57.0"), [(50, "position is beyond the arm's limits (shoulder)")]),
        (lambda lines: lines.insert(50, lines[49]), [(51, "stamp was there already")]),
        (wild_stamp, [(50, "stamp goes backward, or is ahead of those that follow")]),
        (backward, [(50, "stamp goes backward, or is ahead of those that follow")]),
    ],
    ids=["ragged", "nan", "empty", "digits", "text", "inf", "negative", "beyond", "repeated", "wild", "backward"],
)
def test_a_bad_row_is_left_out_and_named_by_its_line(tmp_path: Path, edit: Edit, state: list[tuple[int, str]]) -> None:
    motion = regular()
    lines = write_csv(tmp_path / "a.csv", motion)
    edit(lines)
    (tmp_path / "a.csv").write_text("\n".join(lines))
    report = run(tmp_path / "a.csv", TABLE, tmp_path / "log")
    assert [(bad.first, bad.why) for bad in report.bad_rows] == state
    assert report.state.samples == len(lines) - 1 - len(state)
    streams = read_streams(tmp_path / "log")
    step = 0.03**2 / 8 * (foreign.AMPLITUDE * foreign.OMEGA**2).max()
    seconds = (streams.belief_ns - foreign.T0_NS) * 1e-9
    np.testing.assert_allclose(streams.position, foreign.position(seconds), atol=step)


def test_many_bad_rows_are_reported_as_ranges(tmp_path: Path) -> None:
    lines = write_csv(tmp_path / "a.csv", regular())
    for line in range(20, 120):
        swap(lines, line, q_joint_a="x")
    (tmp_path / "a.csv").write_text("\n".join(lines))
    report = run(tmp_path / "a.csv", TABLE, tmp_path / "log")
    assert BadRows("a.csv", 20, 119, "'x' is not a number") in report.bad_rows
    assert (report.state.gaps[0].after_row, report.state.gaps[0].before_row) == (19, 120)


def refused(tmp_path: Path, source: Path, mapping: dict[str, Any] | str, match: str, robot: str = "planar") -> None:
    with pytest.raises(LogError, match=match):
        run(source, mapping, tmp_path / "refused", robot)
    assert not list(tmp_path.glob("refused*/")), "nothing is left behind"


def test_degrees_are_told_from_radians_and_the_remedy_is_named(tmp_path: Path) -> None:
    degrees = 180 / np.pi
    write_csv(tmp_path / "deg.csv", regular(), unit=degrees)
    refused(tmp_path, tmp_path / "deg.csv", TABLE, "looks like degrees; write `unit: deg`")
    run(tmp_path / "deg.csv", {**TABLE, "unit": "deg"}, tmp_path / "log")
    np.testing.assert_allclose(read_streams(tmp_path / "log").position, regular().q, atol=1e-12)
    lines = write_csv(tmp_path / "mixed.csv", regular())
    rows = [line.split(",") for line in lines[1:]]
    mixed = [",".join([*r[:3], *(repr(float(x) * degrees) for x in r[3:5]), *r[5:]]) for r in rows]
    (tmp_path / "mixed.csv").write_text("\n".join([lines[0], *mixed]))
    refused(tmp_path, tmp_path / "mixed.csv", TABLE, "velocity: .* looks like degrees")
    rows = [[*r[:7], *(repr(float(x) * degrees) for x in r[7:])] for r in rows]
    (tmp_path / "mixed.csv").write_text("\n".join([lines[0], *map(",".join, rows)]))
    refused(tmp_path, tmp_path / "mixed.csv", TABLE, "command: .* write `command_unit: deg`")
    run(tmp_path / "mixed.csv", {**TABLE, "command_unit": "deg"}, tmp_path / "log_mixed")


def test_joints_mixed_up_between_position_and_velocity_are_noticed(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", regular())
    tables: dict[str, Any] = TABLE["tables"]  # type: ignore[assignment]
    state = {**tables["state"], "velocity": ["dq_joint_b", "dq_joint_a"]}
    mapping = {**TABLE, "tables": {**tables, "state": state}}
    refused(tmp_path, tmp_path / "a.csv", mapping, "velocity: positions of shoulder change")


def test_permuted_joints_in_the_map_are_a_permutation_of_the_columns(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", regular())
    permuted = {**TABLE, "joints": {"joint_b": "elbow", "joint_a": "shoulder"}}
    tables: dict[str, Any] = TABLE["tables"]  # type: ignore[assignment]
    listed = {**permuted, "tables": {**tables, "state": {**tables["state"], "position": ["q_joint_b", "q_joint_a"]}}}
    for number, mapping in enumerate((permuted, listed)):
        run(tmp_path / "a.csv", mapping, tmp_path / f"log_{number}")
        np.testing.assert_array_equal(read_streams(tmp_path / f"log_{number}").position, regular().q)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"joints": {"joint_a": "shoulder"}}, "joints: lead to"),
        ({"joints": {"joint_a": "shoulder", "joint_b": "wrist"}}, "joints: lead to"),
        ({"joints": {"joint_a": "shoulder", "joint_c": "elbow"}}, "column 'q_joint_c': is not in the table"),
        ({"unit": "m"}, "unit: .*the joints of these arms turn"),
        ({"interface": "position"}, "interface: "),
        ({"untis": "deg"}, "untis: "),
        ({"tables": None}, "exactly one of topics, tables and hdf5"),
        ({"state": {"max_gap_ms": 11.0}}, "state.max_gap_ms: .* hardly longer than a period"),
        ({"payload_kg": float("nan")}, "payload_kg: "),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_map_that_cannot_be_meant_is_refused(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    write_csv(tmp_path / "a.csv", regular())
    refused(tmp_path, tmp_path / "a.csv", {**TABLE, **change}, match)


def test_what_is_no_csv_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = write_csv(path, regular())
    for content, match in (
        (b"", "column 't': is not in the table"),
        ("\n".join(lines).encode("utf-16"), "no CSV in UTF-8"),
        (b'"' + "\n".join(lines).encode(), "is not in the table|no CSV"),
        (("\n".join(lines) + '\n"' + "x" * 200_000).encode(), "no CSV in UTF-8"),
        ("\n".join([lines[0].replace("dq_joint_a", "q_joint_a"), *lines[1:]]).encode(), "is there more than once"),
        (lines[0].encode(), "no usable row"),
        ("\n".join(line.replace(",", ";") for line in lines).encode(), "column 't': is not in the table"),
    ):
        path.write_bytes(content)
        refused(tmp_path, path, TABLE, match)


def test_a_time_in_the_wrong_unit_is_refused(tmp_path: Path) -> None:
    """Milliseconds read as seconds: the positions then change a thousand times too slowly."""
    lines = write_csv(tmp_path / "a.csv", regular())
    start = float(lines[1].split(",")[0])
    relative = [",".join([f"{float(t) - start}", rest]) for t, rest in (line.split(",", 1) for line in lines[1:])]
    (tmp_path / "a.csv").write_text("\n".join([lines[0], *relative]))
    tables: dict[str, Any] = TABLE["tables"]  # type: ignore[assignment]
    wrong = {name: {**part, "time_unit": "s"} for name, part in tables.items()}
    refused(tmp_path, tmp_path / "a.csv", {**TABLE, "tables": wrong}, "positions of shoulder change 0.001 times")


def test_parquet_that_is_cut_or_has_text_is_refused(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path, motion = tmp_path / "a.parquet", regular()
    columns: dict[str, Any] = {"t": motion.ns // 1_000_000}
    for name, values in (("q", motion.q), ("dq", motion.dq), ("u", motion.u)):
        columns |= {f"{name}_{joint}": values[:, j] for j, joint in enumerate(foreign.JOINTS)}
    columns["q_joint_a"] = [None if row == 70 else value for row, value in enumerate(columns["q_joint_a"].tolist())]
    parquet.write_table(arrow.table(columns), path)
    report = run(path, TABLE, tmp_path / "log")
    assert [(bad.first, bad.why) for bad in report.bad_rows] == [(70, "position is not finite")]
    path.write_bytes(path.read_bytes()[:2000])
    refused(tmp_path, path, TABLE, "cannot be read as Parquet")
    parquet.write_table(arrow.table({**columns, "u_joint_b": ["x"] * len(motion.ns)}), path)
    refused(tmp_path, path, TABLE, "column 'u_joint_b': holds string")


@pytest.mark.parametrize(("module", "name"), [("pyarrow", "a.parquet"), ("h5py", "a.hdf5")])
def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str) -> None:
    (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, module, None)
    mapping = TABLE if module == "pyarrow" else HDF5
    refused(tmp_path, tmp_path / name, mapping, rf"{module}, which is not installed; .*mbrl_control\[data\]")


def hdf5(path: Path, **arrays: Any) -> Any:
    h5py = pytest.importorskip("h5py")
    motion = regular()
    data = {"observations": np.concatenate([motion.q, motion.dq], axis=1), "actions": motion.u} | arrays
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            if values is not None:
                file[name] = values
    return h5py


def test_broken_hdf5_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    h5py = hdf5(path)
    whole = path.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        refused(tmp_path, path, HDF5, r"a\.hdf5: file: cannot be read as HDF5")
    for arrays, match in (
        ({"actions": None}, "actions: is not in the file; .*observations"),
        ({"actions": np.zeros((5, 2))}, "observations: 300 rows beside 5 actions"),
        ({"actions": np.zeros((300, 1))}, "hdf5.command: column 1 of 1"),
        ({"actions": np.zeros(300)}, "actions: has shape"),
        ({"actions": np.full((300, 2), b"x")}, "actions: is no data set of numbers"),
        ({"terminals": np.zeros(7)}, "terminals: 7 rows beside 300"),
        ({"observations": h5py.SoftLink("/actions")}, "observations: is a link"),
        ({"observations": h5py.ExternalLink("other.hdf5", "/observations")}, "observations: is a link"),
    ):
        hdf5(path, **arrays)
        refused(tmp_path, path, HDF5, match)


def test_hdf5_that_claims_more_than_there_is_or_reads_other_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    h5py = hdf5(path, observations=None)
    with h5py.File(path, "a") as file:
        file.create_dataset("observations", shape=(1 << 40, 4), dtype="f8", chunks=(1024, 4))
    refused(tmp_path, path, HDF5, "observations: claims")
    (tmp_path / "secret.bin").write_bytes(os.urandom(300 * 4 * 8))
    hdf5(path, observations=None)
    with h5py.File(path, "a") as file:
        outside = [(str(tmp_path / "secret.bin"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("observations", shape=(300, 4), dtype="f8", external=outside)
    refused(tmp_path, path, HDF5, "observations: lies in another file")


def test_a_row_of_hdf5_that_is_not_finite_is_named(tmp_path: Path) -> None:
    motion = regular()
    observations = np.concatenate([motion.q, motion.dq], axis=1)
    observations[77, 1] = np.nan
    hdf5(tmp_path / "a.hdf5", observations=observations)
    report = run(tmp_path / "a.hdf5", HDF5, tmp_path / "log")
    assert [(bad.first, bad.why) for bad in report.bad_rows] == [(77, "position is not finite")]
    assert report.state.bridged == 1


def test_broken_bags_are_refused(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", regular())
    database = tmp_path / "bag" / "bag.db3"
    whole = database.read_bytes()
    for content in (b"", whole[:3000], whole[: len(whole) // 2], whole[:8192] + os.urandom(4096) + whole[12288:]):
        database.write_bytes(content)
        refused(tmp_path, tmp_path / "bag", BAG, r"bag\.db3: file: |bag: bag: cannot be read")
    database.write_bytes(whole)
    metadata = tmp_path / "bag" / "metadata.yaml"
    text = metadata.read_text()
    for content, match in (
        ("- 1", r"metadata\.yaml: file: not as rosbag2 writes it"),
        (text.replace("bag.db3", "../../other.db3"), r"other\.db3: file: |bag: bag: cannot be read"),
    ):
        metadata.write_text(content)
        refused(tmp_path, tmp_path / "bag", BAG, match)


def test_topics_and_joints_that_are_not_in_the_bag_are_named(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", regular(1.0))
    topics: dict[str, Any] = BAG["topics"]  # type: ignore[assignment]
    for change, match in (
        ({"state": {"name": "/states"}}, "/states: holds no message"),
        ({"command": {"name": "/commands"}}, "does not name its joints"),
        ({"command": {"name": "/joint_states", "field": "torque"}}, "has no numbers `torque`"),
    ):
        refused(tmp_path, tmp_path / "bag", {**BAG, "topics": {**topics, **change}}, match)
    foreign_joints = {"joint_a": "shoulder", "joint_x": "elbow"}
    refused(tmp_path, tmp_path / "bag", {**BAG, "joints": foreign_joints}, r"joints \['joint_x'\] are missing")


def test_two_clocks_are_not_mixed(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", regular(), header_ahead_ns=-40_000_000_000)
    refused(tmp_path, tmp_path / "bag", BAG, "header stamps are -40 s ahead .* `stamp: received`")
    topics: dict[str, Any] = BAG["topics"]  # type: ignore[assignment]
    received = {**BAG, "topics": {**topics, "state": {"name": "/joint_states", "stamp": "received"}}}
    run(tmp_path / "bag", received, tmp_path / "log")
    np.testing.assert_array_equal(read_streams(tmp_path / "log").position, regular().q)


def test_an_mcap_file_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "log.mcap"
    write_streams(path, arm_streams(Arm(), 10.0, np.random.default_rng(0)))
    whole = path.read_bytes()
    topics = {"state": {"name": "/arm/belief"}, "command": {"name": "/arm/safe_command"}}
    mapping = {"joints": {"shoulder": "shoulder", "elbow": "elbow"}, "topics": topics}
    path.write_bytes(whole[: len(whole) // 2])
    report = run(path, mapping, tmp_path / "log_cut")
    assert any("was cut off" in note for note in report.notes)
    assert 3.0 < report.usable_s < 7.0
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    path.write_bytes(flipped)
    report = run(path, mapping, tmp_path / "log_damaged")
    assert any("left out, " in note for note in report.notes)
    assert len(report.spans_ns) == 2, "what was in the damaged chunk is a gap"
    write_bag(tmp_path / "bag", regular(), StoragePlugin.MCAP)
    (path,) = (tmp_path / "bag").glob("*.mcap")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # a single chunk, of which nothing is whole
    refused(tmp_path, tmp_path / "bag", BAG, r"holds no message \(bag\.mcap was cut off")


def test_state_and_commands_of_different_times_are_refused(tmp_path: Path) -> None:
    lines = write_csv(tmp_path / "a.csv", regular())
    for line in range(2, len(lines) + 1):
        empty = ("u",) if line < 150 else ("q", "dq")
        swap(lines, line, **{f"{name}_{joint}": "" for name in empty for joint in foreign.JOINTS})
    (tmp_path / "a.csv").write_text("\n".join(lines))
    refused(tmp_path, tmp_path / "a.csv", TABLE, "state and commands have no time in common")


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", regular())
    (tmp_path / "log").mkdir()
    with pytest.raises(LogError, match="--out: exists already"):
        run(tmp_path / "a.csv", TABLE, tmp_path / "log")
    assert not list((tmp_path / "log").iterdir())


def test_another_arm_is_refused_and_retrain_takes_the_right_one(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", regular(20.0))
    refused(tmp_path, tmp_path / "a.csv", TABLE, "joints: lead to", robot="panda")
    run(tmp_path / "a.csv", TABLE, tmp_path / "log")
    config = RetrainConfig((tmp_path / "log",), tmp_path / "models", load_arm(arm_file("planar")), 0)
    with pytest.raises(TooLittleData, match="held-out blocks"):  # all of it was read and cut into rows
        retrain(config)


def test_the_command_line_says_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(tmp_path / "a.csv", regular(), unit=180 / np.pi)
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(TABLE))
    arguments = ["log", "import", str(tmp_path / "a.csv"), "--out", str(tmp_path / "log"), "--robot", "planar"]
    for mapping, said in (("map.yaml", "write `unit: deg` in the map"), ("none.yaml", "--map: no such file")):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--map", str(tmp_path / mapping)])
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
