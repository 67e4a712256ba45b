"""Episode logs: whole, killed, growing and foreign files; other readers agree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader

from mbrl_control.episode_log.definitions import full_definition
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import LogReader, stamp_ns
from mbrl_control.episode_log.records import CHUNK, MAGIC
from mbrl_control.episode_log.recovery import log_info, recover
from mbrl_control.episode_log.schema import BELIEF, ESTOP, GRAPH_TOPICS, SAFE_COMMAND, matches
from mbrl_control.episode_log.writer import LogWriter
from tests.unit.synthetic_log import Arm, arm_streams, message, write_streams

# A record is an opcode of one byte, its length in eight bytes, and its body (https://mcap.dev/spec).
RECORD_HEAD = 9


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "whole.mcap"
    write_streams(path, arm_streams(Arm(), 3.0, np.random.default_rng(1)))
    return path


def test_messages_come_back_as_written(log: Path) -> None:
    streams = arm_streams(Arm(), 3.0, np.random.default_rng(1))
    found = LogReader(log).decoded((BELIEF, SAFE_COMMAND))
    assert [stamp_ns(m.stamp) for m in found[BELIEF]] == streams.belief_ns.tolist()
    np.testing.assert_array_equal([m.velocity for m in found[BELIEF]], streams.velocity)
    np.testing.assert_array_equal([m.applied for m in found[SAFE_COMMAND]], streams.applied)
    assert log_info(log).finished


def test_other_readers_count_the_same_messages(log: Path) -> None:
    counts = dict(log_info(log).counts)
    with Reader(log) as bag:
        assert {c.topic: c.msgcount for c in bag.connections if c.msgcount} == counts
        assert sum(1 for _ in bag.messages()) == sum(counts.values())
    with log.open("rb") as stream:
        reader = make_reader(stream)
        assert reader.get_header().profile == "ros2"
        assert sum(1 for _ in reader.iter_messages()) == sum(counts.values())


@pytest.mark.parametrize("kept", np.linspace(0.05, 0.99, 12).tolist())
def test_a_cut_log_gives_a_prefix_and_can_be_recovered(log: Path, tmp_path: Path, kept: float) -> None:
    data = log.read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(data[: int(kept * len(data))])
    whole = [m.cdr for m in LogReader(log).raw()]
    reader = LogReader(cut)
    part = [m.cdr for m in reader.raw()]
    assert part == whole[: len(part)]
    assert not reader.tail.finished
    if part:
        assert recover(cut, tmp_path / "recovered.mcap").messages == len(part)
        assert log_info(tmp_path / "recovered.mcap").finished


def test_zeros_behind_the_last_write_are_ignored(log: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mcap"
    with LogWriter(cut) as writer:
        writer.add_topic("estop", ESTOP.type)
        writer.write("estop", message(ESTOP, data=True), 0)
        writer.flush()
        flushed = cut.read_bytes()
    padded = tmp_path / "padded.mcap"
    padded.write_bytes(flushed + bytes(4096))
    reader = LogReader(padded)
    assert len(list(reader.raw())) == 1
    assert reader.tail.ignored_bytes == 4096


def test_killed_process_loses_at_most_the_flush_period(tmp_path: Path) -> None:
    """SIGKILL in the middle of 4 ms messages: everything older than 250 ms of graph time is there."""
    path = tmp_path / "killed.mcap"
    code = f"""
        import sys
        from pathlib import Path
        from mbrl_control.episode_log.writer import LogWriter
        writer = LogWriter(Path({str(path)!r}))
        writer.add_topic("estop", "std_msgs/msg/Bool")
        for i in range(10_000):
            writer.write("estop", b"\\0\\1\\0\\0\\1", i * 4_000_000)
            print(i, flush=True)
            sys.stdin.readline()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    last = -1
    for _ in range(437):
        last = int(process.stdout.readline())
        process.stdin.write("\n")
        process.stdin.flush()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    times = [m.log_time_ns for m in LogReader(path).raw()]
    assert times == [i * 4_000_000 for i in range(len(times))]
    assert last * 4_000_000 - times[-1] <= 250_000_000


def test_a_growing_log_is_read_up_to_its_last_flush(tmp_path: Path) -> None:
    path = tmp_path / "growing.mcap"
    reader = LogReader(path)
    with LogWriter(path) as writer:
        writer.add_topic("estop", ESTOP.type)
        seen = []
        for i in range(100):
            writer.write("estop", message(ESTOP, data=True), i * 10_000_000)
            seen.append(len(list(reader.raw())))
    assert seen == sorted(seen)
    assert all(i - n <= 10 for i, n in enumerate(seen))


@pytest.mark.parametrize("content", [b"", b"\x89MCAP0", b"not a log at all, but long enough", bytes(64)])
def test_foreign_files_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.mcap"
    path.write_bytes(content)
    with pytest.raises(LogError, match=r"foreign\.mcap: (magic|file): .*; "):
        list(LogReader(path).raw())
    with pytest.raises(LogError):
        recover(path, tmp_path / "recovered.mcap")
    assert not (tmp_path / "recovered.mcap").exists()


def chunk_behind(data: bytearray, position: int) -> tuple[int, int]:
    """Begin and end of the body of the first chunk record behind ``position``, by the lengths in the file.

    The records between chunks are indexes, which no reader of ours needs: damage there loses nothing.
    """
    at = len(MAGIC)
    while at <= position or data[at] != CHUNK:
        at += RECORD_HEAD + int.from_bytes(data[at + 1 : at + RECORD_HEAD], "little")
    begin = at + RECORD_HEAD
    return begin, begin + int.from_bytes(data[at + 1 : begin], "little")


def test_damage_in_the_middle_is_named_and_everything_else_recovered(log: Path, tmp_path: Path) -> None:
    data = bytearray(log.read_bytes())
    begin, end = chunk_behind(data, int(0.6 * len(data)))
    at = (begin + end) // 2
    damaged_bytes = slice(at, min(at + 400, end))
    data[damaged_bytes] = bytes(b ^ 0x5A for b in data[damaged_bytes])
    damaged = tmp_path / "damaged.mcap"
    damaged.write_bytes(data)
    with pytest.raises(LogError, match="recover"):
        list(LogReader(damaged).raw())
    done = recover(damaged, tmp_path / "recovered.mcap")
    assert done.damaged_chunks == 1
    whole = [m.cdr for m in LogReader(log).raw()]
    saved = [m.cdr for m in LogReader(tmp_path / "recovered.mcap").raw()]
    assert len(saved) == done.messages < len(whole)
    assert saved[0] == whole[0]
    assert saved[-1] == whole[-1], "what follows the damage is saved too"
    remaining = iter(whole)
    assert all(message in remaining for message in saved), "nothing wrong and nothing out of order"


def test_wrong_type_under_a_known_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.mcap"
    with LogWriter(path) as writer:
        writer.add_topic("belief", ESTOP.type)
    with LogWriter(tmp_path / "second.mcap") as writer:
        writer.add_topic("belief", ESTOP.type)
        writer.write("belief", message(ESTOP, data=True), 0)
    with pytest.raises(LogError, match="belief"):
        list(LogReader(tmp_path / "second.mcap").messages((BELIEF,)))


def test_existing_file_and_unknown_type_are_refused(tmp_path: Path, log: Path) -> None:
    with pytest.raises(LogError, match="file"):
        LogWriter(log)
    with pytest.raises(LogError, match="install"):
        full_definition("no_such_msgs/msg/Thing")
    with LogWriter(tmp_path / "new.mcap") as writer, pytest.raises(LogError, match="add_topic"):
        writer.write("belief", b"", 0)


def test_names_match_in_any_namespace_but_not_by_suffix() -> None:
    assert matches("/arm/belief", BELIEF)
    assert matches("belief", BELIEF)
    assert not matches("/arm/unbelief", BELIEF)
    assert len({t.name for t in GRAPH_TOPICS}) == len(GRAPH_TOPICS)
