"""Loggers killed at bad moments, disks that take nothing, damaged files: nothing is lost that need not be."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader

from mbrl_control.episode_log import writer as writer_module
from mbrl_control.episode_log.bag_metadata import summary_of
from mbrl_control.episode_log.folder import event_files, is_written, log_file, log_files
from mbrl_control.episode_log.prune import prune
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.episode_log.recovery import finish_files, log_info
from mbrl_control.episode_log.rotation import FolderWriter, Limits
from mbrl_control.episode_log.schema import ESTOP, PHASE
from mbrl_control.episode_log.writer import LogWriter
from tests.unit.synthetic_log import message
from tests.unit.test_log_folder import BULK, EVENT, MS, begin, fill, filler, numbers_in

ONE_FILE = Limits(file_bytes=10**7, quota_bytes=10**9, free_bytes=0, ring_bytes=1)


def kill(writer: FolderWriter) -> None:
    """As SIGKILL does: what was not flushed is gone, nothing is finished, the locks are free."""
    for each in (writer._writer, writer._ring._writer):
        if each is not None:
            each.abandon()


@pytest.mark.parametrize("size", [0, 3, 8, 30, 40])
def test_a_logger_killed_at_the_first_bytes_of_its_file_costs_the_next_one_nothing(tmp_path: Path, size: int) -> None:
    with LogWriter(tmp_path / "whole.mcap"):
        pass
    log = tmp_path / "log"
    log.mkdir()
    log_file(log, 0).write_bytes((tmp_path / "whole.mcap").read_bytes()[:size])
    with begin(log) as writer:
        fill(writer, range(150))
    assert len(log_files(log)) > 2, "it changed its file meanwhile"
    assert not writer.dropped
    assert not writer.fault
    assert numbers_in(log) == list(range(150))
    assert log_info(log).finished


def test_loggers_that_are_killed_again_and_again_take_no_event_away(tmp_path: Path) -> None:
    said: list[int] = []
    for _ in range(6):
        writer = FolderWriter(tmp_path, ONE_FILE)
        writer.add_topic(BULK, PHASE.type, event=True)
        for _ in range(3):
            writer.write(BULK, message(PHASE, data=f"{len(said)} "), len(said) * 10 * MS)
            said.append(len(said))
        writer.flush_if_due(10**6 * MS)
        kill(writer)
    files = [path for _, path in event_files(tmp_path)]
    assert [number for path in files for number in numbers_in(path)] == said
    assert all(path.stat().st_size < 10_000 for path in files[:-1]), "what a killed one had reserved is free again"
    with FolderWriter(tmp_path, ONE_FILE):
        pass
    files = [path for _, path in event_files(tmp_path)]
    assert all(summary_of(path) is not None for path in files), "any reader opens them"
    assert [number for path in files for number in numbers_in(path)] == said
    assert numbers_in(tmp_path) == said


def test_a_disk_that_takes_not_even_events_ends_nothing_and_what_it_costs_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failing = os.write, [False]

    def write(descriptor: int, data: memoryview) -> int:
        return _full(descriptor, data) if failing[0] else real(descriptor, data)

    monkeypatch.setattr(writer_module.os, "write", write)
    writer = FolderWriter(tmp_path, ONE_FILE)
    writer.add_topic(BULK, PHASE.type, event=True)
    for number in range(700):
        failing[0] = 150 <= number < 400  # two tries fail meanwhile
        writer.write(BULK, message(PHASE, data=f"{number} "), number * 10 * MS)
        writer.flush_if_due(number * 10 * MS)
        assert not (number == 300 and "not even events" not in writer.fault)
    writer.close()
    assert not writer.fault
    bulk = numbers_in(tmp_path)
    assert bulk == sorted(set(bulk))
    assert len(bulk) + writer.dropped[BULK] == 700
    events = [number for _, path in event_files(tmp_path) for number in numbers_in(path)]
    assert events == sorted(set(events))
    assert len(events) + writer.dropped_events >= 700, "each is there or counted"
    for kept in (bulk, events):
        assert kept[:100] == list(range(100))
        assert kept[-100:] == list(range(600, 700))
    assert len(log_files(tmp_path)) == len(event_files(tmp_path)) == 2, "no file for every try"


def _full(descriptor: int, data: memoryview) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_at_the_end_leaves_what_a_killed_logger_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = begin(tmp_path, ONE_FILE)
    writer.write(EVENT, message(ESTOP, data=True), 0)
    fill(writer, range(50))
    with monkeypatch.context() as patched:
        patched.setattr(writer_module.os, "write", _full)
        writer.close()
    assert "No space left" in writer.fault
    kept = numbers_in(tmp_path)
    assert kept == list(range(len(kept)))
    assert len(kept) >= 40
    assert len(kept) + writer.dropped[BULK] == 50
    finish_files(tmp_path)
    assert numbers_in(tmp_path) == kept
    assert log_info(tmp_path).finished


def test_a_message_from_the_future_stops_neither_flushes_nor_the_change_of_files(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    writer.write(BULK, filler(0), 3_600_000 * MS)  # a clock that was set back an hour afterwards
    fill(writer, range(1, 240))
    assert len(log_files(tmp_path)) > 3
    assert len(numbers_in(tmp_path)) > 225
    writer.close()


def test_what_a_logger_writes_to_is_neither_finished_nor_pruned(tmp_path: Path) -> None:
    first, second = (begin(tmp_path / name, ONE_FILE) for name in ("first", "second"))
    for writer in (first, second):
        fill(writer, range(30))
        writer.flush_if_due(500 * MS)
    assert is_written(log_file(tmp_path / "first", 0))
    assert finish_files(tmp_path / "first") == []
    assert prune(tmp_path, 0).removed == ()
    for writer, name in ((first, "first"), (second, "second")):
        fill(writer, range(30, 60))
        writer.close()
        assert numbers_in(tmp_path / name) == list(range(60))
    assert len(prune(tmp_path, 0).removed) == 1


def test_two_loggers_in_one_folder_do_not_finish_each_other(tmp_path: Path) -> None:
    with begin(tmp_path, ONE_FILE) as first:
        fill(first, range(20))
        with begin(tmp_path, ONE_FILE) as second:
            fill(second, range(100, 120))
        fill(first, range(20, 40))
    assert numbers_in(tmp_path) == [*range(40), *range(100, 120)]
    assert log_info(tmp_path).finished


def test_events_are_opened_by_other_readers_whatever_order_they_came_in(tmp_path: Path) -> None:
    """Topic by topic, as a logger drains them, so that their times go back and forth."""
    writer = FolderWriter(tmp_path, ONE_FILE)
    for topic in (BULK, EVENT):
        writer.add_topic(topic, PHASE.type, event=True)
    for number in range(0, 300, 10):
        for topic in (BULK, EVENT):
            for each in range(number, number + 10):
                writer.write(topic, message(PHASE, data=f"{each} "), each * 10 * MS)
    writer.close()
    ((_, path),) = event_files(tmp_path)
    with Reader(path) as bag:
        times = [time for _, time, _ in bag.messages()]
    with path.open("rb") as stream:
        assert [m.log_time for _, _, m in make_reader(stream).iter_messages()] == times
    assert times == sorted([each * 10 * MS for each in range(300)] * 2)


def test_events_that_nobody_else_writes_are_flushed_soon(tmp_path: Path) -> None:
    free = [10**12]
    writer = begin(tmp_path, Limits(file_bytes=10**6, quota_bytes=10**9, free_bytes=1000, ring_bytes=1), free)
    for number in range(100):
        free[0] = 0 if number > 50 else 10**12
        now = number * 10 * MS
        writer.write(EVENT, message(ESTOP, data=number % 2 == 0), now)
        writer.flush_if_due(now)
        ((_, path),) = event_files(tmp_path)
        kept = len(list(LogReader(path).raw()))
        assert kept >= number - (12 if number > 65 else 100)
    kill(writer)


def test_the_room_that_is_kept_for_the_end_of_a_file_is_enough(tmp_path: Path) -> None:
    """A disk that is full but for what was reserved: small messages, a chunk for each."""
    writer = FolderWriter(tmp_path, ONE_FILE)
    writer.add_topic(EVENT, ESTOP.type, event=True)
    number = 0
    while len(event_files(tmp_path)) < 2:
        writer.write(EVENT, message(ESTOP, data=True), number * 1000 * MS)
        number += 1
    first = event_files(tmp_path)[0][1]
    assert 384 * 1024 < first.stat().st_size <= 768 * 1024
    assert summary_of(first) is not None
    writer.close()
