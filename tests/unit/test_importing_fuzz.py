"""Whatever has become of a file: its import is refused in one line, or made whole with a report; nothing else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from mbrl_control.episode_log.errors import LogError
from mbrl_control.replay.streams import read_streams
from tests.unit import foreign_recordings as foreign
from tests.unit.foreign_recordings import (
    BAG,
    HDF5,
    TABLE,
    Motion,
    bag_messages,
    regular,
    run,
    write_bag,
    write_csv,
    write_mcap,
)

EXAMPLES = 60
"""Of each format."""
Write = Callable[[Path, Motion], None]


def parquet(folder: Path, motion: Motion) -> None:
    arrow, library = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns: dict[str, Any] = {"t": motion.ns // 1_000_000}
    for name, values in (("q", motion.q), ("dq", motion.dq), ("u", motion.u)):
        columns |= {f"{name}_{joint}": values[:, j] for j, joint in enumerate(foreign.JOINTS)}
    library.write_table(arrow.table(columns), folder / "a.parquet")


def d4rl(folder: Path, motion: Motion) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "a.hdf5", "w") as file:
        file["observations"] = np.concatenate([motion.q, motion.dq], axis=1)
        file["actions"] = motion.u
        file["timeouts"] = np.arange(len(motion.ns)) == 20


def minari(folder: Path, motion: Motion) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "a.hdf5", "w") as file:
        for name in ("episode_0", "episode_1"):
            group = file.create_group(name)
            rows = np.concatenate([motion.q, motion.dq], axis=1)
            group.create_dataset("observations", data=rows, chunks=(8, 4), compression="gzip")
            group.create_dataset("actions", data=motion.u[:-1], chunks=(8, 2), compression="gzip")


def bag(plugin: StoragePlugin, mode: CompressionMode = CompressionMode.NONE) -> Write:
    return lambda folder, motion: write_bag(folder / "bag", motion, plugin, compression=mode)


def mcap(compression: CompressionType, chunked: bool = True) -> Write:
    return lambda folder, motion: write_mcap(folder / "a.mcap", bag_messages(motion), compression, chunked)


def csv(folder: Path, motion: Motion) -> None:
    write_csv(folder / "a.csv", motion)


FORMATS: dict[str, tuple[Write, dict[str, Any]]] = {
    "csv": (csv, TABLE),
    "parquet": (parquet, TABLE),
    "d4rl": (d4rl, HDF5),
    "minari": (minari, HDF5),
    "sqlite": (bag(StoragePlugin.SQLITE3), BAG),
    "sqlite, messages packed": (bag(StoragePlugin.SQLITE3, CompressionMode.MESSAGE), BAG),
    "sqlite, file packed": (bag(StoragePlugin.SQLITE3, CompressionMode.FILE), BAG),
    "bag of mcap": (bag(StoragePlugin.MCAP), BAG),
    "bag of mcap, chunks packed": (bag(StoragePlugin.MCAP, CompressionMode.STORAGE), BAG),
    "bag of mcap, messages packed": (bag(StoragePlugin.MCAP, CompressionMode.MESSAGE), BAG),
    "bag of mcap, file packed": (bag(StoragePlugin.MCAP, CompressionMode.FILE), BAG),
    "mcap, zstd": (mcap(CompressionType.ZSTD), BAG),
    "mcap, lz4": (mcap(CompressionType.LZ4), BAG),
    "mcap, unpacked chunks": (mcap(CompressionType.NONE), BAG),
    "mcap without chunks": (mcap(CompressionType.NONE, chunked=False), BAG),
}
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "flip", "zeros", "insert", "drop", "end"]),
        st.floats(0.0, 1.0, exclude_max=True),
        st.integers(1, 255),
    ),
    min_size=1,
    max_size=4,
)
"""What, where as a share of the file, how."""
Edits = list[tuple[str, float, int]]


def edited(data: bytes, edits: Edits) -> bytes:
    for kind, share, value in edits:
        place = int(share * len(data))
        rest = {
            "flip": bytes([data[place] ^ value]) + data[place + 1 :] if data else b"",
            "zeros": bytes(value) + data[place + value :],
            "insert": bytes([value]) * value + data[place:],
            "drop": data[place + value :],
            "end": b"",
        }
        data = data[:place] + rest[kind]
    return data


@pytest.fixture(scope="module", params=FORMATS)
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with one recording, and its map."""
    write, mapping = FORMATS[request.param]
    folder = tmp_path_factory.mktemp("original")
    write(folder, regular(0.4))
    return folder, mapping


def import_or_refuse(source: Path, mapping: dict[str, Any], folder: Path) -> bool:
    """Whether it was imported."""
    said = ""
    try:
        report = run(source, mapping, folder / "log")
    except LogError as error:
        said = str(error)
    if said:
        assert not list(folder.glob("log*/")), "nothing is left behind"
        assert len(said) < 4000
        said.encode()  # any terminal shows it
        return False
    streams = read_streams(folder / "log")  # which refuses what is not finite
    assert len(streams.belief_ns) == report.state.on_grid
    return True


def test_what_was_not_damaged_is_imported(original: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    (source,) = original[0].iterdir()
    assert import_or_refuse(source, original[1], tmp_path)


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(edits=EDITS, which=st.integers(0, 9))
def test_damage_is_refused_or_reported(original: tuple[Path, dict[str, Any]], edits: Edits, which: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(original[0], folder / "copy")
        (source,) = (folder / "copy").iterdir()
        files = sorted(path for path in (folder / "copy").rglob("*") if path.is_file())
        damaged = files[0] if which else files[-1]  # of a bag one time in ten its metadata
        damaged.write_bytes(edited(damaged.read_bytes(), edits))
        import_or_refuse(source, original[1], folder)


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(edits=EDITS, plugin=st.sampled_from(list(StoragePlugin)))
def test_damage_inside_of_a_packed_bag_is_refused_or_reported(edits: Edits, plugin: StoragePlugin) -> None:
    """The packing is whole, what was packed is not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bag(folder / "bag", regular(0.4), plugin, compression=CompressionMode.FILE)
        (path,) = (folder / "bag").glob("*.zstd")
        inside = zstandard.decompress(path.read_bytes(), max_output_size=1 << 24)
        path.write_bytes(zstandard.compress(edited(inside, edits)))
        import_or_refuse(folder / "bag", BAG, folder)


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(edits=EDITS, number=st.integers(0, 79), plugin=st.sampled_from(list(StoragePlugin)))
def test_a_message_damaged_before_it_was_packed_costs_at_most_itself(
    edits: Edits, number: int, plugin: StoragePlugin
) -> None:
    def garble(index: int, data: bytes) -> bytes:
        return edited(data, edits) if index == number else data

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bag(folder / "bag", regular(0.4), plugin, compression=CompressionMode.MESSAGE, garble=garble)
        if import_or_refuse(folder / "bag", BAG, folder):
            streams = read_streams(folder / "log")
            seconds = (streams.belief_ns - foreign.T0_NS) * 1e-9
            off = np.abs(streams.position - foreign.position(seconds)) > 1e-2
            assert off.any(axis=1).sum() <= 2, (
                "what decodes to another number within the limits is not told from a truth"
            )
