"""A torn file is finished by its whole records and a summary: the same as if every message had been written anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader

from mbrl_control.episode_log.bag_metadata import summary_of
from mbrl_control.episode_log.finishing import finish_copy
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.episode_log.recovery import _written_anew
from tests.unit.synthetic_log import Arm, arm_streams, write_streams
from tests.unit.test_log_damage import top_records


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("log") / "whole.mcap"
    write_streams(path, arm_streams(Arm(), 3.0, np.random.default_rng(1)))
    return path.read_bytes()


def by_mcap(path: Path) -> list[tuple[Any, ...]]:
    with path.open("rb") as stream:
        return [
            (schema.name, schema.data, channel.topic, message.log_time, message.sequence, message.data)
            for schema, channel, message in make_reader(stream, validate_crcs=True).iter_messages()
            if schema is not None
        ]


def by_rosbags(path: Path) -> list[tuple[Any, ...]]:
    with Reader(path) as bag:
        assert bag.message_count == sum(connection.msgcount for connection in bag.connections)
        return [(connection.topic, time, bytes(data)) for connection, time, data in bag.messages()]


def counted(path: Path) -> tuple[Any, ...]:
    found = summary_of(path)
    assert found is not None
    return found.start_ns, found.end_ns, {row for row in found.counts if row[-1]}


def test_wherever_a_file_was_cut_the_quick_way_gives_what_the_slow_one_gives(tmp_path: Path, whole: bytes) -> None:
    quick_ones, data_end = 0, next(at for opcode, at in top_records(whole) if opcode == 0x0F)
    for number, size in enumerate(np.linspace(0.02, 1.0, 40) * len(whole)):
        cut, quick, slow = (tmp_path / f"{name}_{number}.mcap" for name in ("cut", "quick", "slow"))
        cut.write_bytes(whole[: int(size)])
        done = finish_copy(cut, quick)
        if done is None:
            assert not quick.exists()
            continue
        quick_ones += 1
        expected = _written_anew(cut, slow)
        assert done[0] == expected.messages
        kept = min(int(size) - done[1], data_end)
        assert quick.read_bytes()[:kept] == whole[:kept], "no byte of what was logged changes"
        assert by_mcap(quick) == by_mcap(slow)
        assert by_rosbags(quick) == by_rosbags(slow)
        assert counted(quick) == counted(slow)
        assert [m.cdr for m in LogReader(quick).raw()] == [m.cdr for m in LogReader(slow).raw()]
    assert quick_ones > 20


def test_damage_and_records_of_others_are_left_to_the_slow_way(tmp_path: Path, whole: bytes) -> None:
    flipped = bytearray(whole)
    flipped[whole.index(b"zstd") + 60] ^= 0xFF
    private = whole[: whole.index(b"zstd")]  # somewhere inside of a record, which is left out
    for content in (bytes(flipped), private, b"", whole[:8], b"no log, but longer than its magic"):
        path = tmp_path / "file.mcap"
        path.write_bytes(content)
        assert finish_copy(path, tmp_path / "quick.mcap") is None
        assert not (tmp_path / "quick.mcap").exists()
