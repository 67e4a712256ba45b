"""Logs that lack efforts, or whose messages come out of order: learned from all the same, and every repair is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.log_card import as_json, as_markdown, log_card
from mbrl_control.cli.main import build_app
from mbrl_control.deployment.bundle import prior_bundle
from mbrl_control.deployment.check import DATASET, DATASET_CARD
from mbrl_control.deployment.registry import Registry
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.episode_log.writer import LogWriter
from mbrl_control.estimation.joint_filter import JointFilter, config_for
from mbrl_control.learning.fit_ensemble import FitSettings
from mbrl_control.replay.columns import BACKWARD, REPEATED, Repair
from mbrl_control.replay.dataset import rows_left_out
from mbrl_control.replay.measured_effort import UNMEASURED
from mbrl_control.replay.streams import Streams, read_streams
from mbrl_control.replay.transitions import Grid, cut_transitions
from mbrl_control.retrain import RetrainConfig, retrain
from mbrl_control.robot import load_arm
from mbrl_control.signals import BeliefState, Transitions
from tests.patience import SLOW_S, UNCUT_S
from tests.unit.synthetic_log import NAMES, T0_NS, Arm, arm_streams, write_streams

PLANAR = load_arm(arm_file("planar"))
WHOLE = arm_streams(Arm(), 6.0, np.random.default_rng(0))
GRID = Grid(0.012)
ROWS = cut_transitions(WHOLE, GRID)
EVER = slice(None)


def lacking(beliefs: slice | int = EVER, joints: slice | int = EVER, streams: Streams = WHOLE) -> Streams:
    effort = streams.effort.copy()
    effort[beliefs, joints] = np.nan
    return replace(streams, effort=effort)


def written(path: Path, streams: Streams) -> Streams:
    write_streams(path, streams)
    return read_streams(path)


def are_rows_of_the_whole(rows: Transitions, besides: str = "") -> None:
    chosen = np.isin(ROWS.stamp_ns, rows.stamp_ns)
    assert chosen.sum() == len(rows) > 0
    for name in ("position", "velocity", "history", "action", "next_position", "next_velocity", "next_effort"):
        if name != besides:
            np.testing.assert_allclose(getattr(rows, name), getattr(ROWS, name)[chosen], atol=1e-12)


def test_an_arm_without_effort_gives_every_row_with_zeros_and_says_so(tmp_path: Path) -> None:
    log = tmp_path / "log.mcap"
    streams = written(log, lacking())
    assert (streams.effort_absent, len(streams.unmeasured_ns), streams.repairs) == (NAMES, 0, ())
    rows = cut_transitions(streams, GRID)
    assert len(rows) == len(ROWS)
    assert not rows.next_effort.any()
    are_rows_of_the_whole(rows, besides="next_effort")
    card = log_card(log, "planar")
    assert "effort absent (shoulder, elbow): zeros in its place" in as_markdown(card)
    assert json.loads(as_json(card))["log"]["effort_absent"] == list(NAMES)


def test_a_joint_without_effort_takes_nothing_from_the_others(tmp_path: Path) -> None:
    streams = written(tmp_path / "log.mcap", lacking(joints=1))
    assert (streams.effort_absent, len(streams.unmeasured_ns)) == (("elbow",), 0)
    rows = cut_transitions(streams, GRID)
    assert len(rows) == len(ROWS)
    np.testing.assert_array_equal(rows.next_effort, ROWS.next_effort * [1.0, 0.0])


def test_single_beliefs_without_effort_cost_their_rows_and_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "log.mcap"
    streams = written(log, lacking(slice(700, 703), 1))
    repair = Repair("belief.effort", UNMEASURED, 3, 700, int(WHOLE.belief_ns[700]))
    assert (streams.effort_absent, streams.repairs) == ((), (repair,))
    rows = cut_transitions(streams, GRID)
    are_rows_of_the_whole(rows)
    assert rows_left_out(streams, GRID, {})[1]["effort not measured"] == len(ROWS) - len(rows) > 0
    told = as_markdown(log_card(log, "planar"))
    assert "- left out, effort not measured: " in told
    assert f"- belief.effort: {UNMEASURED}: 3 of its messages, the first number 700 (from 0), stamp 17" in told


@given(st.sets(st.integers(0, len(WHOLE.belief_ns) - 1), max_size=30))
def test_no_row_reads_an_effort_that_was_not_measured_and_no_other_is_lost(missing: set[int]) -> None:
    places = sorted(missing)
    effort = WHOLE.effort.copy()
    effort[places] = 0.0  # as they are read
    rows = cut_transitions(replace(WHOLE, effort=effort, unmeasured_ns=WHOLE.belief_ns[places]), GRID)
    reads = np.zeros(len(ROWS), dtype=bool)
    for place in places:
        held_until = WHOLE.belief_ns[place + 1] if place + 1 < len(WHOLE.belief_ns) else np.inf
        reads |= (ROWS.stamp_ns < held_until) & (ROWS.stamp_ns + GRID.dt_ns > WHOLE.belief_ns[place])
    np.testing.assert_array_equal(rows.stamp_ns, ROWS.stamp_ns[~reads])
    np.testing.assert_allclose(rows.next_effort, ROWS.next_effort[~reads], atol=1e-9)


@pytest.mark.parametrize(("without", "absent"), [(lambda n: True, NAMES), (lambda n: n == 700, ())], ids=["all", "one"])
def test_joint_states_without_effort_become_rows(
    tmp_path: Path, without: Callable[[int], bool], absent: tuple[str, ...]
) -> None:
    """From the driver's message through the estimator's filter to what is learned."""
    pytest.importorskip("rclpy")
    from sensor_msgs.msg import JointState

    from mbrl_nodes.convert import ns_from_stamp, sample_from_joint_state, stamp_from_ns

    joint_filter = JointFilter(NAMES, config_for(PLANAR.noise, 0.004))
    state, beliefs = joint_filter.initial(), list[BeliefState]()
    for n, ns in enumerate(WHOLE.belief_ns.tolist()):
        message = JointState(name=list(NAMES), position=WHOLE.position[n].tolist(), velocity=WHOLE.velocity[n].tolist())
        message.header.stamp = stamp_from_ns(ns)
        message.effort = [] if without(n) else WHOLE.effort[n].tolist()
        assert ns_from_stamp(message.header.stamp) == ns
        state, belief, _ = joint_filter.update(state, sample_from_joint_state(message, NAMES))
        assert belief is not None
        beliefs.append(belief)
    position, velocity, effort = (
        np.stack([getattr(belief, name) for belief in beliefs]) for name in ("position", "velocity", "effort")
    )
    log = replace(WHOLE, position=position, velocity=velocity, effort=effort)
    streams = written(tmp_path / "log.mcap", log)
    assert streams.effort_absent == absent
    rows = cut_transitions(streams, GRID)
    assert len(ROWS) - 4 <= len(rows) <= len(ROWS)
    assert all(np.isfinite(value).all() for value in asdict(rows).values())


@pytest.mark.timeout(SLOW_S)
def test_an_arm_without_effort_is_learned_and_its_bundle_says_so(tmp_path: Path) -> None:
    log = tmp_path / "log.mcap"
    motion = arm_streams(Arm(delay_ms=12, lag_ms=(70.0, 90.0)), 80.0, np.random.default_rng(2))
    write_streams(log, lacking(streams=motion))
    registry = Registry(tmp_path / "models", PLANAR.name)
    registry.activate(int(prior_bundle(PLANAR, registry, 0.02, 0.01, 3, T0_NS).name))
    fit = FitSettings(trained_members=3, elites=2, width=24, epochs=20, max_seconds=UNCUT_S)
    done = retrain(RetrainConfig((log,), tmp_path / "models", PLANAR, T0_NS, fit=fit))
    assert registry.active() == 2
    assert "effort absent (shoulder, elbow): zeros" in (done.path / DATASET_CARD).read_text(encoding="utf-8")
    (said,) = json.loads((done.path / DATASET).read_text(encoding="utf-8"))["logs"]
    assert said["effort_absent"] == list(NAMES)


def out_of_order(source: Path, target: Path) -> None:
    """Of the commands, number 101 comes before number 100, and number 200 twice, wrong at first."""
    raws = list(LogReader(source).raw())
    places = [place for place, raw in enumerate(raws) if raw.channel.topic == "/arm/safe_command"]
    early, late, twice = places[100], places[101], places[200]
    raws[early], raws[late] = (
        replace(raws[early], cdr=raws[late].cdr),
        replace(raws[late], cdr=raws[early].cdr),
    )
    wrong = bytearray(raws[twice].cdr)
    wrong[-1] ^= 1
    raws.insert(twice, replace(raws[twice], cdr=bytes(wrong)))
    with LogWriter(target) as writer:
        for topic, raw in {raw.channel.topic: raw for raw in raws}.items():
            writer.add_topic(topic, raw.channel.type, raw.channel.definition)
        for raw in raws:
            writer.write(raw.channel.topic, raw.cdr, raw.log_time_ns)


def test_messages_out_of_order_are_put_right_counted_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_streams(tmp_path / "whole.mcap", WHOLE)
    log = tmp_path / "log.mcap"
    out_of_order(tmp_path / "whole.mcap", log)
    streams = read_streams(log)
    first, second = (int(WHOLE.command_ns[number]) for number in (100, 200))
    assert streams.repairs == (
        Repair("safe_command", BACKWARD, 1, 101, first),
        Repair("safe_command", REPEATED, 1, 200, second),
    )
    rows = cut_transitions(streams, GRID)
    are_rows_of_the_whole(rows)
    assert len(rows) == len(ROWS)
    card = log_card(log, "planar")
    assert [each["first"] for each in json.loads(as_json(card))["log"]["repairs"]] == [101, 200]
    lines = [f"safe_command: {what}: 1 of its messages, the first number " for what in (BACKWARD, REPEATED)]
    assert all(f"- {line}" in as_markdown(card) for line in lines)
    arguments = ["log", "buffer", str(log), "--out", str(tmp_path / "rows"), "--robot", "planar", "--delay-ms", "12"]
    build_app()(arguments, standalone_mode=False)
    said = capsys.readouterr().out
    assert all(line in said for line in lines)
