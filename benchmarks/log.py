"""What a logger that is killed loses, and how much one can write: ours, the mcap library's defaults, rosbags' writer.

A child logs 1,040 messages a second (`benchmarks/log_messages.py`) and is killed by SIGKILL at a random instant; what
it was given is in memory shared with this process. By turns ours and `plain`, the mcap library with its defaults. Ours
changes its file every 64 KiB, so that some of the kills meet that.

    max_loss_ms   = time of the last message given to the logger minus that of the last one recovered, the worst kill
    wrong_rows    = training rows of the recovered logs that are not those of the whole log, to the last bit
    without_rows  = recovered logs that give no training row at all
    holes         = recovered logs that lack a message before their last one
    max_late_ms   = by how much a message was given later than its time, the most: so the stream was of that rate
    messages_per_s, mb_per_s = ours through its backlog, as fast as it takes them; beside it the others
    sustained     = half of that for 20 s, given at its own pace to a backlog of one second: what the writer does not
                    keep up with is dropped and counted

Example: `mbrl-control bench log --kills 30`. Ends with one line of JSON; some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as BagWriter
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from benchmarks.log_child import PROGRESS
from benchmarks.log_messages import PERIODS_MS, Message, messages
from mbrl_control.episode_log.background import BackgroundWriter
from mbrl_control.episode_log.backlog import Backlog, Received
from mbrl_control.episode_log.definitions import full_definition
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.episode_log.recovery import finish_files, log_info
from mbrl_control.episode_log.rotation import FolderWriter
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.streams import read_streams
from mbrl_control.replay.transitions import Grid, cut_transitions
from mbrl_control.signals import Transitions

START_NS, SECONDS = 1_000_000_000_000, 8.0
EARLIEST_S, LATEST_S = 0.5, 6.0
"""Of a kill, after the first message."""
GRID = Grid(delay_s=0.012)
LIMITS = {"max_loss_ms": 250.0, "wrong_rows": 0, "without_rows": 0, "holes": 0, "drops": 0, "missing": 0}
SUSTAINED_SHARE, SUSTAINED_S = 0.5, 20.0


@dataclass(frozen=True, slots=True)
class Killed:
    """One kill."""

    given: int
    """Messages."""
    recovered: int
    loss_ms: float
    whole: bool
    """No message is missing before the last one."""
    wrong_rows: int
    rows: int
    late_ms: float = 0.0
    """Of the latest message."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="of ours; of the plain writer a third")
    parser.add_argument("--rounds", type=int, default=5, help="of writing as fast as possible")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator, stream = np.random.default_rng(options.seed), messages(START_NS, SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        reference = rows_of(write_whole(Path(folder) / "whole", stream))
        assert reference is not None, "the whole stream has rows"
        kills: dict[str, list[Killed]] = {"ours": [], "plain": []}
        for number in range(options.kills):
            for writer in ("ours", "plain") if number % 3 == 0 else ("ours",):
                one = kill(writer, Path(folder) / f"{writer}_{number}", stream, reference, generator)
                kills[writer].append(one)
                print(f"kill {number} of {writer}: lost {one.loss_ms:.0f} ms", file=sys.stderr, flush=True)
        rates = [throughput(Path(folder) / f"round_{number}", stream) for number in range(options.rounds)]
        figures: dict[str, Any] = {**figures_of(kills["ours"]), **rates_of(rates, stream)}
        rate = SUSTAINED_SHARE * figures["messages_per_s"]
        print(f"{rate:.0f} messages a second for {SUSTAINED_S:g} s", file=sys.stderr, flush=True)
        steady = sustained(Path(folder) / "sustained", stream, rate, SUSTAINED_S)
    figures["sustained"] = steady
    for name in ("drops", "missing"):
        figures[name] += steady[name]
    misses = [f"{name} {figures[name]} above {limit}" for name, limit in LIMITS.items() if figures[name] > limit]
    print(json.dumps(figures | {"plain": figures_of(kills["plain"]), "misses": misses}), flush=True)


def kill(
    writer: str, folder: Path, stream: list[Message], reference: Transitions, generator: np.random.Generator
) -> Killed:
    """Start a logger, kill it, recover its log."""
    progress = folder.with_suffix(".progress")
    progress.write_bytes(bytes(PROGRESS.size))
    arguments = [writer, str(folder), str(progress), str(START_NS), str(SECONDS)]
    with subprocess.Popen([sys.executable, "-m", "benchmarks.log_child", *arguments]) as child:
        while PROGRESS.unpack(progress.read_bytes())[0] == 0:
            if child.poll() is not None:
                raise RuntimeError(f"the logger ended by itself with status {child.returncode}")
            time.sleep(0.05)
        time.sleep(generator.uniform(EARLIEST_S, LATEST_S))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    given, late_ns = PROGRESS.unpack(progress.read_bytes())
    finish_files(folder)
    return replace(judge(folder, stream[:given], reference), late_ms=late_ns * 1e-6)


def judge(folder: Path, given: list[Message], reference: Transitions) -> Killed:
    """What is left of what was given."""
    try:
        held = [message.log_time_ns for message in LogReader(folder).raw()]
    except LogError:  # not one message was on the disk
        held = []
    due = [message.due_ns for message in given]
    last = held[-1] if held else START_NS
    rows = rows_of(folder) if held else None
    wrong = 0 if rows is None else wrong_rows(rows, reference)
    # One more may have been written than was noted as given when the kill came.
    whole = held[: len(due)] == due[: len(held)] and len(held) <= len(due) + 1
    return Killed(
        len(due), len(held), max(0.0, (due[-1] - last) * 1e-6), whole, wrong, 0 if rows is None else len(rows)
    )


def rows_of(log: Path) -> Transitions | None:
    """Training rows; None where the log is too short for one."""
    try:
        rows = cut_transitions(read_streams(log), GRID)
    except (LogError, TooLittleData):
        return None
    return rows if len(rows) else None


def wrong_rows(rows: Transitions, reference: Transitions) -> int:
    """Rows that are not in ``reference``, or not the same there."""
    place = np.searchsorted(reference.stamp_ns, rows.stamp_ns).clip(max=len(reference) - 1)
    same = reference.stamp_ns[place] == rows.stamp_ns
    for name in ("position", "velocity", "history", "action", "next_position", "next_velocity", "next_effort"):
        ours, theirs = (getattr(of, name).reshape(len(of), -1) for of in (rows, reference))
        same &= (ours == theirs[place]).all(axis=1)
    return int((~same).sum())


def figures_of(kills: list[Killed]) -> dict[str, float]:
    """JSON-ready."""
    losses = [one.loss_ms for one in kills]
    return {
        "kills": len(kills),
        "max_loss_ms": round(max(losses), 1),
        "median_loss_ms": round(float(np.median(losses)), 1),
        "max_late_ms": round(max(one.late_ms for one in kills), 1),
        "holes": sum(not one.whole for one in kills),
        "without_rows": sum(one.rows == 0 for one in kills),
        "rows": sum(one.rows for one in kills),
        "wrong_rows": sum(one.wrong_rows for one in kills),
    }


def write_whole(folder: Path, stream: list[Message]) -> Path:
    """The stream as one log."""
    with FolderWriter(folder) as writer:
        for topic in PERIODS_MS:
            writer.add_topic(topic.name, topic.type)
        for message in stream:
            writer.write(message.topic.name, message.cdr, message.due_ns)
    return folder


def throughput(folder: Path, stream: list[Message]) -> dict[str, float]:
    """Messages a second: ours with its backlog and thread, the plain writer, and rosbags'."""
    folder.mkdir()
    ways: dict[str, Callable[[], int]] = {
        "ours": lambda: _ours(folder / "ours", stream),
        "plain": lambda: _plain(folder / "plain.mcap", stream),
        "rosbags": lambda: _rosbags(folder / "bag", stream),
    }
    rates: dict[str, float] = {}
    for name, write in ways.items():
        began = time.perf_counter()
        dropped = write()
        rates[name] = len(stream) / (time.perf_counter() - began)
        if name == "ours":
            rates["drops"] = dropped
    rates["missing"] = len(stream) - sum(count for _, count in log_info(folder / "ours").counts)
    return rates


def rates_of(rates: list[dict[str, float]], stream: list[Message]) -> dict[str, object]:
    """Medians, and the least and most of ours."""
    size = float(np.mean([len(message.cdr) for message in stream]))
    ours = [rate["ours"] for rate in rates]
    return {
        "messages_per_s": round(float(np.median(ours))),
        "messages_per_s_range": [round(min(ours)), round(max(ours))],
        "mb_per_s": round(float(np.median(ours)) * size * 1e-6, 2),
        "drops": sum(rate["drops"] for rate in rates),
        "missing": sum(rate["missing"] for rate in rates),
        "others_messages_per_s": {
            name: round(float(np.median([rate[name] for rate in rates]))) for name in ("plain", "rosbags")
        },
    }


def sustained(
    folder: Path, stream: list[Message], rate: float, seconds: float, room_s: float = 1.0
) -> dict[str, float]:
    """Messages of the stream, again and again, at ``rate`` a second whether or not they are taken; ``room_s``: of the
    backlog."""
    size = float(np.mean([len(message.cdr) for message in stream]))
    writer, began_ns, given = _writer(folder), time.monotonic_ns(), 0
    backlog = Backlog(round(room_s * rate * size))
    log = BackgroundWriter(writer, lambda: START_NS + time.monotonic_ns() - began_ns, sys.exit, backlog)
    while (elapsed_ns := time.monotonic_ns() - began_ns) < seconds * 1e9:
        for _ in range(round(elapsed_ns * 1e-9 * rate) - given):
            message, now_ns = stream[given % len(stream)], START_NS + elapsed_ns
            log.put(Received(message.topic.name, message.cdr, now_ns, now_ns, False))
            given += 1
        time.sleep(0.001)
    log.close()
    taken_s, dropped = (time.monotonic_ns() - began_ns) * 1e-9, log.dropped.total()
    written = sum(count for _, count in log_info(folder).counts)
    return {
        "messages_per_s": round(written / taken_s),
        "mb_per_s": round(written * size / taken_s * 1e-6, 2),
        "seconds": round(taken_s, 2),
        "drops": dropped,
        "missing": given - dropped - written,
    }


def _writer(folder: Path) -> FolderWriter:
    writer = FolderWriter(folder)
    for topic in PERIODS_MS:
        writer.add_topic(topic.name, topic.type)
    return writer


def _ours(folder: Path, stream: list[Message]) -> int:
    """Messages dropped."""
    writer, backlog = _writer(folder), Backlog()
    log = BackgroundWriter(writer, lambda: START_NS, sys.exit, backlog)
    for given, message in enumerate(stream):
        while given - log.written > 5000:  # a quarter of a backlog: nothing is dropped
            time.sleep(0.001)
        log.put(Received(message.topic.name, message.cdr, message.due_ns, message.due_ns, False))
    log.close()
    return log.dropped.total()


def _plain(path: Path, stream: list[Message]) -> int:
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2", library="plain")
        channels = {}
        for topic in PERIODS_MS:
            schema = writer.register_schema(topic.type, "ros2msg", full_definition(topic.type).encode())
            channels[topic] = writer.register_channel(topic.name, "cdr", schema)
        for message in stream:
            writer.add_message(channels[message.topic], message.due_ns, message.cdr, message.due_ns)
        writer.finish()  # type: ignore[no-untyped-call]
    return 0


def _rosbags(folder: Path, stream: list[Message]) -> int:
    store = get_typestore(Stores.EMPTY)
    for topic in PERIODS_MS:
        types = get_types_from_msg(full_definition(topic.type), topic.type)
        store.register({name: spec for name, spec in types.items() if name not in store.fielddefs})
    with BagWriter(folder, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {topic: writer.add_connection(topic.name, topic.type, typestore=store) for topic in PERIODS_MS}
        for message in stream:
            writer.write(connections[message.topic], message.due_ns, message.cdr)
    return 0


if __name__ == "__main__":
    main()
