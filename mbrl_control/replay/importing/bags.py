"""MCAP files and rosbag2 folders of any arm: one topic of measured joints, one of commands."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.typesys import Stores, get_typestore

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.folder import METADATA, log_files, numbered_files
from mbrl_control.episode_log.reader import Channel, LogReader, RawMessage
from mbrl_control.episode_log.schema import QosClass, Topic, matches
from mbrl_control.replay.importing.mapping import ImportMap, Topics
from mbrl_control.replay.importing.messages_in import read_commands, read_states
from mbrl_control.replay.importing.series import Recording
from mbrl_control.robot import Arm

SUFFIXES = (".mcap", ".db3")


def read_bag(source: Path, mapping: ImportMap, topics: Topics, arm: Arm) -> Recording:
    """State and commands of two topics. LogError for a bag that cannot be read, topics that are not there."""
    files = _files(source)
    notes: list[str] = []
    found: dict[str, list[RawMessage]] = {}
    wanted = (topics.state.name, topics.command.name)
    for raw in _messages(source, files, wanted, notes):
        found.setdefault(raw.channel.topic, []).append(raw)
    names = mapping.sources(arm)
    states, orders = (_of(source, found, name, notes) for name in wanted)
    state = read_states(source, states, topics.state, names)
    command = read_commands(source, orders, topics.command, names, mapping.interface)
    _one_clock(source, topics, state.ahead_s, command.by_header)
    return Recording(
        state.series, command.series, state.bad + command.bad, files, (*notes, *state.notes, *command.notes)
    )


def _one_clock(source: Path, topics: Topics, ahead_s: float, command_by_header: bool) -> None:
    """Stamps of the driver's clock and of the recorder's are not mixed, unless the two agree."""
    if not command_by_header and abs(ahead_s) > 0.5:
        problem = f"header stamps are {ahead_s:.3g} s ahead of the time of receipt, which commands are stamped by"
        raise LogError(source, topics.state.name, problem, "write `stamp: received` for the state: one clock for both")


def _of(source: Path, found: dict[str, list[RawMessage]], name: str, notes: list[str]) -> list[RawMessage]:
    """Messages of the topic called so, or of the only one whose name ends so."""
    if name in found:
        return found[name]
    alike = [topic for topic in found if matches(topic, _topic(name))]
    if len(alike) != 1:
        why = f" ({'; '.join(notes)})" if notes else ""
        problem = f"could be any of {alike}" if alike else f"holds no message{why}"
        remedy = "name a topic of the bag in full; `ros2 bag info` or `log info` list them"
        raise LogError(source, name, problem, remedy)
    return found[alike[0]]


def _topic(name: str) -> Topic:
    return Topic(name, "", QosClass.STREAM)


def _files(source: Path) -> tuple[Path, ...]:
    """Everything that is read, the metadata too."""
    if not source.is_dir():
        return (source,)
    if numbered_files(source):
        return log_files(source)  # a log of ours, also one that is not finished
    metadata = source / METADATA
    if not metadata.is_file():
        loose = tuple(sorted(path for path in source.iterdir() if path.suffix in SUFFIXES and path.is_file()))
        if not loose:
            raise LogError(source, "folder", "holds no bag", "give a rosbag2 folder, or a .mcap or .db3 file")
        return loose
    return (metadata, *(source / name for name in _bag(metadata)[1]))


def _bag(metadata: Path) -> tuple[str, list[str], bool]:
    """Storage, names of the files, whether they are packed by rosbag2; only the last part of a name counts."""
    try:
        tree = yaml.safe_load(metadata.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
        names = [Path(name).name for name in tree["relative_file_paths"]]
        return str(tree["storage_identifier"]), names, bool(tree.get("compression_format"))
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        problem = f"not as rosbag2 writes it ({type(error).__name__}: {error})"
        raise LogError(metadata, "file", problem, "run `ros2 bag reindex`, or give the .mcap file itself") from error


def _messages(source: Path, files: tuple[Path, ...], names: tuple[str, ...], notes: list[str]) -> Iterator[RawMessage]:
    """MCAP is read by this project's own reader, which takes cut-off files; the rest by `rosbags`."""
    metadata = source / METADATA
    storage, _, packed = _bag(metadata) if metadata in files else ("", [], False)
    if metadata in files and (storage != "mcap" or packed):
        yield from _rosbags(source, [path for path in files if path.suffix == ".db3"], names)
        return
    for path in files:
        if path.suffix == ".db3":
            yield from _rosbags(path, [path], names)
        elif path != metadata:
            yield from _mcap(path, names, notes)


def _mcap(path: Path, names: tuple[str, ...], notes: list[str]) -> Iterator[RawMessage]:
    reader = LogReader(path, skip_damaged=True)
    yield from reader.raw([_topic(name) for name in names])
    notes += [f"{path.name}: left out, {damage}" for damage in reader.tail.damaged]
    if not reader.tail.finished:
        notes.append(f"{path.name} was cut off: {reader.tail.ignored_bytes} bytes of a partial record are ignored")


def _rosbags(bag: Path, databases: list[Path], names: tuple[str, ...]) -> Iterator[RawMessage]:
    for path in databases:
        _check_database(path)
    try:
        with Reader(bag) as reader:
            chosen = [c for c in reader.connections if any(matches(c.topic, _topic(name)) for name in names)]
            channels = {c.topic: Channel(c.topic, c.msgtype, _definition(bag, c)) for c in chosen}
            for sequence, (connection, received_ns, data) in enumerate(reader.messages(chosen) if chosen else ()):
                yield RawMessage(channels[connection.topic], received_ns, received_ns, sequence, bytes(data))
    except (ReaderError, OSError) as error:
        raise LogError(bag, "bag", f"cannot be read ({error})", "run `ros2 bag reindex`, or copy it anew") from error


def _check_database(path: Path) -> None:
    """A damaged page shows here and not in the middle of the messages."""
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            answer = connection.execute("PRAGMA quick_check").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise LogError(path, "file", f"is no whole SQLite database ({error})", "copy the bag anew") from error
    if answer != ("ok",):
        raise LogError(path, "file", f"is damaged ({answer[0] if answer else 'empty'})", "copy the bag anew")


def _definition(bag: Path, connection: Any) -> str:
    """As recorded; older bags have none, then that of the standard messages."""
    if connection.msgdef.format is MessageDefinitionFormat.MSG:
        return str(connection.msgdef.data)
    store = _standard()
    if connection.msgtype not in store.fielddefs:
        problem = f"the bag does not define {connection.msgtype}"
        raise LogError(bag, connection.topic, problem, "convert it to MCAP: `ros2 bag convert`")
    return str(store.generate_msgdef(connection.msgtype, ros_version=2)[0])


@cache
def _standard() -> Any:
    return get_typestore(Stores.ROS2_HUMBLE)
