"""How much one process can log: ours, the mcap library's writer with the same chunks and packing, rosbags' writer.

A burst says what each takes at most. The sustained rate is then one for all: each is given the stream at its own pace,
whether or not it takes it. Ours has a backlog of one second and drops what does not fit; the others are called by who
gives, who falls behind where they are slower. The order is drawn anew each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import CompressionType, Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as BagWriter
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from benchmarks.log_child import Log, adding_to, complain, folder_writer, received
from benchmarks.log_messages import PERIODS_MS, RATE_HZ, Message
from mbrl_control.episode_log.background import BackgroundWriter
from mbrl_control.episode_log.backlog import OVERHEAD_BYTES, Backlog
from mbrl_control.episode_log.definitions import full_definition
from mbrl_control.episode_log.recovery import log_info
from mbrl_control.episode_log.writer import CHUNK_BYTES

LEAST_MULTIPLE = 10.0
"""Of the graph's own rate, without a drop."""
SUSTAINED_SHARE, MARGIN = 0.5, 1.1
"""The sustained rate: that share of our burst, but no less than the least multiple and a tenth."""
_LEFT = 5000
"""Messages that a burst of ours lets lie: a quarter of the backlog or less, so that nothing is dropped."""


@dataclass(frozen=True, slots=True)
class Way:
    """One writer, opened."""

    put: Log
    close: Callable[[], None]
    dropped: Callable[[], int] = lambda: 0
    left: Callable[[int], int] = lambda given: 0
    """Of so many messages given, those not written yet."""


def opened(name: str, path: Path, start_ns: int, backlog: Backlog) -> Way:
    """A writer by name; only ours has a backlog."""
    if name == "ours":
        return _ours(path, start_ns, backlog)
    return {"plain": _plain, "rosbags": _rosbags}[name](path)


WAYS = ("ours", "plain", "rosbags")


def bursts(folder: Path, stream: list[Message], rounds: int, generator: np.random.Generator) -> dict[str, Any]:
    """As fast as each takes them: medians of the rounds, and the least and most of ours."""
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    drops = missing = 0
    for number in range(rounds):
        for name in generator.permutation(WAYS).tolist():
            path = folder / f"burst_{number}_{name}"
            way, began = opened(name, path, stream[0].due_ns, Backlog()), time.perf_counter()
            for given, message in enumerate(stream):
                while way.left(given) > _LEFT:
                    time.sleep(0.001)
                way.put(message)
            way.close()
            rates[name].append(len(stream) / (time.perf_counter() - began))
            if name == "ours":
                drops += way.dropped()
                missing += len(stream) - written_in(path)
    ours = rates["ours"]
    return {
        "messages_per_s": round(float(np.median(ours))),
        "messages_per_s_range": [round(min(ours)), round(max(ours))],
        "mb_per_s": round(float(np.median(ours)) * mean_size(stream) * 1e-6, 2),
        "drops": drops,
        "missing": missing,
        "others_messages_per_s": {name: round(float(np.median(rates[name]))) for name in WAYS if name != "ours"},
    }


def sustained_rate(burst: float) -> float:
    """Messages a second, of one that takes so many in a burst."""
    return max(SUSTAINED_SHARE * burst, MARGIN * LEAST_MULTIPLE * RATE_HZ)


def sustained(
    folder: Path, stream: list[Message], rate: float, seconds: float, generator: np.random.Generator
) -> dict[str, dict[str, float]]:
    """The same rate for all, one after the other, by name."""
    names: list[str] = generator.permutation(WAYS).tolist()
    return {name: sustain(name, folder / f"sustained_{name}", stream, rate, seconds) for name in names}


def sustain(
    name: str, path: Path, stream: list[Message], rate: float, seconds: float, room: float | None = None
) -> dict[str, float]:
    """The stream, again and again, at ``rate`` a second; ``room``: messages that our backlog holds, None: of a second.

    ``late_s``: by how much the last message was given later than its time.
    """
    size, start_ns, given = mean_size(stream), stream[0].due_ns, 0
    backlog = Backlog(round((rate if room is None else room) * (size + OVERHEAD_BYTES)))
    way, began_ns, wanted = opened(name, path, start_ns, backlog), time.monotonic_ns(), round(rate * seconds)
    while given < wanted and time.monotonic_ns() - began_ns < 1.5e9 * seconds:
        elapsed_ns = time.monotonic_ns() - began_ns
        for _ in range(min(wanted, round(elapsed_ns * 1e-9 * rate)) - given):
            again = stream[given % len(stream)]
            way.put(Message(again.topic, start_ns + elapsed_ns, again.cdr))
            given += 1
        time.sleep(0.001)
    late_s = (time.monotonic_ns() - began_ns) * 1e-9 - given / rate
    way.close()
    taken_s, written = (time.monotonic_ns() - began_ns) * 1e-9, written_in(path) if name == "ours" else given
    on_disk = sum(file.stat().st_size for file in ([path] if path.is_file() else path.iterdir()))
    return {
        "messages_per_s": round(written / taken_s),
        "multiple_of_graph": round(written / taken_s / RATE_HZ, 2),
        "mb_per_s": round(written * size / taken_s * 1e-6, 2),
        "packed_to": round(on_disk / (written * size), 3) if written else float("nan"),
        "seconds": round(taken_s, 2),
        "late_s": round(late_s, 2),
        "drops": way.dropped(),
        "missing": given - way.dropped() - written,
    }


def mean_size(stream: list[Message]) -> float:
    """Bytes of a message, without what a file adds."""
    return float(np.mean([len(message.cdr) for message in stream]))


def written_in(log: Path) -> int:
    """Messages in a log of ours."""
    return sum(count for _, count in log_info(log).counts)


def _ours(path: Path, start_ns: int, backlog: Backlog) -> Way:
    writer, began_ns = folder_writer(path), time.monotonic_ns()
    log = BackgroundWriter(writer, lambda: start_ns + time.monotonic_ns() - began_ns, complain, backlog)
    return Way(
        lambda message: log.put(received(message)),
        log.close,
        lambda: log.dropped.total(),
        lambda given: given - log.written,
    )


def _plain(path: Path) -> Way:
    file = path.open("wb")
    writer = Writer(file, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)
    writer.start(profile="ros2", library="plain")

    def close() -> None:
        writer.finish()  # type: ignore[no-untyped-call]
        file.close()

    return Way(adding_to(writer), close)


def _rosbags(path: Path) -> Way:
    store = get_typestore(Stores.EMPTY)
    for topic in PERIODS_MS:
        types = get_types_from_msg(full_definition(topic.type), topic.type)
        store.register({name: spec for name, spec in types.items() if name not in store.fielddefs})
    writer = BagWriter(path, version=8, storage_plugin=StoragePlugin.MCAP)
    writer.open()
    connections = {topic: writer.add_connection(topic.name, topic.type, typestore=store) for topic in PERIODS_MS}
    return Way(lambda message: writer.write(connections[message.topic], message.due_ns, message.cdr), writer.close)
