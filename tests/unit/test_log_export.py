"""Tables of a log say what its messages say; old logs go, the oldest first."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.episode_log.bag_metadata import summary_of
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.export import export
from mbrl_control.episode_log.folder import log_file, log_files
from mbrl_control.episode_log.prune import prune
from mbrl_control.episode_log.rotation import FolderWriter
from mbrl_control.episode_log.schema import BELIEF, ESTOP
from mbrl_control.episode_log.writer import LogWriter
from tests.unit.synthetic_log import NAMES, Arm, arm_streams, message, write_streams


def test_a_table_has_every_message_and_a_column_for_each_joint(tmp_path: Path) -> None:
    streams = arm_streams(Arm(), 1.0, np.random.default_rng(1))
    write_streams(tmp_path / "log.mcap", streams, ((int(streams.belief_ns[0]), 'a, "b"'),))
    done = {table.topic: table for table in export(tmp_path / "log.mcap", tmp_path / "tables")}
    with done["/arm/belief"].path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["stamp_ns"]) for row in rows] == streams.belief_ns.tolist()
    for joint, name in enumerate(NAMES):
        assert [float(row[f"velocity[{name}]"]) for row in rows] == streams.velocity[:, joint].tolist()
    assert {row["joint_names"] for row in rows} == {'["shoulder", "elbow"]'}
    with done["/arm/phase"].path.open(newline="") as file:
        assert [row["data"] for row in csv.DictReader(file)] == ['a, "b"']
    assert done["/arm/safe_command"].rows == len(streams.command_ns)


def test_parquet_holds_the_same_numbers(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    streams = arm_streams(Arm(), 20.0, np.random.default_rng(1))
    write_streams(tmp_path / "log.mcap", streams)
    (table,) = export(tmp_path / "log.mcap", tmp_path / "tables", "parquet", ("belief",))
    columns = parquet.read_table(table.path)
    assert len(columns) == len(streams.belief_ns) > 4096
    assert columns[f"position[{NAMES[1]}]"].to_pylist() == streams.position[:, 1].tolist()


def test_a_topic_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_streams(tmp_path / "log.mcap", arm_streams(Arm(), 0.5, np.random.default_rng(1)))
    with pytest.raises(LogError, match="believe: holds no message; choose"):
        export(tmp_path / "log.mcap", tmp_path / "tables", topics=("believe",))


def test_the_oldest_logs_of_all_runs_go_first_and_the_bags_stay_whole(tmp_path: Path) -> None:
    for run in range(3):
        for number in range(3):
            with FolderWriter(tmp_path / f"run_{run}" / "log") as writer:
                writer.add_topic("estop", ESTOP.type, event=True)
                writer.write("estop", message(ESTOP, data=True), number)
            newest = 1_000_000_000 + 10 * run + number
            os.utime(log_file(tmp_path / f"run_{run}" / "log", number), (newest, newest))
    sizes = [path.stat().st_size for path in tmp_path.rglob("log_*.mcap")]
    keep = 5 * max(sizes) + min(sizes) // 2
    would = prune(tmp_path, keep, dry_run=True)
    assert [path.parent.parent.name for path in would.removed] == ["run_0", "run_0", "run_0", "run_1"]
    assert prune(tmp_path, keep) == would
    assert not list((tmp_path / "run_0" / "log").glob("log_*.mcap"))
    left = log_files(tmp_path / "run_1" / "log")
    assert [path.name for path in left] == ["log_1.mcap", "log_2.mcap"]
    assert all(path.name in (tmp_path / "run_1" / "log" / "metadata.yaml").read_text() for path in left)
    assert "log_0.mcap" not in (tmp_path / "run_1" / "log" / "metadata.yaml").read_text()
    assert len(prune(tmp_path, 0).removed) == 4, "the newest file of all stays"
    assert all(summary_of(path) is not None for path in log_files(tmp_path / "run_2" / "log"))


def test_joints_in_another_order_keep_their_columns(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "log.mcap") as writer:
        writer.add_topic("belief", BELIEF.type)
        for number, order in enumerate((("a", "b"), ("b", "a"))):
            position = np.array([10.0 if name == "a" else 20.0 for name in order])
            writer.write("belief", message(BELIEF, joint_names=list(order), position=position), number)
    (table,) = export(tmp_path / "log.mcap", tmp_path / "tables")
    with table.path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["position[a]"], row["position[b]"]) for row in rows] == [("10.0", "20.0")] * 2


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_topics_whose_names_become_alike_have_a_table_each(tmp_path: Path, kind: str) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    topics = ("/a/b", "/a_b", "/A/b", f"/{'long' * 20}/one", f"/{'long' * 20}/two")
    with LogWriter(tmp_path / "log.mcap") as writer:
        for number, topic in enumerate(topics):
            writer.add_topic(topic, ESTOP.type)
            for _ in range(number + 1):
                writer.write(topic, message(ESTOP, data=True), number)
    done = {table.topic: table for table in export(tmp_path / "log.mcap", tmp_path / "tables", kind)}
    assert {topic: done[topic].rows for topic in topics} == {topic: n + 1 for n, topic in enumerate(topics)}
    assert len({table.path.name.lower() for table in done.values()}) == len(topics)
    assert all(table.path.is_file() for table in done.values())


def test_an_export_that_fails_leaves_no_table_that_looks_whole(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "log.mcap") as writer:
        writer.add_topic("belief", BELIEF.type)
        for number, names in enumerate((["a"], ["a"], ["b"])):
            writer.write("belief", message(BELIEF, joint_names=names, position=np.zeros(1)), number)
    with pytest.raises(LogError, match="message 2 has other columns"):
        export(tmp_path / "log.mcap", tmp_path / "tables")
    assert [path.name for path in tmp_path.iterdir()] == ["log.mcap"]
