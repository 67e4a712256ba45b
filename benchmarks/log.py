"""What a logger that is killed loses, and how much one can write: ours, the mcap library, rosbags' writer.

A child logs the graph's fast topics at their rates and sizes (`benchmarks/log_messages.py`), 1,040 messages a second,
and is killed by SIGKILL at a random instant, from the first message on; what it was given is in memory shared with this
process. Of four kills two are of a logger that changes its file every 64 KiB, so that some meet that; one is of the
logger as deployed; and one of that under a tenth of the messages, where a chunk takes a second to fill and nothing but
the flush keeps the loss small. Beside them the mcap library with its defaults, and, as a check of the check, the
deployed logger without its flush: a bench that does not find it out is not valid.

    max_loss_ms   = time of the last message given to the logger minus that of the last one recovered, the worst kill
    max_loss_ms_of = the same by kind of kill
    wrong_rows    = training rows of the recovered logs that are not those of the whole log, to the last bit
    without_rows  = recovered logs of a second or more that give no training row at all
    holes         = recovered logs that lack a message before their last one
    max_late_ms   = by how much a message was given later than its time, the most: so the stream was of that rate
    messages_per_s, mb_per_s = ours through its backlog, as fast as it takes them; beside it the others, with the chunks
                    and packing of ours (mcap library) or their own (rosbags), in drawn order
    sustained     = all three at one rate, half of our burst and no less than 11 times the graph's, for 20 s each, in
                    drawn order; packed_to: bytes on the disk by byte given; late_s: what who gives has fallen behind
    multiple_of_graph = ours, sustained, over the graph's own rate

Example: `mbrl-control bench log --kills 30 --folder /var/log`. Ends with one line of JSON; some minutes.
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.log_child import PROGRESS, folder_writer
from benchmarks.log_messages import Message, messages
from benchmarks.log_rates import LEAST_MULTIPLE, bursts, sustained, sustained_rate
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.episode_log.recovery import finish_files
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.streams import read_streams
from mbrl_control.replay.transitions import Grid, cut_transitions
from mbrl_control.signals import Transitions

START_NS, SECONDS = 1_000_000_000_000, 8.0
LATEST_S = 6.0
"""Of a kill, after the first message; the earliest is at once."""
ROWS_FROM_S = 1.0
"""A log of so much has to give training rows."""
GRID = Grid(delay_s=0.012)
MAX_LOSS_MS = 250.0
LIMITS = {"max_loss_ms": MAX_LOSS_MS, "wrong_rows": 0, "without_rows": 0, "holes": 0, "drops": 0, "missing": 0}
SUSTAINED_S = 20.0


@dataclass(frozen=True, slots=True)
class Kind:
    """Of a kill: which logger of `benchmarks.log_child`, and by how much slower its stream is."""

    writer: str
    slower: int = 1


KINDS = {
    "small": Kind("small"),
    "deployed": Kind("deployed"),
    "slow": Kind("deployed", 10),
    "plain": Kind("plain"),
    "unflushed": Kind("unflushed", 10),
}
OURS = ("small", "deployed", "small", "slow")
"""By turns."""
OTHERS = {"plain": 3, "unflushed": 6}
"""One beside so many of ours."""


@dataclass(frozen=True, slots=True)
class Killed:
    """One kill."""

    given: int
    """Messages."""
    recovered: int
    recovered_s: float
    loss_ms: float
    whole: bool
    """No message is missing before the last one."""
    wrong_rows: int
    rows: int
    late_ms: float = 0.0
    """Of the latest message."""


@dataclass(frozen=True, slots=True)
class Given:
    """A stream, and the training rows that its whole log has."""

    stream: list[Message]
    rows: Transitions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="of ours; of the plain writer a third")
    parser.add_argument("--rounds", type=int, default=5, help="of writing as fast as possible")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured (default: where temporary files go)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        streams = {slower: streamed(folder / f"whole_{slower}", slower) for slower in (1, 10)}
        kills = all_kills(options.kills, folder, streams, generator)
        stream = streams[1].stream
        figures: dict[str, Any] = {"folder": str(folder.parent), **figures_of(kills)}
        figures |= bursts(folder, stream, options.rounds, generator)
        rate = sustained_rate(figures["messages_per_s"])
        print(f"{rate:.0f} messages a second for {SUSTAINED_S:g} s", file=sys.stderr, flush=True)
        figures["sustained"] = sustained(folder, stream, rate, SUSTAINED_S, generator)
    steady = figures["sustained"]["ours"]
    figures["multiple_of_graph"] = steady["multiple_of_graph"]
    for name in ("drops", "missing"):
        figures[name] += steady[name]
    print(json.dumps(figures | verdict(figures)), flush=True)


def streamed(folder: Path, slower: int) -> Given:
    """The stream that a child makes, too."""
    stream = messages(START_NS, SECONDS, slower)
    rows = rows_of(write_whole(folder, stream))
    assert rows is not None, "the whole stream has rows"
    return Given(stream, rows)


def all_kills(
    count: int, folder: Path, streams: dict[int, Given], generator: np.random.Generator
) -> dict[str, list[Killed]]:
    """So many of ours and the others beside them, by kind."""
    kills: dict[str, list[Killed]] = {kind: [] for kind in KINDS}
    for number in range(count):
        beside = [kind for kind, every in OTHERS.items() if number % every == 0]
        for kind in (OURS[number % len(OURS)], *beside):
            one = kill(KINDS[kind], folder / f"{kind}_{number}", streams[KINDS[kind].slower], generator)
            kills[kind].append(one)
            print(f"kill {number}, {kind}: lost {one.loss_ms:.0f} ms", file=sys.stderr, flush=True)
    return kills


def kill(kind: Kind, folder: Path, whole: Given, generator: np.random.Generator) -> Killed:
    """Start a logger, kill it, recover its log."""
    progress = folder.with_suffix(".progress")
    progress.write_bytes(bytes(PROGRESS.size))
    arguments = [kind.writer, str(folder), str(progress), str(START_NS), str(SECONDS), str(kind.slower)]
    with subprocess.Popen([sys.executable, "-m", "benchmarks.log_child", *arguments]) as child:
        while PROGRESS.unpack(progress.read_bytes())[0] == 0:
            if child.poll() is not None:
                raise RuntimeError(f"the logger ended by itself with status {child.returncode}")
            time.sleep(0.001)
        time.sleep(generator.uniform(0.0, LATEST_S))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    number, late_ns = PROGRESS.unpack(progress.read_bytes())
    finish_files(folder)
    return replace(judge(folder, whole.stream[:number], whole.rows), late_ms=late_ns * 1e-6)


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
        *(len(due), len(held), (last - START_NS) * 1e-9, max(0.0, (due[-1] - last) * 1e-6), whole, wrong),
        rows=0 if rows is None else len(rows),
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


def figures_of(kills: dict[str, list[Killed]]) -> dict[str, Any]:
    """JSON-ready: all of ours together, then what the others lost."""
    ours = [one for kind in dict.fromkeys(OURS) for one in kills[kind]]
    return {
        **_figures(ours),
        "max_loss_ms_of": {kind: _worst(kills[kind]) for kind in dict.fromkeys(OURS) if kills[kind]},
        **{kind: _figures(kills[kind]) for kind in OTHERS if kills[kind]},
    }


def _worst(kills: list[Killed]) -> float:
    return round(max(one.loss_ms for one in kills), 1)


def _figures(kills: list[Killed]) -> dict[str, float]:
    return {
        "kills": len(kills),
        "max_loss_ms": _worst(kills),
        "median_loss_ms": round(float(np.median([one.loss_ms for one in kills])), 1),
        "max_late_ms": round(max(one.late_ms for one in kills), 1),
        "holes": sum(not one.whole for one in kills),
        "without_rows": sum(one.rows == 0 and one.recovered_s >= ROWS_FROM_S for one in kills),
        "rows": sum(one.rows for one in kills),
        "wrong_rows": sum(one.wrong_rows for one in kills),
    }


def verdict(figures: dict[str, Any]) -> dict[str, Any]:
    """The misses, and whether the kills would have found out a logger that does not flush."""
    misses = [f"{name} {figures[name]} above {limit}" for name, limit in LIMITS.items() if figures[name] > limit]
    if figures["multiple_of_graph"] < LEAST_MULTIPLE:
        misses.append(f"multiple_of_graph {figures['multiple_of_graph']} below {LEAST_MULTIPLE:g}")
    reasons = []
    if figures["unflushed"]["max_loss_ms"] <= MAX_LOSS_MS:
        reasons.append(f"unflushed: without its flush the logger lost no more than {MAX_LOSS_MS:g} ms: more kills")
    return {"valid": not reasons, "invalid_reasons": reasons, "misses": misses}


def write_whole(folder: Path, stream: list[Message]) -> Path:
    """The stream as one log."""
    with folder_writer(folder) as writer:
        for message in stream:
            writer.write(message.topic.name, message.cdr, message.due_ns)
    return folder


if __name__ == "__main__":
    main()
