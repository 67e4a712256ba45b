"""A command row that an import leaves out was in force all the same: no training row has an action across it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import CompressionType

from mbrl_control.replay.held import HeldSignal
from mbrl_control.replay.importing.report import ImportReport
from mbrl_control.replay.streams import read_streams
from mbrl_control.replay.transitions import Grid, cut_transitions
from mbrl_control.signals import Transitions
from tests.unit.foreign_recordings import (
    BAG,
    JOINTS,
    TABLE,
    Motion,
    bag_messages,
    jittered,
    joint_state,
    regular,
    run,
    write_bag,
    write_csv,
    write_mcap,
)

Edit = Callable[[list[str]], None]
AT = 150
"""Sample whose command is left out, while both commands ramp."""
LINE = AT + 2
"""Of the table, from 1; the head is the first."""
MS = 1_000_000
GRID = Grid(0.0)
ENABLED: dict[str, Any] = {
    **TABLE,
    "tables": {**TABLE["tables"], "command": {**TABLE["tables"]["command"], "enabled": "on"}},
}


def cells(**changed: str) -> Edit:
    def edit(lines: list[str]) -> None:
        row = dict(zip(lines[0].split(","), lines[LINE - 1].split(","), strict=True)) | changed
        lines[LINE - 1] = ",".join(row.values())

    return edit


def ragged(lines: list[str]) -> None:
    lines[LINE - 1] += ",1.0"


def of_the_stamp_before(lines: list[str]) -> None:
    """Another command at the same time: which of the two held, nobody knows."""
    cells(t=lines[LINE - 2].split(",")[0])(lines)


def backward(lines: list[str]) -> None:
    lines[LINE - 1], lines[LINE] = lines[LINE], lines[LINE - 1]


def off(lines: list[str]) -> None:
    lines[:] = [f"{line},{'on' if number == 0 else int(number != AT + 1)}" for number, line in enumerate(lines)]


def edited(tmp_path: Path, motion: Motion, edit: Edit, mapping: dict[str, Any]) -> tuple[ImportReport, Transitions]:
    lines = write_csv(tmp_path / "a.csv", motion)
    edit(lines)
    (tmp_path / "a.csv").write_text("\n".join(lines))
    report = run(tmp_path / "a.csv", mapping, tmp_path / "log")
    return report, cut_transitions(read_streams(tmp_path / "log"), GRID)


def actions_are_those_of(motion: Motion, rows: Transitions) -> None:
    """Of the commands as they were given, those that the import left out included."""
    given = HeldSignal(motion.ns, motion.u)
    for back, found in enumerate([rows.action, *np.moveaxis(rows.history, 1, 0)[::-1]]):
        begin = rows.stamp_ns - back * GRID.dt_ns
        np.testing.assert_allclose(found, given.mean(begin, begin + GRID.dt_ns), atol=1e-9)


def lost(whole: Transitions, rows: Transitions) -> int:
    """How many rows there are less; none is another, and some lie on both sides of the hole."""
    assert np.isin(rows.stamp_ns, whole.stamp_ns).all()
    assert len(np.unique(rows.segment)) == 2
    return len(whole) - len(rows)


@pytest.mark.parametrize(
    ("edit", "mapping"),
    [
        (cells(u_joint_a="nan"), TABLE),
        (cells(u_joint_a=""), TABLE),
        (cells(u_joint_a="fast"), TABLE),
        (cells(u_joint_b="99.0"), TABLE),
        (cells(t="later"), TABLE),
        (cells(t="-5"), TABLE),
        (cells(t="1900000000000"), TABLE),
        (ragged, TABLE),
        (of_the_stamp_before, TABLE),
        (backward, TABLE),
        (off, ENABLED),
    ],
    ids=["nan", "empty", "text", "beyond", "no-time", "1969", "wild", "ragged", "repeated", "backward", "off"],
)
def test_no_row_reads_a_command_that_was_left_out(tmp_path: Path, edit: Edit, mapping: dict[str, Any]) -> None:
    """At 100 Hz the hole is two periods long: less than a gap, and held across it would be the command before."""
    motion = regular()
    (tmp_path / "whole").mkdir()
    whole = edited(tmp_path / "whole", motion, lambda lines: None, TABLE)[1]
    report, rows = edited(tmp_path, motion, edit, mapping)
    actions_are_those_of(motion, whole)
    actions_are_those_of(motion, rows)
    assert 8 <= lost(whole, rows) <= 14, "what reads 20 to 30 ms of commands, history included"
    assert report.state.gaps == ()
    assert report.command.gaps
    assert all(gap.length_ns <= report.command.max_gap_ms * MS for gap in report.command.gaps)
    (note,) = [note for note in report.notes if note.startswith("command: ")]
    assert f"in force: {len(report.command.gaps)};" in note
    assert note.endswith("nothing is held across them")


@pytest.mark.parametrize(("edit", "mapping"), [(cells(u_joint_a=""), TABLE), (off, ENABLED)], ids=["empty", "off"])
@pytest.mark.parametrize("seed", range(3))
def test_between_jittered_stamps_the_command_before_is_not_held_on(
    tmp_path: Path, edit: Edit, mapping: dict[str, Any], seed: int
) -> None:
    """The row that was left out may follow much sooner than a usual period."""
    motion = jittered(np.random.default_rng(seed))
    rows = edited(tmp_path, motion, edit, mapping)[1]
    begin, end = rows.stamp_ns - GRID.history * GRID.dt_ns, rows.stamp_ns + GRID.dt_ns
    assert not ((begin < motion.ns[AT + 1]) & (end > motion.ns[AT])).any()
    assert (end <= motion.ns[AT]).any()
    assert (begin >= motion.ns[AT + 1]).any()


def test_what_says_the_same_again_splits_nothing(tmp_path: Path) -> None:
    report, rows = edited(tmp_path, regular(), lambda lines: lines.insert(LINE, lines[LINE - 1]), TABLE)
    assert (report.command.gaps, report.bad_count) == ((), 1)
    assert len(np.unique(rows.segment)) == 1


def test_rows_of_another_rate_split_nothing(tmp_path: Path) -> None:
    """Commands at every second row; in the others they are empty, and so is what says whether they are in force."""

    def merge(lines: list[str]) -> None:
        lines[:] = [f"{line},{'1' if number else 'on'}" for number, line in enumerate(lines)]
        lines[1::2] = [",".join([*line.split(",")[:-3], "", "", ""]) for line in lines[1::2]]

    motion = regular()
    report, rows = edited(tmp_path, motion, merge, ENABLED)
    assert report.command.gaps == report.bad_rows == ()
    given = HeldSignal(motion.ns[1::2], motion.u[1::2])
    np.testing.assert_allclose(rows.action, given.mean(rows.stamp_ns, rows.stamp_ns + GRID.dt_ns), atol=1e-9)


TAILS = {"nan": struct.pack("<d", np.nan), "beyond": struct.pack("<d", 99.0), "cut": b""}


@pytest.mark.parametrize("tail", TAILS.values(), ids=list(TAILS))
def test_nor_a_message_that_was_left_out(tmp_path: Path, tail: bytes) -> None:
    motion = regular()
    number = [n for n, (topic, *_) in enumerate(bag_messages(motion)) if topic == "/commands"][AT]
    write_bag(tmp_path / "bag", motion, garble=lambda n, data: data[:-8] + tail if n == number else data)
    report = run(tmp_path / "bag", BAG, tmp_path / "log")
    (bad,) = report.bad_rows
    assert (bad.where, bad.first, bad.last) == ("/commands", AT, AT)
    rows = cut_transitions(read_streams(tmp_path / "log"), GRID)
    actions_are_those_of(motion, rows)
    assert len(np.unique(rows.segment)) == 2
    (gap,) = report.command.gaps
    assert (gap.after_row, gap.before_row) == (AT - 1, AT + 1)


def test_an_effort_that_is_nan_in_every_message_was_not_recorded(tmp_path: Path) -> None:
    """As joint_state_broadcaster publishes it of joints without that interface."""
    motion = regular()
    states = zip(motion.ns.tolist(), motion.q, motion.dq, strict=True)
    messages = [("/joint_states", ns, joint_state(ns, JOINTS, q, dq, [np.nan, np.nan])) for ns, q, dq in states]
    messages += [message for message in bag_messages(motion) if message[0] == "/commands"]
    write_mcap(tmp_path / "a.mcap", sorted(messages, key=lambda message: message[1]), CompressionType.NONE)
    report = run(tmp_path / "a.mcap", BAG, tmp_path / "log")
    assert (report.effort, report.bad_rows) == ("absent, zero", ())
    np.testing.assert_array_equal(read_streams(tmp_path / "log").position, motion.q)
