"""The logger that `bench log` kills: logs the stream in real time, and says in shared memory how far it was given.

    python -m benchmarks.log_child WRITER FOLDER PROGRESS START_NS SECONDS

`ours` is what the data_logger node writes with; `plain` is the mcap library's writer with its defaults.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mcap.writer import Writer

from benchmarks.log_messages import PERIODS_MS, Message, messages
from mbrl_control.episode_log.background import BackgroundWriter
from mbrl_control.episode_log.backlog import Received
from mbrl_control.episode_log.definitions import full_definition
from mbrl_control.episode_log.folder import log_file
from mbrl_control.episode_log.rotation import FolderWriter, Limits
from mbrl_control.episode_log.schema import QosClass

PROGRESS = struct.Struct("<qq")
"""Number of messages given to the logger, and by how much the latest of them was late, ns."""
LIMITS = Limits(file_bytes=64 * 1024)
"""So small that the kills meet the change of files, too."""


def main() -> None:
    writer, folder, progress, start_ns, seconds = sys.argv[1:6]
    stream = messages(int(start_ns), float(seconds))
    with Path(progress).open("r+b") as file:
        shared = mmap.mmap(file.fileno(), PROGRESS.size)
        began_ns = time.monotonic_ns()
        make = {"ours": ours, "plain": plain}[writer]
        log, latest_ns = make(Path(folder), lambda: int(start_ns) + time.monotonic_ns() - began_ns), 0
        for number, message in enumerate(stream):
            late_ns = time.monotonic_ns() - (began_ns + message.due_ns - int(start_ns))
            if late_ns < 0:
                time.sleep(-late_ns * 1e-9)
            log(message)
            latest_ns = max(latest_ns, late_ns)
            PROGRESS.pack_into(shared, 0, number + 1, latest_ns)
        time.sleep(60.0)


def ours(folder: Path, now_ns: Callable[[], int]) -> Callable[[Message], None]:
    """As the node logs: a backlog, a thread of its own that writes."""
    writer = FolderWriter(folder, LIMITS)
    for topic in PERIODS_MS:
        writer.add_topic(topic.name, topic.type, event=topic.qos is not QosClass.STREAM)
    log = BackgroundWriter(writer, now_ns, _end)

    def put(message: Message) -> None:
        event = message.topic.qos is not QosClass.STREAM
        log.put(Received(message.topic.name, message.cdr, message.due_ns, message.due_ns, event))

    return put


def _end(reason: str) -> None:
    sys.exit(reason)


def plain(folder: Path, now_ns: Callable[[], int]) -> Callable[[Message], None]:
    """What one writes first."""
    folder.mkdir()
    writer = Writer(str(log_file(folder, 0)))
    writer.start(profile="ros2", library="plain")
    channels = {}
    for topic in PERIODS_MS:
        schema = writer.register_schema(topic.type, "ros2msg", full_definition(topic.type).encode())
        channels[topic] = writer.register_channel(topic.name, "cdr", schema)

    def put(message: Message) -> None:
        writer.add_message(channels[message.topic], message.due_ns, message.cdr, message.due_ns)

    return put


if __name__ == "__main__":
    main()
