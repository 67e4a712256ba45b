"""Small files that claim much: refused before they are unpacked. And what an import keeps in memory: the numbers."""

from __future__ import annotations

import sqlite3
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import zstandard
from mcap.writer import CompressionType
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from mbrl_control.episode_log import unpacking
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import Channel, Decoder, LogReader, RawMessage
from mbrl_control.episode_log.records import CHUNK, MAGIC
from mbrl_control.replay.importing import messages_in, tables
from tests.unit import foreign_recordings as foreign
from tests.unit.foreign_recordings import BAG, HDF5, TABLE, refused, regular, run, write_bag, write_csv, write_mcap

FREE = 1 << 20


@pytest.fixture(autouse=True)
def _little_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "FREE_BYTES", FREE)


def chunk(size: int) -> bytes:
    """An MCAP chunk of zeros: records of opcode 0 and no content, nine bytes each."""
    packed = zstandard.compress(bytes(size))
    body = struct.pack("<QQQII", 0, 0, size, 0, 4) + b"zstd" + struct.pack("<Q", len(packed)) + packed
    return struct.pack("<BQ", CHUNK, len(body)) + body


def test_a_chunk_of_nothing_is_refused_also_where_damage_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_bytes(MAGIC + chunk(9 * FREE))
    reader = LogReader(tmp_path / "a.mcap", skip_damaged=True)
    with pytest.raises(LogError, match="decompression bomb"):
        list(reader.raw())
    refused(tmp_path, tmp_path / "a.mcap", BAG, "decompression bomb")


def test_a_wrong_size_in_one_chunk_is_damage_and_no_bomb(tmp_path: Path) -> None:
    data = bytearray(MAGIC + chunk(900))
    data[len(MAGIC) + 9 + 16 + 3] ^= 0x0F  # of the size it claims
    (tmp_path / "a.mcap").write_bytes(data)
    reader = LogReader(tmp_path / "a.mcap", skip_damaged=True)
    assert list(reader.raw()) == []
    assert len(reader.tail.damaged) == 1


@pytest.mark.parametrize("plugin", list(StoragePlugin))
def test_a_packed_file_that_is_a_bomb_is_refused_and_leaves_nothing(
    tmp_path: Path, plugin: StoragePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "room"))
    (tmp_path / "room").mkdir()
    write_bag(tmp_path / "bag", regular(0.4), plugin, compression=CompressionMode.FILE)
    (path,) = (tmp_path / "bag").glob("*.zstd")
    whole = path.read_bytes()
    path.write_bytes(zstandard.compress(bytes(64 * FREE)))
    refused(tmp_path, tmp_path / "bag", BAG, r"\.zstd: file: unpacks to .* decompression bomb")
    path.write_bytes(whole[: len(whole) // 2])
    refused(tmp_path, tmp_path / "bag", BAG, r"\.zstd: file: (is cut off|cannot be decompressed)")
    path.write_bytes(zstandard.compress(b"x"))
    refused(tmp_path, tmp_path / "bag", BAG, r"\.zstd: (file|magic|topics): unpacked, it ")
    assert not list((tmp_path / "room").iterdir())


def test_frames_one_after_another_are_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.zstd"
    path.write_bytes(zstandard.compress(b"one") + zstandard.compress(b"") + zstandard.compress(bytes(9000)))
    with path.open("rb") as stream:
        assert b"".join(unpacking.unzipped(path, stream)) == b"one" + bytes(9000)


def test_a_packed_message_that_is_a_bomb_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MESSAGE_BYTES", FREE)

    def garble(number: int, data: bytes) -> bytes:
        return bytes(2 * FREE) if number == 20 else data

    write_bag(tmp_path / "bag", regular(), compression=CompressionMode.MESSAGE, garble=garble)
    report = run(tmp_path / "bag", BAG, tmp_path / "log")
    (bad,) = report.bad_rows
    assert bad.first == bad.last
    assert f"claims {2 * FREE} bytes" in bad.why


def test_a_message_that_ends_early_is_a_bad_row_by_its_number(tmp_path: Path) -> None:
    """rosbags' own error for it is no ValueError."""
    write_bag(tmp_path / "bag", regular(), garble=lambda number, data: data[:-9] if number == 21 else data)
    report = run(tmp_path / "bag", BAG, tmp_path / "log")
    (bad,) = report.bad_rows
    assert (bad.where, bad.first, bad.last) == ("/joint_states", 11, 11), "messages of the gripper count"
    assert "does not decode as sensor_msgs/msg/JointState" in bad.why


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE VIEW messages AS SELECT id, topic_id, timestamp, data FROM old", "messages: is no table"),
        (
            "CREATE TABLE messages (id, topic_id INTEGER, timestamp INTEGER, "
            "data BLOB GENERATED ALWAYS AS (zeroblob(900000000)))",
            "is no whole SQLite database .*too big",
        ),
    ],
    ids=["view", "generated"],
)
def test_a_table_that_computes_its_rows_is_refused(tmp_path: Path, statement: str, said: str) -> None:
    write_bag(tmp_path / "bag", regular(0.4))
    with closing(sqlite3.connect(tmp_path / "bag" / "bag.db3")) as database:
        database.execute("ALTER TABLE messages RENAME TO old")
        database.execute(statement)
        if "GENERATED" in statement:
            database.execute("INSERT INTO messages (id, topic_id, timestamp) SELECT id, topic_id, timestamp FROM old")
        database.commit()
    refused(tmp_path, tmp_path / "bag", BAG, said)


def test_hdf5_and_parquet_that_repeat_one_number_are_refused(tmp_path: Path) -> None:
    h5py, arrow = pytest.importorskip("h5py"), pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_dataset("observations", shape=(FREE, 4), dtype="f8", chunks=(4096, 4))  # no chunk is stored
        file["actions"] = np.zeros((3, 2))
    refused(tmp_path, tmp_path / "a.hdf5", HDF5, "observations: unpacks to .* decompression bomb")
    names = ["t", *(f"{name}_{joint}" for name in ("q", "dq", "u") for joint in foreign.JOINTS)]
    parquet.write_table(arrow.table({name: np.zeros(FREE) for name in names}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 50_000
    refused(tmp_path, tmp_path / "a.parquet", TABLE, "rows: unpacks to .* decompression bomb")


@pytest.mark.parametrize(
    "definition",
    [
        "string[99999999] names",
        "float64[12345678901234567890] x",
        "float64 x\n" * 200_000,
        "Inner a\n" + "=" * 80 + "\nMSG: a/Inner\nInner a",
        "NoSuchType a",
        "float64",
        "",
    ],
    ids=["strings", "numbers", "long", "itself", "unknown", "half", "empty"],
)
def test_a_definition_that_cannot_be_meant_is_refused_at_once_and_once(definition: str) -> None:
    """Code is made of definitions: not of these."""
    decoder = Decoder(Path("a.mcap"))
    raw = RawMessage(Channel("/x", "a/msg/Outer", definition), 0, 0, 0, b"\x00\x01\x00\x00")
    for _ in range(2):
        if definition == "":  # a message without fields has a byte that says so
            with pytest.raises(LogError, match="does not decode as a/msg/Outer"):
                decoder.decode(raw)
            continue
        with pytest.raises(LogError, match=r"its definition (is too large|cannot be read)") as refused_with:
            decoder.decode(raw)
        assert len(str(refused_with.value)) < 500


@pytest.mark.parametrize("module", [messages_in, tables])
def test_a_recording_too_long_for_memory_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any
) -> None:
    monkeypatch.setattr(module, "MOST_NUMBERS", 1000)
    if module is messages_in:
        write_bag(tmp_path / "bag", regular())
        refused(tmp_path, tmp_path / "bag", BAG, "joint_states: holds more than .* cut it into parts and import each")
        return
    write_csv(tmp_path / "a.csv", regular())
    refused(tmp_path, tmp_path / "a.csv", TABLE, "holds more than .* cut it into parts and import each")


OTHERS = tuple(f"finger_{number}" for number in range(2000))
MESSAGE_BYTES = 2 * 8 * len(OTHERS)
"""Of the others' positions and velocities alone."""


def wide(motion: foreign.Motion) -> Iterator[tuple[str, int, Any]]:
    """As `foreign.bag_messages`, with two thousand joints that nobody asks for."""
    nothing = np.zeros(len(OTHERS))
    for ns, q, dq, u in zip(motion.ns.tolist(), motion.q, motion.dq, motion.u, strict=True):
        values = (np.concatenate([nothing, one]) for one in (q, dq))
        yield "/joint_states", ns, foreign.joint_state(ns, (*OTHERS, *foreign.JOINTS), *values)
        yield "/commands", ns, foreign.command(u)


def test_a_bag_is_read_message_by_message(tmp_path: Path) -> None:
    motion = regular(4.0)
    write_mcap(tmp_path / "a.mcap", wide(motion), CompressionType.ZSTD)
    tracemalloc.start()
    try:
        report = run(tmp_path / "a.mcap", BAG, tmp_path / "log")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.state.samples == len(motion.ns)
    assert most < 0.5 * len(motion.ns) * MESSAGE_BYTES


def test_aliases_in_metadata_do_not_multiply(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", regular(0.4))
    path = tmp_path / "bag" / "metadata.yaml"
    tree = yaml.safe_load(path.read_text())
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    text = yaml.safe_dump(tree).replace("storage_identifier: sqlite3", "storage_identifier: *a11")
    path.write_text("\n".join([*lines, text]))
    refused(tmp_path, tmp_path / "bag", BAG, "not as rosbag2 writes it")
