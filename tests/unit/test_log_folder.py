"""Logs as folders: rotation, quota, a full disk, the ring of events, loggers that were killed; other readers agree."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import Reader

from mbrl_control.episode_log import writer as writer_module
from mbrl_control.episode_log.background import BackgroundWriter
from mbrl_control.episode_log.backlog import OVERHEAD_BYTES, Backlog, Received
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.folder import event_files, log_file, log_files
from mbrl_control.episode_log.qos import offered_qos
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.episode_log.recovery import finish_files, log_info
from mbrl_control.episode_log.rotation import FolderWriter, Limits
from mbrl_control.episode_log.schema import ESTOP, PHASE, QosClass
from tests.unit.synthetic_log import message

MS = 1_000_000
SMALL = Limits(file_bytes=8_000, quota_bytes=10**9, free_bytes=1000, ring_bytes=1)
BULK, EVENT = "/arm/phase", "/arm/estop"


def filler(number: int) -> bytes:
    """A message that zstd cannot make much smaller, and that says its number."""
    text = "".join(chr(33 + (number * 7919 + i * i * 31 + (i * number) % 89) % 90) for i in range(300))
    return message(PHASE, data=f"{number} {text}")


def begin(folder: Path, limits: Limits = SMALL, free: list[int] | None = None) -> FolderWriter:
    held = [10**12] if free is None else free
    writer = FolderWriter(folder, limits, free_bytes=lambda _: held[0])
    writer.add_topic(BULK, PHASE.type, qos=offered_qos(QosClass.STREAM))
    writer.add_topic(EVENT, ESTOP.type, qos=offered_qos(QosClass.LATCHED), event=True)
    return writer


def fill(writer: FolderWriter, numbers: range) -> None:
    for number in numbers:
        writer.write(BULK, filler(number), number * 10 * MS)


def numbers_in(log: Path) -> list[int]:
    return [int(m.data.split()[0]) for _, _, m in LogReader(log).messages((PHASE,))]


def test_a_log_of_many_files_reads_as_one_and_is_a_bag(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with begin(log) as writer:
        fill(writer, range(240))
        writer.write(EVENT, message(ESTOP, data=True), 2400 * MS)
    assert len(log_files(log)) > 3
    assert numbers_in(log) == list(range(240))
    info = log_info(log)
    assert info.finished
    assert dict(info.counts) == {BULK: 240, EVENT: 1}
    with Reader(log) as bag:
        assert bag.message_count == 241
        assert (bag.start_time, bag.end_time) == (0, 2400 * MS + 1)
        assert {c.topic: c.msgcount for c in bag.connections} == {BULK: 240, EVENT: 1}
        latched = next(c for c in bag.connections if c.topic == EVENT)
        assert latched.ext.offered_qos_profiles[0].durability is QosDurability.TRANSIENT_LOCAL
        assert len(list(bag.messages())) == 241
    for path in log_files(log):
        with path.open("rb") as stream:
            assert all(True for _ in make_reader(stream).iter_messages())


def test_while_it_grows_the_bag_lists_finished_files_only(tmp_path: Path) -> None:
    log = tmp_path / "log"
    writer = begin(log)
    fill(writer, range(150))
    listed = yaml.safe_load((log / "metadata.yaml").read_text())["rosbag2_bagfile_information"]["relative_file_paths"]
    assert listed == [path.name for path in log_files(log)[:-1]]
    assert len(numbers_in(log)) > 120
    writer.close()


def test_the_quota_takes_the_oldest_files_and_counts_them(tmp_path: Path) -> None:
    log = tmp_path / "log"
    limits = Limits(file_bytes=8_000, quota_bytes=32_000, free_bytes=0, ring_bytes=1)
    with begin(log, limits) as writer:
        fill(writer, range(300))
        assert sum(path.stat().st_size for path in log_files(log)) <= 32_000
    assert log_files(log)[0] == log_file(log, writer.removed_files) != log_file(log, 0)
    kept = numbers_in(log)
    assert kept == list(range(kept[0], 300)), "the newest rows, without a hole"
    with Reader(log) as bag:
        assert bag.message_count == len(kept)


def test_a_full_disk_costs_bulk_that_is_counted_and_no_event(tmp_path: Path) -> None:
    log, free = tmp_path / "log", [10**12]
    writer = begin(log, free=free)
    fill(writer, range(100))
    free[0] = 0
    for number in range(100, 400):
        writer.write(BULK, filler(number), number * 10 * MS)
        writer.write(EVENT, message(ESTOP, data=number % 2 == 0), number * 10 * MS)
    assert "free" in writer.fault
    free[0] = 10**12
    fill(writer, range(400, 700))
    writer.close()
    kept = numbers_in(log)
    assert len(kept) + writer.dropped[BULK] == 700
    assert kept[:100] == list(range(100))
    assert kept[-1] == 699
    assert not writer.fault
    events = [m.data for _, path in event_files(log) for _, _, m in LogReader(path).messages((ESTOP,))]
    assert len(events) == 300


def test_a_write_that_fails_costs_what_was_not_flushed_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    writer = begin(log)
    fill(writer, range(50))
    real, failing = writer_module.os.write, [True]

    def write(descriptor: int, data: memoryview) -> int:
        if failing[0] and len(data) > 500:
            real(descriptor, data[:100])  # a full disk takes part of it
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(writer_module.os, "write", write)
    fill(writer, range(50, 80))
    failing[0] = False
    fill(writer, range(80, 400))
    writer.close()
    kept = numbers_in(log)
    assert len(kept) + writer.dropped[BULK] == 400
    assert kept[-1] == 399
    assert kept == sorted(set(kept))
    assert log_info(log).finished, "the torn file was finished as well"


def test_a_logger_after_a_killed_one_goes_on_and_finishes_its_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    killed = begin(log)
    fill(killed, range(30))
    killed.flush_if_due(10_000 * MS)
    killed._writer.abandon()  # type: ignore[union-attr]
    log_file(log, 1).write_bytes(b"\x89MC")  # and one that was killed while it made its file
    before = numbers_in(log)
    with begin(log) as writer:
        fill(writer, range(30, 60))
    assert before == list(range(30))
    assert numbers_in(log) == list(range(60))
    assert log_info(log).finished
    assert [path.name for path in log_files(log)] == ["log_0.mcap", "log_2.mcap"]


def test_damage_stays_beside_what_was_saved(tmp_path: Path) -> None:
    log = tmp_path / "log"
    killed = begin(log, Limits(ring_bytes=1))
    fill(killed, range(90))
    killed._writer.abandon()  # type: ignore[union-attr]
    content = bytearray(log_file(log, 0).read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    log_file(log, 0).write_bytes(content)
    ((path, done),) = finish_files(log)
    assert done.damaged_chunks or done.stopped
    assert (log / f"{path.name}.damaged").read_bytes() == content
    assert set(numbers_in(log)) < set(range(90))


def test_only_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    writer = begin(log)
    fill(writer, range(240))
    reader = LogReader(log, newest_ns=700 * MS)
    rows = [int(m.data.split()[0]) for _, _, m in reader.messages((PHASE,))]
    assert rows[-1] == numbers_in(log)[-1]
    assert rows == list(range(rows[-1] - 70, rows[-1] + 1))
    assert len(reader.files()[0]) < len(log_files(log))
    writer.close()


@pytest.mark.parametrize("problem", ["empty", "link"])
def test_what_is_no_log_is_refused_by_name(tmp_path: Path, problem: str) -> None:
    if problem == "link":
        (tmp_path / "log_0.mcap").symlink_to("/dev/zero")
    with pytest.raises(LogError, match=r"folder: holds no log_<number>\.mcap; give"):
        list(LogReader(tmp_path).raw())


def test_the_ring_turns_and_each_file_tells_its_beginning(tmp_path: Path) -> None:
    limits = Limits(file_bytes=10**6, quota_bytes=10**9, free_bytes=0, ring_bytes=1)
    writer = FolderWriter(tmp_path, limits)
    writer.add_topic(BULK, PHASE.type, event=True)
    writer.add_topic(EVENT, ESTOP.type, event=True)
    writer.write(EVENT, message(ESTOP, data=True), 0)
    generator = np.random.default_rng(0)
    for number in range(220):
        text = generator.integers(33, 123, 8000, dtype=np.uint8).tobytes().decode()
        writer.write(BULK, message(PHASE, data=f"{number} {text}"), number * 10 * MS)
    writer.close()
    first, second = [path for _, path in event_files(tmp_path)]
    assert numbers_in(second) == list(range(numbers_in(first)[-1] + 1, 220))
    assert numbers_in(first)[0] > 0, "the oldest went"
    for path in (first, second):
        assert [m.data for _, _, m in LogReader(path).messages((ESTOP,))] == [True]
        assert path.stat().st_size <= 12 * 64 * 1024


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.booleans()), max_size=60))
@settings(max_examples=50, deadline=None)
def test_the_backlog_keeps_a_prefix_of_each_turn_and_counts_the_rest(steps: list[tuple[bool, int, bool]]) -> None:
    bound = {False: 100 + 5 * OVERHEAD_BYTES, True: 60 + 3 * OVERHEAD_BYTES}
    backlog = Backlog(bound[False], bound[True])
    taken, put = [], 0
    held = {False: 0, True: 0}
    for number, (event, size, take) in enumerate(steps):
        accepted = backlog.put(Received("t", bytes(size), number, number, event))
        cost = size + OVERHEAD_BYTES
        assert accepted == (held[event] + cost <= bound[event])
        held[event] += cost if accepted else 0
        put += 1
        if take:
            taken += backlog.take()
            held = {False: 0, True: 0}
    taken += backlog.take()
    assert len(taken) + backlog.dropped.total() == put
    assert [m.log_time_ns for m in taken] == sorted(m.log_time_ns for m in taken)


def test_a_stalled_disk_costs_bulk_and_ends_nothing(tmp_path: Path) -> None:
    """The writer's thread stands still while messages come; afterwards it writes what the backlog held."""
    import threading

    gate, failures = threading.Event(), []

    class Stalled(FolderWriter):
        def flush_if_due(self, now_ns: int) -> None:
            gate.wait()

    writer = Stalled(tmp_path, SMALL)
    writer.add_topic(BULK, PHASE.type)
    writer.add_topic(EVENT, ESTOP.type, event=True)
    size = len(filler(0)) + OVERHEAD_BYTES
    background = BackgroundWriter(writer, lambda: 0, failures.append, Backlog(20 * size + 20, 100_000))
    for number in range(100):
        background.put(Received(BULK, filler(number), number, number, False))
        background.put(Received(EVENT, message(ESTOP, data=True), number, number, True))
    gate.set()
    background.close()
    assert not failures
    counts = dict(log_info(tmp_path).counts)
    assert counts[EVENT] == 100
    assert counts[BULK] + background.dropped[BULK] == 100
    assert background.dropped[BULK] > 0
