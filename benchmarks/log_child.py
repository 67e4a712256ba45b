"""The logger that `bench log` kills: logs the stream in real time, and says in shared memory how far it was given.

    python -m benchmarks.log_child WRITER FOLDER PROGRESS START_NS SECONDS SLOWER

`deployed` is what the data_logger node writes with; `small` the same with a new file every 64 KiB; `unflushed` the
same as deployed but for its flush, which never comes; `plain` is the mcap library's writer with its defaults.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mcap.writer import Writer

from benchmarks.log_messages import PERIODS_MS, Message, messages
from mbrl_control.episode_log.background import BackgroundWriter
from mbrl_control.episode_log.backlog import Received
from mbrl_control.episode_log.definitions import full_definition
from mbrl_control.episode_log.folder import log_file
from mbrl_control.episode_log.rotation import FolderWriter, Limits
from mbrl_control.episode_log.schema import QosClass
from mbrl_control.episode_log.writer import FLUSH_PERIOD_NS

PROGRESS = struct.Struct("<qq")
"""Number of messages given to the logger, and by how much the latest of them was late, ns."""
SMALL = Limits(file_bytes=64 * 1024)
"""So small that the kills meet the change of files, too."""
NEVER_NS = 10**18
Log = Callable[[Message], None]


def main() -> None:
    writer, folder, progress, start_ns, seconds, slower = sys.argv[1:7]
    stream = messages(int(start_ns), float(seconds), int(slower))
    with Path(progress).open("r+b") as file:
        shared = mmap.mmap(file.fileno(), PROGRESS.size)
        began_ns = time.monotonic_ns()
        log, latest_ns = WRITERS[writer](Path(folder), lambda: int(start_ns) + time.monotonic_ns() - began_ns), 0
        for number, message in enumerate(stream):
            late_ns = time.monotonic_ns() - (began_ns + message.due_ns - int(start_ns))
            if late_ns < 0:
                time.sleep(-late_ns * 1e-9)
            log(message)
            latest_ns = max(latest_ns, late_ns)
            PROGRESS.pack_into(shared, 0, number + 1, latest_ns)
        time.sleep(60.0)


def ours(limits: Limits, flush_ns: int, folder: Path, now_ns: Callable[[], int]) -> Log:
    """As the node logs: a backlog, a thread of its own that writes."""
    log = BackgroundWriter(folder_writer(folder, limits, flush_ns), now_ns, complain)

    def put(message: Message) -> None:
        log.put(received(message))

    return put


def received(message: Message) -> Received:
    """As the node hands it over."""
    event = message.topic.qos is not QosClass.STREAM
    return Received(message.topic.name, message.cdr, message.due_ns, message.due_ns, event)


def folder_writer(folder: Path, limits: Limits | None = None, flush_ns: int = FLUSH_PERIOD_NS) -> FolderWriter:
    """With the topics of the stream; ``limits`` None: those of the node."""
    writer = FolderWriter(folder, limits, flush_ns)
    for topic in PERIODS_MS:
        writer.add_topic(topic.name, topic.type, event=topic.qos is not QosClass.STREAM)
    return writer


def complain(reason: str) -> None:
    """What ended the writing thread; what it then lacks is counted."""
    print(reason, file=sys.stderr, flush=True)


def plain(folder: Path, now_ns: Callable[[], int]) -> Log:
    """What one writes first."""
    folder.mkdir()
    writer = Writer(str(log_file(folder, 0)))
    writer.start(profile="ros2", library="plain")
    return adding_to(writer)


def adding_to(writer: Writer) -> Log:
    """Add messages of the stream to a started writer of the mcap library."""
    channels = {}
    for topic in PERIODS_MS:
        schema = writer.register_schema(topic.type, "ros2msg", full_definition(topic.type).encode())
        channels[topic] = writer.register_channel(topic.name, "cdr", schema)

    def put(message: Message) -> None:
        writer.add_message(channels[message.topic], message.due_ns, message.cdr, message.due_ns)

    return put


WRITERS: dict[str, Callable[[Path, Callable[[], int]], Log]] = {
    "deployed": partial(ours, Limits(), FLUSH_PERIOD_NS),
    "small": partial(ours, SMALL, FLUSH_PERIOD_NS),
    "unflushed": partial(ours, Limits(), NEVER_NS),
    "plain": plain,
}

if __name__ == "__main__":
    main()
