"""Damaged, cut off and hostile log files: what is recovered, what is kept beside, what is refused."""

from __future__ import annotations

import os
import resource
import struct
from pathlib import Path

import pytest
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader

from mbrl_control.episode_log import writer as writer_module
from mbrl_control.episode_log.bag_metadata import summary_of
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.folder import log_file
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.episode_log.records import CHUNK, MAGIC, SCHEMA
from mbrl_control.episode_log.recovery import finish_files, recover
from mbrl_control.episode_log.schema import ESTOP, PHASE
from mbrl_control.episode_log.writer import LogWriter
from tests.unit.synthetic_log import message
from tests.unit.test_log_crashes import ONE_FILE, kill
from tests.unit.test_log_folder import BULK, EVENT, MS, begin, fill, filler, numbers_in


def torn(log: Path, count: int = 90) -> bytearray:
    """A log of one file that was not finished; its bytes."""
    killed = begin(log, ONE_FILE)
    fill(killed, range(count))
    killed.flush_if_due(count * 10 * MS + 200 * MS)
    kill(killed)
    return bytearray(log_file(log, 0).read_bytes())


def top_records(data: bytes) -> list[tuple[int, int]]:
    """(opcode, offset) of the records that are not in a chunk (https://mcap.dev/spec)."""
    found, at = [], len(MAGIC)
    while at + 9 <= len(data):
        opcode, length = struct.unpack_from("<BQ", data, at)
        found.append((opcode, at))
        at += 9 + length
    return found


def test_damage_to_the_first_chunk_costs_that_one_alone(tmp_path: Path) -> None:
    content = torn(tmp_path)
    content[content.index(b"zstd") + 40] ^= 0xFF
    log_file(tmp_path, 0).write_bytes(content)
    ((_, done), *_) = finish_files(tmp_path)
    assert done.damaged_chunks == 1
    kept = numbers_in(tmp_path)
    assert kept == list(range(kept[0], 90))
    assert kept[0] <= 11


def test_topics_are_announced_again_so_that_no_single_damage_costs_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "ANNOUNCE_BYTES", 6_000)
    path = tmp_path / "log.mcap"
    with LogWriter(path) as writer:
        writer.add_topic(BULK, PHASE.type)
        for number in range(120):
            writer.write(BULK, filler(number), number * 10 * MS)
    data = bytearray(path.read_bytes())
    records = top_records(data)
    again = [at for opcode, at in records if opcode == SCHEMA and at > records[1][1]][:-1]  # the last is the summary's
    assert len(again) >= 3
    with Reader(path) as bag:
        assert len(list(bag.messages())) == 120
    with path.open("rb") as stream:
        assert len(list(make_reader(stream).iter_messages())) == 120
    begin_at, end_at = records[1][1], again[0]
    data[begin_at : begin_at + 9] = struct.pack("<BQ", 0x80, end_at - begin_at - 9)  # all before is a private record
    path.write_bytes(data)
    kept = numbers_in(path)
    assert kept == list(range(kept[0], 120))
    assert kept[0] < 60


def test_a_file_of_which_nothing_is_readable_is_kept(tmp_path: Path) -> None:
    content = torn(tmp_path, 5)
    content[content.index(b"zstd") + 40] ^= 0xFF
    log_file(tmp_path, 0).write_bytes(content)
    ((path, done), *_) = finish_files(tmp_path)
    assert (done.messages, done.damaged_chunks) == (0, 1)
    assert not path.exists()
    assert path.with_name(f"{path.name}.damaged").read_bytes() == content


class Killed(BaseException):
    """In the place of SIGKILL."""


def test_killed_before_the_last_rename_a_recovery_leaves_the_log_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = torn(tmp_path)
    content[content.index(b"zstd", content.index(b"zstd") + 1) + 40] ^= 0xFF  # in the second chunk
    log_file(tmp_path, 0).write_bytes(content)
    before = [m.cdr for m in LogReader(tmp_path, skip_damaged=True).raw()]

    def replace(self: Path, target: Path) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            finish_files(tmp_path)
    assert [m.cdr for m in LogReader(tmp_path, skip_damaged=True).raw()] == before
    finish_files(tmp_path)
    assert [m.cdr for m in LogReader(tmp_path).raw()] == before
    assert (tmp_path / "log_0.mcap.damaged").read_bytes() == content
    assert not list(tmp_path.glob("*.new"))


@pytest.mark.parametrize("damaged", [False, True])
def test_a_recovery_that_the_disk_does_not_take_leaves_nothing(tmp_path: Path, damaged: bool) -> None:
    content = torn(tmp_path)
    if damaged:
        content[content.index(b"zstd") + 40] ^= 0xFF
        log_file(tmp_path, 0).write_bytes(content)
    target = tmp_path / "recovered.mcap"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(OSError, match=r"File too large.*recovered\.mcap"):
            recover(log_file(tmp_path, 0), target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not target.exists()
    assert recover(log_file(tmp_path, 0), target).messages == (79 if damaged else 90)


def test_the_summary_is_as_the_mcap_library_reads_it_and_no_damaged_one_counts(tmp_path: Path) -> None:
    with begin(tmp_path, ONE_FILE) as writer:
        fill(writer, range(40))
        writer.write(EVENT, message(ESTOP, data=True), 700 * MS)
    path = log_file(tmp_path, 0)
    found = summary_of(path)
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert found is not None
    assert summary is not None
    assert summary.statistics is not None
    assert (found.start_ns, found.end_ns) == (0, 700 * MS)
    assert found.counts == tuple(
        (c.topic, summary.schemas[c.schema_id].name, c.metadata["offered_qos_profiles"], n)
        for c, n in zip(summary.channels.values(), (40, 1), strict=True)
    )
    data = path.read_bytes()
    begins = next(at for opcode, at in reversed(top_records(data)) if opcode == CHUNK)
    start = next(at for opcode, at in top_records(data) if at > begins and opcode == SCHEMA)
    for at in range(start, len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x40
        path.write_bytes(changed)
        assert summary_of(path) is None


def test_zeros_without_end_are_counted_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.mcap"
    path.write_bytes(MAGIC)
    os.truncate(path, 1 << 36)
    reader = LogReader(path)
    assert list(reader.raw()) == []
    assert reader.tail.ignored_bytes == (1 << 36) - len(MAGIC)


def test_a_type_that_changed_its_fields_is_not_mixed_up(tmp_path: Path) -> None:
    for number, definition in enumerate(("string data\n", "string other\nstring data\n")):
        with LogWriter(log_file(tmp_path, number)) as writer:
            writer.add_topic(BULK, PHASE.type, definition)
            writer.write(BULK, message(PHASE, data=str(number)), number)
    done = recover(tmp_path, tmp_path / "one.mcap")
    assert done.messages == 1
    assert "another std_msgs/msg/String" in done.stopped
    with pytest.raises(LogError, match=r"phase: .*defined in two ways"):
        list(LogReader(tmp_path).messages((PHASE,)))
