"""Whose rows a log holds: of the collector, of planners and models by turns, and where the guard took over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.schema import PLAN, PLANNER_REPORT, SAFE_COMMAND, Topic
from mbrl_control.replay.arm_rows import arm_layout, arm_steps
from mbrl_control.replay.home import memory_buffer
from mbrl_control.replay.layout import BufferSpec
from mbrl_control.replay.log_origins import origins_of_log
from mbrl_control.replay.provenance import Provenance, Source
from mbrl_control.replay.streams import read_streams
from mbrl_control.replay.transitions import Grid, cut_transitions
from mbrl_control.signals import PlanOutcome
from tests.unit.synthetic_log import NAMES, T0_NS, Arm, arm_streams, message, write_rows, write_streams

MS = 1_000_000
TICK, PLAN_PERIOD = 5, 20
"""ms."""
GRID = Grid(delay_s=0.012)


@dataclass(frozen=True)
class Part:
    """Some time of one kind of command."""

    until_ms: int
    policy: str
    model: str
    epoch: int = 0
    """0: no plan is followed."""
    stage: int = 0


PARTS = (
    Part(400, "excitation", "", epoch=1),
    Part(800, "icem", "planar/3", epoch=2),
    Part(1000, "icem", "planar/3", epoch=2, stage=7),
    Part(1300, "mppi", "planar/4", epoch=3),
    Part(1600, "guard", "", stage=8),
)
"""Every epoch numbers its plans from 1."""


def write(path: Path, parts: tuple[Part, ...]) -> None:
    rows: list[tuple[int, Topic, bytes]] = []
    begin = 0
    sequences: dict[int, int] = {}
    for part in parts:
        for ms in range(begin, part.until_ms, TICK):
            now = T0_NS + ms * MS
            if part.epoch and ms % PLAN_PERIOD == 0:
                number = sequences[part.epoch] = sequences.get(part.epoch, 0) + 1
                excitation = part.policy == "excitation"
                outcome = PlanOutcome.EXCITATION if excitation else PlanOutcome.OPTIMIZED
                plan = message(
                    PLAN, stamp=now, epoch=part.epoch, sequence=number, outcome=int(outcome), model_id=part.model
                )
                rows.append((now + 30 * MS, PLAN, plan))  # a logger drains topic by topic
                if not excitation:
                    report = message(
                        PLANNER_REPORT, stamp=now, plan_epoch=part.epoch, plan_sequence=number, method=part.policy
                    )
                    rows.append((now, PLANNER_REPORT, report))
            followed = sequences.get(part.epoch, 0) if part.epoch else 0
            command = message(
                SAFE_COMMAND, stamp=now, plan_sequence=followed, limiting_stage=part.stage, joint_names=list(NAMES),
                requested=np.zeros(2), applied=np.zeros(2),
            )  # fmt: skip
            rows.append((now, SAFE_COMMAND, command))
        begin = part.until_ms
    write_rows(path, sorted(rows, key=lambda row: row[0]))


def part_of(ms: float) -> Part:
    return next(part for part in PARTS if ms < part.until_ms)


def expected(row_ms: float) -> Provenance:
    """Tick by tick: those in force from 12 ms before the row on, for 20 ms."""
    begin = row_ms - 12.0
    ticks = [tick for tick in range(0, 1600, TICK) if tick + TICK > begin and tick < begin + 20.0]
    parts = [part_of(tick) for tick in ticks]
    last = next((part for part in parts[::-1] if part.policy != "guard"), parts[-1])
    source = Source.INTERVENTION if any(part.stage for part in parts) else Source.REAL
    return Provenance(source, last.policy, last.model)


def test_every_row_has_the_policy_and_the_model_that_its_commands_followed(tmp_path: Path) -> None:
    write(tmp_path / "log.mcap", PARTS)
    rows_ms = np.arange(20, 1580, 10)
    origins, origin = origins_of_log(tmp_path / "log.mcap", T0_NS + rows_ms * MS, GRID)
    assert [origins[number] for number in origin.tolist()] == [expected(ms) for ms in rows_ms.tolist()]
    assert set(origins) == {
        Provenance(Source.REAL, "excitation"),
        Provenance(Source.REAL, "icem", "planar/3"),
        Provenance(Source.INTERVENTION, "icem", "planar/3"),
        Provenance(Source.REAL, "mppi", "planar/4"),
        Provenance(Source.INTERVENTION, "mppi", "planar/4"),
        Provenance(Source.INTERVENTION, "guard"),
    }


def test_rows_of_a_log_go_into_a_buffer_with_them(tmp_path: Path) -> None:
    """Of a recording nobody's plan is known."""
    write_streams(tmp_path / "log.mcap", arm_streams(Arm(), 4.0, np.random.default_rng(3)))
    rows = cut_transitions(read_streams(tmp_path / "log.mcap"), GRID)
    origins, origin = origins_of_log(tmp_path / "log.mcap", rows.stamp_ns, GRID)
    buffer = memory_buffer(BufferSpec(arm_layout(NAMES, GRID.history), period_ns=GRID.stride_ns))
    buffer.append(arm_steps(rows, origins, origin, first_episode=buffer.next_episode))
    (part,) = buffer.parts()
    assert len(part) == len(rows)
    assert {buffer.origins[number] for number in part["origin"].tolist()} == {Provenance(Source.REAL, "recorded")}


def test_a_plan_that_the_log_lacks_and_rows_of_another_log_are_said(tmp_path: Path) -> None:
    command = message(SAFE_COMMAND, stamp=T0_NS, plan_sequence=9, joint_names=list(NAMES))
    write_rows(tmp_path / "log.mcap", [(T0_NS, SAFE_COMMAND, command)])
    stamps = np.array([T0_NS + 20 * MS], dtype=np.int64)
    assert origins_of_log(tmp_path / "log.mcap", stamps, GRID)[0] == (Provenance(Source.REAL, "unknown"),)
    with pytest.raises(LogError, match="begins after the first row"):
        origins_of_log(tmp_path / "log.mcap", stamps - 20 * MS, GRID)
    write_rows(tmp_path / "empty.mcap", [])
    with pytest.raises(LogError, match="safe_command: holds no message"):
        origins_of_log(tmp_path / "empty.mcap", stamps, GRID)
