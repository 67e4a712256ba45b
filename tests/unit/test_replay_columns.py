"""A log's messages as columns: what was chosen before is chosen now, errors count only there, no message is kept."""

from __future__ import annotations

import math
import tracemalloc
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.schema import BELIEF, SAFE_COMMAND
from mbrl_control.replay.columns import BACKWARD, REPEATED, Columns, Fields, Repair
from mbrl_control.replay.streams import read_streams
from tests.unit.synthetic_log import Arm, arm_streams, write_streams

PATH = Path("log.mcap")
WANTED = Fields({"sequence": "Q", "interface": "B"}, ("interface",), ("position",), named=True)


def message(stamp: int, position: list[float], names: tuple[str, ...] = ("a", "b"), **more: Any) -> SimpleNamespace:
    return SimpleNamespace(
        stamp=SimpleNamespace(sec=stamp // 10**9, nanosec=stamp % 10**9),
        joint_names=list(names), position=np.array(position), **{"sequence": stamp, **more},
    )  # fmt: skip


def columns(*messages: SimpleNamespace) -> Columns:
    made = Columns(PATH, BELIEF, WANTED)
    for each in messages:
        made.add(each)
    return made


STAMPS = st.lists(st.integers(0, 12), max_size=15)
BOUNDS = st.integers(-1, 13)


@given(STAMPS, BOUNDS, BOUNDS)
def test_chosen_are_those_inside_by_stamp_and_of_equal_ones_the_last(stamps: list[int], begin: int, end: int) -> None:
    messages = [message(stamp, [float(number), 0.5], sequence=number) for number, stamp in enumerate(stamps)]
    kept = {stamp: number for number, stamp in enumerate(stamps) if begin <= stamp < end}
    table = columns(*messages).between(begin, end)
    assert table.stamp_ns.tolist() == sorted(kept)
    assert table.scalars["sequence"].tolist() == [kept[stamp] for stamp in sorted(kept)]
    assert table.scalars["interface"].tolist() == [0] * len(kept)
    assert table.joint_names == ({("a", "b")} if kept else set())
    if stamps:
        assert table.matrix("position", 2)[:, 0].tolist() == [kept[stamp] for stamp in sorted(kept)]
    inside = [number for number, stamp in enumerate(stamps) if begin <= stamp < end]
    mended = {
        BACKWARD: [after for before, after in pairwise(inside) if stamps[after] < stamps[before]],
        REPEATED: [number for number in inside if kept[stamps[number]] != number],
    }
    assert table.repairs == tuple(
        Repair("belief", what, len(found), found[0], stamps[found[0]]) for what, found in mended.items() if found
    )


@given(STAMPS, st.sets(st.integers(0, 14), min_size=1))
def test_a_refusal_names_the_first_message_at_fault_by_number_and_stamp(stamps: list[int], broken: set[int]) -> None:
    """The first by its stamp."""
    kept = {stamp: number for number, stamp in enumerate(stamps)}
    faults = sorted((stamp, number) for stamp, number in kept.items() if number in broken)
    messages = [message(stamp, [math.nan if n in broken else 0.0, 0.5]) for n, stamp in enumerate(stamps)]
    table = columns(*messages).between(-1, 13)
    assume(faults)
    with pytest.raises(LogError) as refused:
        table.matrix("position", 2)
    (stamp, number) = faults[0]
    told = f"in {len(faults)} of its messages, the first number {number} (from 0), stamp 0.{stamp:09d} s; leave"
    assert f"belief.position: is not finite {told}" in str(refused.value)


def test_what_is_wrong_counts_only_where_it_is_asked_for() -> None:
    good = [message(stamp, [1.0, 2.0]) for stamp in (3, 4)]
    others = [message(1, [math.nan, 0.0]), *good, message(7, [1.0], ("a",)), message(9, [1.0, 2.0], ("b", "a"))]
    told = columns(*others)
    assert told.between(2, 6).matrix("position", 2).tolist() == [[1.0, 2.0]] * 2
    with pytest.raises(LogError, match=r"position.*not finite"):
        told.between(0, 6).matrix("position", 2)
    with pytest.raises(LogError, match=r"position: has not 2 entries in 1 of its messages, the first number 3 "):
        told.between(2, 8).matrix("position", 2)
    with pytest.raises(LogError, match=r"position.*has not 3 entries"):
        told.between(2, 6).matrix("position", 3)
    assert told.between(2, 10).joint_names == {("a", "b"), ("a",), ("b", "a")}


@pytest.mark.parametrize("wrong", [{"sequence": -1}, {"sequence": "x"}, {"position": "north"}, {"interface": 300}])
def test_other_fields_than_the_topics_are_refused_by_name(wrong: dict[str, Any]) -> None:
    made = Columns(PATH, SAFE_COMMAND, WANTED)
    with pytest.raises(LogError, match=r"log\.mcap.*safe_command.*give a log of this graph"):
        made.add(SimpleNamespace(**{**vars(message(1, [1.0, 2.0])), **wrong}))
    lacking = message(1, [1.0, 2.0])
    del lacking.sequence
    with pytest.raises(LogError, match="sequence"):
        made.add(lacking)


def test_reading_a_log_takes_little_more_than_what_comes_out(tmp_path: Path) -> None:
    """Kept as objects, messages of two joints take thirty times as much."""
    taken, given_back = [], []
    for seconds in (5.0, 25.0):
        log = tmp_path / f"{seconds:g}.mcap"
        write_streams(log, arm_streams(Arm(), seconds, np.random.default_rng(0)))
        tracemalloc.start()
        try:
            streams = read_streams(log)
            taken.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        arrays = (getattr(streams, name) for name in ("belief_ns", "position", "velocity", "effort", "applied"))
        given_back.append(sum(array.nbytes for array in arrays))
    assert taken[1] - taken[0] < 4.0 * (given_back[1] - given_back[0])
