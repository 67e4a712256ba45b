"""`bench log` counts what it says it counts: losses, holes, rows that are not those of the whole log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.log import START_NS, figures_of, judge, rows_of, sustained, write_whole, wrong_rows
from benchmarks.log_messages import Message, messages
from mbrl_control.signals import Transitions


@pytest.fixture(scope="module")
def stream() -> list[Message]:
    return messages(START_NS, 1.0)


@pytest.fixture(scope="module")
def reference(stream: list[Message], tmp_path_factory: pytest.TempPathFactory) -> Transitions:
    rows = rows_of(write_whole(tmp_path_factory.mktemp("whole") / "log", stream))
    assert rows is not None
    return rows


def test_a_log_that_ends_early_is_whole_up_to_there(
    stream: list[Message], reference: Transitions, tmp_path: Path
) -> None:
    found = judge(write_whole(tmp_path / "log", stream[:700]), stream[:800], reference)
    assert (found.given, found.recovered, found.whole, found.wrong_rows) == (800, 700, True, 0)
    assert found.loss_ms == pytest.approx((stream[799].due_ns - stream[699].due_ns) * 1e-6)
    assert 0 < found.rows < len(reference)


def test_a_log_that_gives_no_rows_is_no_success(stream: list[Message], reference: Transitions, tmp_path: Path) -> None:
    """No wrong rows there, either."""
    found = judge(write_whole(tmp_path / "log", stream[:20]), stream[:20], reference)
    assert (found.rows, found.wrong_rows, found.whole) == (0, 0, True)
    assert figures_of([found])["without_rows"] == 1


def test_what_the_writer_does_not_keep_up_with_is_dropped_and_counted(stream: list[Message], tmp_path: Path) -> None:
    slow = sustained(tmp_path / "slow", stream, 500.0, 1.0)
    assert (slow["drops"], slow["missing"]) == (0, 0)
    fast = sustained(tmp_path / "fast", stream, 3e5, 0.3, room_s=0.001)
    assert fast["drops"] > 0
    assert fast["missing"] == 0


def test_a_missing_message_is_a_hole(stream: list[Message], reference: Transitions, tmp_path: Path) -> None:
    held = stream[:300] + stream[301:700]
    assert not judge(write_whole(tmp_path / "log", held), stream[:700], reference).whole


def test_rows_that_differ_or_are_not_there_are_wrong(reference: Transitions) -> None:
    assert wrong_rows(reference, reference) == 0
    velocity = reference.velocity.copy()
    velocity[3, 0] += 1e-12
    assert wrong_rows(replace(reference, velocity=velocity), reference) == 1
    assert wrong_rows(replace(reference, stamp_ns=reference.stamp_ns + 1), reference) == len(reference)
