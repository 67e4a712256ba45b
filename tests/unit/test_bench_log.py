"""`bench log` counts what it says it counts, and finds out a logger that does not flush."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.log import (
    KINDS,
    MAX_LOSS_MS,
    OURS,
    START_NS,
    Killed,
    figures_of,
    judge,
    rows_of,
    verdict,
    write_whole,
    wrong_rows,
)
from benchmarks.log_child import NEVER_NS, folder_writer
from benchmarks.log_messages import PERIODS_MS, RATE_HZ, Message, messages
from benchmarks.log_rates import LEAST_MULTIPLE, bursts, sustain, sustained_rate
from mbrl_control.episode_log.recovery import finish_files
from mbrl_control.episode_log.rotation import Limits
from mbrl_control.episode_log.schema import BELIEF
from mbrl_control.episode_log.writer import FLUSH_PERIOD_NS
from mbrl_control.signals import Transitions
from tests.unit.test_log_crashes import kill

GOOD = Killed(2000, 1990, 2.0, 60.0, True, 0, 150)
BAD = replace(GOOD, loss_ms=900.0)
KILLS = {kind: [GOOD] for kind in KINDS} | {"unflushed": [GOOD, BAD]}


@pytest.fixture(scope="module")
def stream() -> list[Message]:
    return messages(START_NS, 1.2)


@pytest.fixture(scope="module")
def reference(stream: list[Message], tmp_path_factory: pytest.TempPathFactory) -> Transitions:
    rows = rows_of(write_whole(tmp_path_factory.mktemp("whole") / "log", stream))
    assert rows is not None
    return rows


def test_the_stream_is_the_same_whoever_makes_it_and_as_dense_as_the_graph(stream: list[Message]) -> None:
    assert messages(START_NS, 1.2) == stream
    assert len(stream) == 1.2 * RATE_HZ == 1.2 * 1040
    assert {message.topic for message in stream} == set(PERIODS_MS)
    slower = messages(START_NS, 1.2, 10)
    assert len(slower) == pytest.approx(len(stream) / 10, abs=len(PERIODS_MS))


def test_a_log_that_ends_early_is_whole_up_to_there(
    stream: list[Message], reference: Transitions, tmp_path: Path
) -> None:
    found = judge(write_whole(tmp_path / "log", stream[:700]), stream[:800], reference)
    assert (found.given, found.recovered, found.whole, found.wrong_rows) == (800, 700, True, 0)
    assert found.loss_ms == pytest.approx((stream[799].due_ns - stream[699].due_ns) * 1e-6)
    assert 0 < found.rows < len(reference)


def test_a_log_that_gives_no_rows_is_no_success_unless_it_is_too_short(
    stream: list[Message], reference: Transitions, tmp_path: Path
) -> None:
    """No wrong rows there, either."""
    short = judge(write_whole(tmp_path / "short", stream[:20]), stream[:20], reference)
    assert (short.rows, short.wrong_rows, short.whole) == (0, 0, True)
    deaf = [message for message in stream if message.topic is BELIEF]
    long = judge(write_whole(tmp_path / "long", deaf), deaf, reference)
    assert (long.rows, long.wrong_rows, long.whole) == (0, 0, True)
    assert figures_of(KILLS | {"small": [short, long]})["without_rows"] == 1


def killed_at(folder: Path, stream: list[Message], number: int, flush_ns: int, reference: Transitions) -> Killed:
    """The deployed writer, but for its flush, killed after so many messages."""
    writer = folder_writer(folder, Limits(), flush_ns)
    for message in stream[:number]:
        writer.write(message.topic.name, message.cdr, message.due_ns)
    kill(writer)
    finish_files(folder)
    return judge(folder, stream[:number], reference)


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], list[Killed]]:
    """Kills by (how much slower the stream is, flush period)."""
    found = {}
    for slower in (1, 10):
        folder = tmp_path_factory.mktemp("kills")
        stream = messages(START_NS, 2.5, slower)
        reference = rows_of(write_whole(folder / "whole", stream))
        assert reference is not None
        for flush_ns in (FLUSH_PERIOD_NS, NEVER_NS):
            numbers = np.linspace(1, len(stream), 15, dtype=int).tolist()
            found[slower, flush_ns] = [
                killed_at(folder / f"{flush_ns}_{number}", stream, number, flush_ns, reference) for number in numbers
            ]
    return found


def test_the_writer_loses_little_whatever_the_rate(losses: dict[tuple[int, int], list[Killed]]) -> None:
    for slower in (1, 10):
        kills = losses[slower, FLUSH_PERIOD_NS]
        assert max(one.loss_ms for one in kills) <= MAX_LOSS_MS
        assert all(one.whole and not one.wrong_rows for one in kills)
        assert sum(one.rows for one in kills) > 0


def test_a_writer_without_its_flush_is_found_out_by_few_messages_and_not_by_many(
    losses: dict[tuple[int, int], list[Killed]],
) -> None:
    """At the graph's full rate a chunk is full before the flush is missed: that is why there are slow kills."""
    assert max(one.loss_ms for one in losses[1, NEVER_NS]) <= MAX_LOSS_MS
    assert max(one.loss_ms for one in losses[10, NEVER_NS]) > MAX_LOSS_MS
    kills = KILLS | {"slow": losses[10, NEVER_NS]}
    assert any("max_loss_ms" in miss for miss in verdict(rated(kills))["misses"])


def rated(kills: dict[str, list[Killed]], **changed: float) -> dict[str, Any]:
    return figures_of(kills) | {"drops": 0, "missing": 0, "multiple_of_graph": LEAST_MULTIPLE} | changed


def test_a_clean_run_has_no_miss_and_every_fault_is_one() -> None:
    assert verdict(rated(KILLS)) == {"valid": True, "invalid_reasons": [], "misses": []}
    for kind in OURS:
        assert verdict(rated(KILLS | {kind: [BAD]}))["misses"] == ["max_loss_ms 900.0 above 250.0"]
    assert verdict(rated(KILLS, drops=1))["misses"] == ["drops 1 above 0"]
    assert verdict(rated(KILLS, multiple_of_graph=9.9))["misses"] == ["multiple_of_graph 9.9 below 10"]
    assert verdict(rated(KILLS | {"plain": [BAD]}))["misses"] == []
    blind = verdict(rated(KILLS | {"unflushed": [GOOD]}))
    assert not blind["valid"]
    assert "without its flush" in blind["invalid_reasons"][0]


def test_half_of_the_kills_are_of_the_deployed_logger_and_some_under_few_messages() -> None:
    assert sorted(KINDS[kind].writer for kind in OURS) == ["deployed", "deployed", "small", "small"]
    assert RATE_HZ / KINDS["slow"].slower == pytest.approx(104.0)


def test_the_sustained_rate_is_never_below_what_is_asked_for() -> None:
    """A logger ten times slower is not asked for a tenth."""
    assert sustained_rate(1e5) == 5e4
    assert sustained_rate(1e3) == pytest.approx(11.0 * RATE_HZ)


def test_what_the_writer_does_not_keep_up_with_is_dropped_and_counted(stream: list[Message], tmp_path: Path) -> None:
    slow = sustain("ours", tmp_path / "slow", stream, 500.0, 1.0)
    assert (slow["drops"], slow["missing"]) == (0, 0)
    fast = sustain("ours", tmp_path / "fast", stream, 3e5, 0.3, room=100.0)
    assert fast["drops"] > 0
    assert fast["missing"] == 0


def test_all_writers_take_the_same_stream(stream: list[Message], tmp_path: Path) -> None:
    found = bursts(tmp_path, stream, 1, np.random.default_rng(0))
    assert (found["drops"], found["missing"]) == (0, 0)
    assert set(found["others_messages_per_s"]) == {"plain", "rosbags"}
    others = {name: sustain(name, tmp_path / name, stream, 1000.0, 0.3) for name in ("plain", "rosbags")}
    assert all(each["missing"] == 0 and each["messages_per_s"] > 0 for each in others.values())


def test_a_missing_message_is_a_hole(stream: list[Message], reference: Transitions, tmp_path: Path) -> None:
    held = stream[:300] + stream[301:700]
    assert not judge(write_whole(tmp_path / "log", held), stream[:700], reference).whole


def test_rows_that_differ_or_are_not_there_are_wrong(reference: Transitions) -> None:
    assert wrong_rows(reference, reference) == 0
    velocity = reference.velocity.copy()
    velocity[3, 0] += 1e-12
    assert wrong_rows(replace(reference, velocity=velocity), reference) == 1
    assert wrong_rows(replace(reference, stamp_ns=reference.stamp_ns + 1), reference) == len(reference)
