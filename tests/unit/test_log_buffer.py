"""A log as a replay buffer: the rows of a fit, and whose command moved the arm in each of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.main import build_app
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.schema import PLAN
from mbrl_control.replay.arm_rows import arm_transitions
from mbrl_control.replay.batch import Batch
from mbrl_control.replay.buffer import ReplayBuffer
from mbrl_control.replay.home import open_buffer
from mbrl_control.replay.log_buffer import Filled, fill_buffer
from mbrl_control.replay.provenance import Provenance, Source
from mbrl_control.replay.streams import Streams, read_streams
from mbrl_control.replay.transitions import Grid, cut_transitions
from mbrl_control.robot import load_arm
from mbrl_control.signals import PlanOutcome, Stage
from tests.unit.synthetic_log import T0_NS, Arm, arm_streams, message, write_streams

DELAY_NS, DT_NS, TICK_NS = 12_000_000, 20_000_000, 5_000_000
STAGES = {101: Stage.VELOCITY, 102: Stage.VELOCITY, 300: Stage.JERK, 301: Stage.AGE, 302: Stage.AGE}
"""By tick."""
LATER = 400
"""Tick from which on another model's plans are followed, their numbers begun anew."""


def plan(sequence: int, tick: int, outcome: PlanOutcome, model_id: str) -> tuple[int, object, bytes]:
    stamp = T0_NS + tick * TICK_NS
    return stamp, PLAN, message(PLAN, stamp=stamp, sequence=sequence, outcome=int(outcome), model_id=model_id)


@pytest.fixture(scope="module")
def streams() -> Streams:
    whole = arm_streams(Arm(), 6.0, np.random.default_rng(0))
    off = (whole.command_ns >= T0_NS + 3_000_000_000) & (whole.command_ns < T0_NS + 3_200_000_000)
    return replace(whole, drives_enabled=~off)


@pytest.fixture
def log(streams: Streams, tmp_path: Path) -> Path:
    def ticks(tick: int) -> dict[str, int]:
        return {"limiting_stage": int(STAGES.get(tick, 0)), "plan_sequence": 7 if tick >= 40 else 0}

    plans = (plan(7, 30, PlanOutcome.EXCITATION, "planar/1"), plan(7, LATER, PlanOutcome.SHIFTED, "planar/2"))
    write_streams(tmp_path / "log.mcap", streams, ticks=ticks, others=plans)
    return tmp_path / "log.mcap"


def filled(log: Path, out: Path, delay_s: float | None = DELAY_NS * 1e-9) -> tuple[Filled, ReplayBuffer]:
    done = fill_buffer(log, read_streams(log), load_arm(arm_file("planar")), out, delay_s)
    buffer, report = open_buffer(out)
    assert report.clean
    return done, buffer


def test_rows_are_those_of_a_fit_and_end_at_every_stop(log: Path, streams: Streams, tmp_path: Path) -> None:
    done, buffer = filled(log, tmp_path / "rows")
    with buffer:
        (part,) = buffer.parts()
        rows = cut_transitions(streams, Grid(DELAY_NS * 1e-9))
        back = arm_transitions(part)
        for name in ("position", "velocity", "history", "action", "next_velocity", "stamp_ns", "segment"):
            np.testing.assert_allclose(getattr(back, name), getattr(rows, name), atol=1e-12)
        assert part["truncated"].sum() == done.episodes == 2, "the drives were off once"
        assert not part["terminal"].any()
        assert sum(count for _, count in done.rows) == len(buffer)
        batch = Batch.empty(buffer.spec.layout, 4)
        buffer.sample(batch, np.random.default_rng(0))
        assert np.isfinite(batch.rows["position"]).all()


def test_an_intervention_is_every_row_with_a_tick_that_the_guard_had_a_hand_in(log: Path, tmp_path: Path) -> None:
    """By brute force over the ticks in force during each action."""
    done, buffer = filled(log, tmp_path / "rows")
    with buffer:
        (part,) = buffer.parts()
        for row in part:
            begin = int(row["stamp_ns"]) - DELAY_NS - T0_NS
            ticks = [t for t in range(1200) if (t + 1) * TICK_NS > begin and t * TICK_NS < begin + DT_NS]
            stage = next((STAGES[t] for t in ticks if t in STAGES), None)
            newest = ticks[-1]
            model = "" if newest < 40 else "planar/1" if newest < LATER else "planar/2"
            policy = "recorded" if newest < 40 else "excitation" if newest < LATER else "planner"
            wanted = Provenance(Source.REAL, policy, model)
            if stage is not None:
                wanted = Provenance(Source.INTERVENTION, f"guard: {stage.name.lower()}", model)
            assert buffer.origins[int(row["origin"])] == wanted
    kinds = {(origin.source, origin.policy) for origin, _ in done.rows}
    assert (Source.INTERVENTION, "guard: jerk") in kinds, "of several stages the first counts"
    assert dict(done.rows)[Provenance(Source.REAL, "planner", "planar/2")] > 100


def test_a_log_without_plans_is_a_recording(streams: Streams, tmp_path: Path) -> None:
    write_streams(tmp_path / "log.mcap", streams)
    done, buffer = filled(tmp_path / "log.mcap", tmp_path / "rows", None)
    buffer.close()
    assert [origin for origin, _ in done.rows] == [Provenance(Source.REAL, "recorded")]
    assert done.delay_s == pytest.approx(DELAY_NS * 1e-9, abs=1e-3), "estimated"


def test_what_is_there_already_is_not_touched_and_another_arm_is_refused(log: Path, tmp_path: Path) -> None:
    for name in ("rows", "rows.partial"):
        (tmp_path / name).mkdir()
        with pytest.raises(LogError, match="--out: exists already"):
            filled(log, tmp_path / "rows")
        (tmp_path / name).rmdir()
    with pytest.raises(LogError, match=r"belief\.joint_names: .* are not those of panda"):
        fill_buffer(log, read_streams(log), load_arm(arm_file("panda")), tmp_path / "rows")
    assert not list(tmp_path.glob("rows*"))


def test_the_command_line_says_whose_the_rows_are(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["log", "buffer", str(log), "--out", str(tmp_path / "rows"), "--robot", "planar", "--minutes", "0.1"]
    build_app()([*arguments, "--delay-ms", "12"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "intervention: guard: velocity, model planar/1" in said
    assert "rows every 10 ms, steps of 20 ms, 2 episodes, delay 12 ms" in said
    assert "0 episodes end terminal, 2 truncated; the log knows 0 ends of tasks" in said
    buffer, _ = open_buffer(tmp_path / "rows")
    with buffer:
        assert len(buffer) > 200
