"""Broken and hostile files of each format, and bags whose topics, joints or clocks are not what the map says."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from mbrl_control.replay.streams import read_streams
from tests.unit import foreign_recordings as foreign
from tests.unit.foreign_recordings import BAG, HDF5, TABLE, refused, regular, run, write_bag
from tests.unit.synthetic_log import Arm, arm_streams, write_streams


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
        refused(tmp_path, tmp_path / "bag", BAG, r"bag\.db3: (file: is|topics: is no table)")
    database.write_bytes(whole)
    metadata = tmp_path / "bag" / "metadata.yaml"
    text = metadata.read_text()
    for content, match in (
        ("- 1", r"metadata\.yaml: file: not as rosbag2 writes it"),
        (text.replace("bag.db3", "../../other.db3"), "relative_file_paths: there is no other.db3"),
        (text.replace("bag.db3", '"\\0"'), "relative_file_paths: there is no"),
        (text.replace("sqlite3", "leveldb"), "storage_identifier: is 'leveldb'"),
        (text.replace("sqlite3", "2001-99-99"), "not as rosbag2 writes it"),
        ("[" * 5000, "not as rosbag2 writes it"),
    ):
        metadata.write_text(content)
        refused(tmp_path, tmp_path / "bag", BAG, match)


def test_topics_and_joints_that_are_not_in_the_bag_are_named(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", regular(1.0))
    topics = BAG["topics"]
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
    topics = BAG["topics"]
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
    flipped[whole.index(b"zstd", len(whole) // 2) + 100] ^= 0xFF  # inside of a chunk
    path.write_bytes(flipped)
    report = run(path, mapping, tmp_path / "log_damaged")
    assert any("left out, " in note for note in report.notes)
    assert len(report.spans_ns) == 2, "what was in the damaged chunk is a gap"
    write_bag(tmp_path / "bag", regular(), StoragePlugin.MCAP)
    (path,) = (tmp_path / "bag").glob("*.mcap")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # a single chunk, of which nothing is whole
    refused(tmp_path, tmp_path / "bag", BAG, r"holds no message \(bag\.mcap was cut off")
