"""What is learned from a log that grows meanwhile, and what is said of it: the very bytes that were there before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mbrl_control.replay.streams as streams_module
import mbrl_control.retrain as retrain_module
from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.log_card import log_card
from mbrl_control.deployment.registry import Registry
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.first_bytes import open_first
from mbrl_control.episode_log.folder import log_file
from mbrl_control.episode_log.reader import FileCursor, LogReader
from mbrl_control.episode_log.records import Tail
from mbrl_control.golden_logs import add_golden
from mbrl_control.learned_from import LearnedLog, read_log
from mbrl_control.replay.columns import Columns
from mbrl_control.replay.dataset import LogFile
from mbrl_control.replay.streams import Streams, read_streams
from mbrl_control.retrain import RetrainConfig, retrain
from mbrl_control.robot import load_arm
from tests.unit.synthetic_log import T0_NS, Arm, arm_streams, write_streams

SECOND = 1_000_000_000
SECONDS, EARLIER = 30.0, 0.7
PHASES = ((T0_NS, "still"), (T0_NS + 4 * SECOND, "moves"))
PLANAR = load_arm(arm_file("planar"))


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A finished log."""
    path = tmp_path_factory.mktemp("log") / "log.mcap"
    write_streams(path, arm_streams(Arm(), SECONDS, np.random.default_rng(0)), PHASES)
    return path.read_bytes()


@pytest.fixture
def log(content: bytes, tmp_path: Path) -> Path:
    """What a logger has written of it until now, in the middle of a record."""
    path = tmp_path / "log_0.mcap"
    path.write_bytes(content[: int(EARLIER * len(content))])
    return path


def meanwhile(monkeypatch: pytest.MonkeyPatch, what: Callable[[], object], count: int = 1) -> None:
    """Done once, when message ``count`` was decoded."""
    seen, real = [0], Columns.add

    def add(self: Columns, message: object) -> None:
        seen[0] += 1
        if seen[0] == count:
            what()
        real(self, message)

    monkeypatch.setattr(streams_module.Columns, "add", add)


def grow(log: Path, content: bytes) -> Callable[[], object]:
    """The rest of it, finished."""
    return lambda: log.write_bytes(content)


def untouched(log: Path) -> Path:
    """The same, which nobody writes."""
    copy = log.parent / "copy" / log.name
    copy.parent.mkdir()
    copy.write_bytes(log.read_bytes())
    return copy


def of(path: Path) -> LogFile:
    data = path.read_bytes()
    return LogFile(path.name, len(data), hashlib.sha256(data).hexdigest())


def assert_same(found: Streams, expected: Streams) -> None:
    for name in ("belief_ns", "position", "velocity", "effort", "command_ns", "applied", "relay_ns", "publishing"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize(("phase", "newest_s"), [(None, None), ("moves", None), (None, 5.0), ("still", 25.0)])
def test_what_is_written_while_a_log_is_read_is_neither_read_nor_hashed(
    phase: str | None, newest_s: float | None, log: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = untouched(log)
    expected = read_streams(copy, phase, None if newest_s is None else round(newest_s * SECOND))
    meanwhile(monkeypatch, grow(log, content))
    source, found = read_log(log, phase, newest_s)
    assert log.read_bytes() == content, "it has grown"
    assert source.files == (of(copy),)
    assert_same(found, expected)
    assert len(read_streams(log).belief_ns) > len(read_streams(copy).belief_ns)


def test_the_card_of_a_log_says_what_it_counted(log: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = untouched(log)
    expected = log_card(copy, "planar").log
    meanwhile(monkeypatch, grow(log, content))
    found = log_card(log, "planar").log
    assert found.source.files == expected.source.files == (of(copy),)
    assert replace(found, source=expected.source) == expected


class Enough(Exception):
    """What was to be seen was seen."""


@pytest.mark.parametrize("newest_s", [None, 10.0])
def test_a_retraining_learns_from_what_its_manifest_hashes(
    newest_s: float | None, log: Path, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, learned = untouched(log), list[LearnedLog]()
    expected = read_streams(copy, None, None if newest_s is None else round(newest_s * SECOND))

    def learn(config: RetrainConfig, logs: list[LearnedLog], *_: object) -> object:
        learned.extend(logs)
        raise Enough

    monkeypatch.setattr(retrain_module, "_learn", learn)
    meanwhile(monkeypatch, grow(log, content))
    with pytest.raises(Enough):
        retrain(RetrainConfig((log,), tmp_path / "models", PLANAR, T0_NS, newest_s=newest_s))
    assert learned[0].source.files == (of(copy),)
    assert_same(learned[0].streams, expected)


@pytest.fixture
def rotated(tmp_path: Path) -> Path:
    """Three files of 6 s, the last of which is being written."""
    folder = tmp_path / "log"
    folder.mkdir()
    for number in range(3):
        begin_ns = T0_NS + number * 6 * SECOND
        streams = arm_streams(Arm(), 6.0, np.random.default_rng(number), begin_ns)
        write_streams(log_file(folder, number), streams, ((begin_ns, f"part {number}"),))
    last = log_file(folder, 2).read_bytes()
    log_file(folder, 2).write_bytes(last[: len(last) * 3 // 4])
    return folder


def begin_another(folder: Path) -> Callable[[], object]:
    streams = arm_streams(Arm(), 6.0, np.random.default_rng(9), T0_NS + 18 * SECOND)
    return lambda: write_streams(log_file(folder, 3), streams)


@pytest.mark.parametrize(("newest_s", "files"), [(None, (0, 1, 2)), (3.0, (2,)), (8.0, (1, 2))])
def test_a_file_that_is_begun_meanwhile_is_no_part_of_it(
    newest_s: float | None, files: tuple[int, ...], rotated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read_streams(rotated, None, None if newest_s is None else round(newest_s * SECOND))
    known = tuple(of(log_file(rotated, number)) for number in files)
    meanwhile(monkeypatch, begin_another(rotated))
    source, found = read_log(rotated, None, newest_s)
    assert log_file(rotated, 3).exists()
    assert source.files == known
    assert_same(found, expected)


def test_a_file_that_is_removed_once_it_was_read_counts(rotated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, known = read_streams(rotated), tuple(of(log_file(rotated, number)) for number in range(3))
    meanwhile(monkeypatch, log_file(rotated, 0).unlink)
    source, found = read_log(rotated)
    assert not log_file(rotated, 0).exists()
    assert source.files == known
    assert_same(found, expected)


def test_a_file_that_is_removed_before_it_is_read_is_no_part_of_it(
    rotated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a phase the log is gone through twice, and the first file is missing at the second time."""
    meanwhile(monkeypatch, log_file(rotated, 0).unlink)
    source, found = read_log(rotated, "part 1")
    assert source.files == tuple(of(log_file(rotated, number)) for number in (1, 2))
    assert_same(found, read_streams(rotated, "part 1"))


def test_a_log_that_is_not_there_is_said_so(tmp_path: Path, rotated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LogError, match=r"none\.mcap: file: cannot be read"):
        read_log(tmp_path / "none.mcap")
    for number in (0, 1):
        log_file(rotated, number).unlink()
    meanwhile(monkeypatch, log_file(rotated, 2).unlink)
    with pytest.raises(LogError, match=r"holds no log_<number>\.mcap"):
        read_log(rotated, "part 2")


def test_a_golden_log_hashes_what_it_copies(
    log: Path, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is decoded from the copy, when the log has been read."""
    before = of(log)
    meanwhile(monkeypatch, grow(log, content))
    said = add_golden(Registry(tmp_path / "models", PLANAR.model_name), PLANAR, log, "week12", T0_NS)
    assert (said.source.bytes, said.source.sha256) == ((before.bytes,), (before.sha256,))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.0, 1.2), zeros=st.integers(0, 40))
def test_the_first_bytes_of_a_file_read_as_a_file_of_these_bytes(
    share: float, zeros: int, content: bytes, tmp_path: Path
) -> None:
    """Cut anywhere, in zeros behind the end, or beyond it: messages, what is left over, and where to go on."""
    whole, cut = tmp_path / "whole.mcap", tmp_path / "cut.mcap"
    data = content + bytes(zeros)
    size = max(8, int(share * len(data)))
    whole.write_bytes(data)
    cut.write_bytes(data[:size])
    found, expected = Tail(), Tail()
    ours = [m.cdr for m in FileCursor(whole, end=size).read(found)]
    assert ours == [m.cdr for m in FileCursor(cut).read(expected)]
    assert found == expected
    with open_first(whole, size) as ours_open, cut.open("rb") as theirs:
        assert ours_open.seek(0, 2) == theirs.seek(0, 2)
        ours_open.seek(size // 2)
        assert ours_open.read() == data[size // 2 : size]


def test_a_log_that_is_not_fixed_is_read_as_it_is_by_every_iteration(log: Path, content: bytes) -> None:
    reader, fixed = LogReader(log), LogReader(log).fixed()
    before = sum(1 for _ in reader.raw())
    log.write_bytes(content)
    assert sum(1 for _ in fixed.raw()) == before < sum(1 for _ in reader.raw())
