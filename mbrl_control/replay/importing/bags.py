"""MCAP files and rosbag2 folders of any arm: one topic of measured joints, one of commands, read message by message."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.folder import METADATA, log_files, numbered_files
from mbrl_control.episode_log.reader import LogReader, RawMessage
from mbrl_control.episode_log.schema import Topic
from mbrl_control.episode_log.unpacking import unzipped, unzipped_message
from mbrl_control.replay.importing.database import read_database
from mbrl_control.replay.importing.mapping import ImportMap, Topics
from mbrl_control.replay.importing.messages_in import commands, states, topic_of
from mbrl_control.replay.importing.series import Recording
from mbrl_control.robot import Arm

SUFFIXES = (".mcap", ".db3")
_STORAGES = {"mcap": ".mcap", "sqlite3": ".db3"}
_METADATA_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class _Bag:
    """What is read, in this order."""

    files: tuple[Path, ...]
    """With messages."""
    metadata: tuple[Path, ...] = ()
    packed: str = ""
    """`file` or `message`: what rosbag2 compressed; empty: nothing."""
    suffix: str = ""
    """Of what each file holds; empty: its own."""


def read_bag(source: Path, mapping: ImportMap, topics: Topics, arm: Arm) -> Recording:
    """State and commands of two topics. LogError for a bag that cannot be read, topics that are not there."""
    bag, joints, notes = _bag(source), mapping.sources(arm), list[str]()
    unpack = partial(unzipped_message, source) if bag.packed == "message" else None
    found_states = states(source, topics.state, joints, unpack)
    found_commands = commands(source, topics.command, joints, mapping.interface, unpack)
    for raw in _messages(bag, [topic_of(topics.state.name), topic_of(topics.command.name)], notes):
        found_states.add(raw)
        found_commands.add(raw)
    state, command = found_states.taken(notes), found_commands.taken(notes)
    _one_clock(source, topics, state.ahead_s, command.by_header)
    return Recording(
        state.series,
        command.series,
        state.bad + command.bad,
        bag.metadata + bag.files,
        (*notes, *state.notes, *command.notes),
    )


def _one_clock(source: Path, topics: Topics, ahead_s: float, command_by_header: bool) -> None:
    """Stamps of the driver's clock and of the recorder's are not mixed, unless the two agree."""
    if not command_by_header and abs(ahead_s) > 0.5:
        problem = f"header stamps are {ahead_s:.3g} s ahead of the time of receipt, which commands are stamped by"
        raise LogError(source, topics.state.name, problem, "write `stamp: received` for the state: one clock for both")


def _bag(source: Path) -> _Bag:
    """A file, a log of ours (also one that is not finished), a folder of rosbag2, or loose files."""
    if not source.is_dir():
        return _Bag((source,))
    if numbered_files(source):
        return _Bag(log_files(source))
    metadata = source / METADATA
    if metadata.is_file():
        return _of_rosbag2(metadata)
    loose = tuple(sorted(path for path in source.iterdir() if path.suffix in SUFFIXES and path.is_file()))
    if not loose:
        raise LogError(source, "folder", "holds no bag", "give a rosbag2 folder, or a .mcap or .db3 file")
    return _Bag(loose)


def _of_rosbag2(metadata: Path) -> _Bag:
    """As the metadata say; of the files' names only the last part counts."""
    remedy = "run `ros2 bag reindex`, or give the .mcap or .db3 file itself"
    try:
        with metadata.open(encoding="utf-8") as stream:
            tree = yaml.safe_load(stream.read(_METADATA_BYTES))["rosbag2_bagfile_information"]
        files = tuple(metadata.with_name(Path(name).name) for name in tree["relative_file_paths"])
        storage, packed = _text(tree["storage_identifier"]), _text(tree.get("compression_mode")).lower()
        zipped_by = _text(tree.get("compression_format"))
    # The parser raises more than YAMLError: ValueError of a date that is none, RecursionError of endless nesting.
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = f"not as rosbag2 writes it ({type(error).__name__}: {str(error)[:200]})"
        raise LogError(metadata, "file", problem, remedy) from error
    if storage not in _STORAGES:
        raise LogError(metadata, "storage_identifier", f"is {storage!r}", "convert it: `ros2 bag convert`, to mcap")
    packed = "" if packed in ("none", "storage") or not zipped_by else packed
    if packed not in ("", "file", "message") or (packed and zipped_by != "zstd"):
        raise LogError(
            metadata, "compression", f"{packed} by {zipped_by!r} is not read", "convert it: `ros2 bag convert`"
        )
    missing = [path.name for path in files if not path.is_file()]
    if missing or not files:
        raise LogError(metadata, "relative_file_paths", f"there is no {missing[0] if missing else 'file'}", remedy)
    return _Bag(files, (metadata,), packed, _STORAGES[storage])


def _text(value: object) -> str:
    """Empty for what is left out; TypeError for a list, which YAML's aliases make as long as they like."""
    if not isinstance(value, str | None):
        raise TypeError("text wanted")
    return value or ""


def _messages(bag: _Bag, topics: list[Topic], notes: list[str]) -> Iterator[RawMessage]:
    """Of ``topics``, file after file; ``notes`` of what was left out."""
    for file in bag.files:
        with _unpacked(file, bag.packed == "file") as path:
            if (bag.suffix or file.suffix) == ".db3":
                journal = file.with_name(f"{file.name}-wal")
                if journal.is_file() and journal.stat().st_size:
                    notes.append(f"{journal.name}: not read; close the bag with SQLite to have what was recorded last")
                yield from read_database(path, topics)
            else:
                yield from _mcap(path, file.name, topics, notes)


@contextmanager
def _unpacked(file: Path, packed: bool) -> Iterator[Path]:
    """The file itself, or what it unpacks to, in TMPDIR as long as it is read."""
    if not packed:
        yield file
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file.stem
        try:
            with file.open("rb") as stream, path.open("wb") as target:
                for part in unzipped(file, stream):
                    target.write(part)
        except OSError as error:
            remedy = "make room for the unpacked bag, or let TMPDIR name a folder with room"
            raise LogError(file, "file", f"cannot be unpacked ({error.strerror})", remedy) from error
        try:
            yield path
        except LogError as error:  # names a file that is gone when it is read
            raise LogError(file, error.field, f"unpacked, it {error.problem}", error.remedy) from error


def _mcap(path: Path, name: str, topics: list[Topic], notes: list[str]) -> Iterator[RawMessage]:
    """By this project's own reader, which takes cut-off files."""
    reader = LogReader(path, skip_damaged=True)
    yield from reader.raw(topics)
    notes += [f"{name}: left out, {damage}" for damage in reader.tail.damaged]
    if not reader.tail.finished:
        notes.append(f"{name} was cut off: {reader.tail.ignored_bytes} bytes of a partial record are ignored")
