"""SQLite files of rosbag2, row by row, by the standard library: a damaged or hostile one is an error, and no more.

Tables as rosbag2 writes them: `topics` (id, name, type, ...), `messages` (topic_id, timestamp, data) and, in newer
bags, `message_definitions` (topic_type, encoding, encoded_message_definition).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, get_typestore

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import Channel, RawMessage
from mbrl_control.episode_log.schema import Topic, matches
from mbrl_control.episode_log.unpacking import MESSAGE_BYTES

_COPY = "copy the bag anew"


def read_database(path: Path, topics: list[Topic]) -> Iterator[RawMessage]:
    """Messages of ``topics`` in the order of their time of receipt. LogError for what is no whole database of rosbag2.

    A row whose time or data is of another type comes as a message that does not decode.
    """
    try:
        with closing(_connect(path)) as database:
            _check(path, database)
            channels = _channels(path, database, topics)
            places = ",".join("?" * len(channels))
            query = (
                f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({places}) ORDER BY timestamp, id"
            )
            for sequence, (topic, received, data) in enumerate(database.execute(query, tuple(channels))):
                received_ns = received if isinstance(received, int) else -1
                cdr = data if isinstance(data, bytes) else b""
                yield RawMessage(channels[topic], received_ns, received_ns, sequence, cdr)
    except sqlite3.Error as error:
        raise LogError(path, "file", f"is no whole SQLite database of rosbag2 ({error})", _COPY) from error


def _connect(path: Path) -> sqlite3.Connection:
    """Read-only; nothing that a table is declared with may grow beyond a message or reach outside."""
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MESSAGE_BYTES)
    for setting in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON"):
        database.execute(f"PRAGMA {setting}")
    return database


def _check(path: Path, database: sqlite3.Connection) -> None:
    """A damaged page shows here and not in the middle of the messages; a view in a table's place would be a program."""
    answer = database.execute("PRAGMA quick_check").fetchone()
    if answer != ("ok",):
        said = " ".join(str(answer[0] if answer else "empty").split())[:200]
        raise LogError(path, "file", f"is damaged ({said})", _COPY)
    tables = dict(database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    for name in ("topics", "messages"):
        if not str(tables.get(name)).upper().startswith("CREATE TABLE"):
            raise LogError(path, name, "is no table of it", "give a bag that rosbag2 wrote")


def _channels(path: Path, database: sqlite3.Connection, topics: list[Topic]) -> dict[int, Channel]:
    """By the number under which messages name them; those of ``topics``."""
    definitions = _definitions(database)
    found = {}
    for number, name, kind in database.execute("SELECT id, name, type FROM topics"):
        if not isinstance(number, int) or not isinstance(name, str) or not isinstance(kind, str):
            raise LogError(path, "topics", "holds a row that names no topic", _COPY)
        if any(matches(name, topic) for topic in topics):
            text = definitions[kind] if kind in definitions else _standard_definition(path, name, kind)
            found[number] = Channel(name, kind, text)
    return found


def _definitions(database: sqlite3.Connection) -> dict[Any, str]:
    """By type, as recorded; older bags have none."""
    columns = {row[1] for row in database.execute("PRAGMA table_info(message_definitions)")}
    if not {"topic_type", "encoding", "encoded_message_definition"} <= columns:
        return {}
    rows = database.execute("SELECT topic_type, encoding, encoded_message_definition FROM message_definitions")
    return {kind: text for kind, encoding, text in rows if encoding == "ros2msg" and isinstance(text, str) and text}


def _standard_definition(path: Path, topic: str, kind: str) -> str:
    store = _standard()
    if kind not in store.fielddefs:
        problem = f"the bag does not define {kind}"
        raise LogError(path, topic, problem, "convert it to MCAP: `ros2 bag convert`")
    return str(store.generate_msgdef(kind, ros_version=2)[0])


@cache
def _standard() -> Any:
    return get_typestore(Stores.ROS2_HUMBLE)
