"""`bench fit`: its figures on epochs written by hand, the physics of its arm, and that our side learns."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fit import growth_misses
from benchmarks.fit_contest import DEFAULT, TUNED, Problem, Schedule, command, one_epoch, schedules, started
from benchmarks.fit_figures import Contest, Epoch, Way, epochs_to, fastest, figures, is_over
from benchmarks.fit_growth import linear
from benchmarks.fit_log import START_NS, write_log
from benchmarks.fit_memory import fit_figures, misses, retrain_figures
from benchmarks.fit_rows import DT_NS, rows_of, sweep
from benchmarks.replay_memory_child import RAW_ROW_BYTES
from mbrl_control.cli.locations import arm_file
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.replay.delay import estimate_delay
from mbrl_control.replay.streams import read_streams
from mbrl_control.replay.transitions import Grid, cut_transitions
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface, Transitions

ROOT = Path(__file__).parents[2]


def run(seconds: float, *nll: float) -> list[Epoch]:
    return [Epoch(seconds, seconds, 10, value) for value in nll]


PACES = {
    Way("mbrl", 1, False): run(4.0, 0.0, 0.0, 0.0),
    Way("mbrl", 2, False): run(3.0, 0.0, 0.0, 0.0),
    Way("mbrl", 1, True): run(2.5, 0.0, 0.0, 0.0),
    Way("mbrl", 2, True): run(2.0, 0.0, 0.0, 0.0),
    Way("ours", 1, False): run(2.0, 0.0, 0.0, 0.0),
    Way("ours", 2, False): run(1.5, 0.0, 0.0, 0.0),
    Way("ours", 1, True): run(1.0, 0.0, 0.0, 0.0),
    # One epoch beside something else counts no more than the two others.
    Way("ours", 2, True): [*run(0.5, 0.0, 0.0), *run(9.0, 0.0)],
}
RUNS = {
    "own": run(2.0, 9.0, 5.0, 3.0, 3.5),
    "as_ours": run(2.0, 8.0, 6.0, 4.0, 3.1, 2.9, 2.0),
    "as_tuned": run(2.0, 8.0, 2.5),
    "ours": run(0.5, 8.0, 5.0, 2.9, 2.5, 2.0),
    "tuned": run(0.5, 6.0, 2.4),
}
CONTESTS = (Contest("ours", ("own", "as_ours")), Contest("tuned", ("own", "as_tuned")))


def test_each_library_counts_at_its_fastest_and_the_least_speedup_over_the_targets_is_printed() -> None:
    found = figures(PACES, RUNS, *CONTESTS, True)
    # 3.0: the peer's 3 epochs of 2 s, ours 3 of 0.5 s. 2.0: 6 of 2 s, ours 5 of 0.5 s.
    assert found["targets_reached"]["speedup"] == {
        "own": {"nll": 3.0, "mbrl_s": 6.0, "ours_s": 1.5, "speedup": 4.0},
        "as_ours": {"nll": 2.0, "mbrl_s": 12.0, "ours_s": 2.5, "speedup": 4.8},
    }
    assert found["speedup"] == 4.0
    assert found["speedup_one_thread"] == pytest.approx(4.0 * (2.5 / 1.0) / (2.0 / 0.5))
    assert found["speedup_plain"] == pytest.approx(4.0 * (3.0 / 1.5) / (2.0 / 0.5))
    # With our schedule the peer is at 3.0 after two epochs: its own three do not count.
    assert found["speedup_tuned"] == pytest.approx(2 * 2.0 / (2 * 0.5))
    assert (found["speedup_step"], found["speedup_step_plain"]) == (4.0, 2.0)
    assert found["speedup_along"][0] == {"share": 0.33, "speedup": 4.0, "nll": 6.0}
    assert found["misses"] == []


def test_a_lucky_epoch_of_a_slow_way_is_not_the_peers_time() -> None:
    """The best NLL came with one thread at 4 s an epoch; what two threads need to it is charged."""
    contest = Contest("ours", ("own",))
    slow = {way: taken for way, taken in PACES.items() if not way.onednn}
    found = figures(slow, RUNS, contest, contest, False)
    assert found["targets_reached"]["speedup"]["own"]["mbrl_s"] == 3 * 3.0
    assert fastest(slow, "mbrl", False) == Way("mbrl", 2, False)
    # A peer that is faster without the flag counts without it; ours is what fits do by default.
    odd = {**PACES, Way("mbrl", 1, False): run(0.1, 0.0), Way("ours", 1, False): run(0.1, 0.0)}
    assert fastest(odd, "mbrl", True) == Way("mbrl", 1, False)
    assert fastest(odd, "ours", True) == Way("ours", 2, True)


def test_what_never_gets_there_is_a_miss_and_not_a_number_is_not_there() -> None:
    found = figures(PACES, {**RUNS, "ours": run(0.5, math.nan, 3.3, -math.inf)}, *CONTESTS, True)
    assert found["speedup"] == 0.0
    assert found["targets_reached"]["speedup"]["own"]["ours_s"] is None
    assert found["misses"] == ["speedup 0.0 below 3.0"]
    assert epochs_to(run(1.0, math.nan, 2.0), 3.0) == 2
    assert figures(PACES, {**RUNS, "ours": run(0.5, math.nan)}, *CONTESTS, True)["best_nll"]["ours"] is None
    with pytest.raises(ValueError, match="never finite"):
        figures(PACES, {**RUNS, "own": run(2.0, math.nan)}, *CONTESTS, True)


def test_a_slower_step_is_a_miss_with_and_without_the_flag() -> None:
    even = {Way(library, 1, flag): run(1.0, 0.0) for library in ("ours", "mbrl") for flag in (False, True)}
    assert figures(even, RUNS, *CONTESTS, True)["misses"] == [
        "speedup 1.0 below 3.0",
        "speedup_step 1.0 below 1.25",
        "speedup_step_plain 1.0 below 1.25",
    ]


def test_our_run_ends_as_a_fit_does() -> None:
    assert not is_over([], 60, 10)
    assert is_over(run(1.0, 3.0, 2.0, 1.0), 3, 10)
    assert not is_over(run(1.0, 1.0, 2.0), 60, 2)
    assert is_over(run(1.0, 1.0, 2.0, math.nan), 60, 2)
    told, default = schedules(30), FitSettings.deployed(CommandInterface.VELOCITY)
    ours = told[DEFAULT.ours]
    assert (ours.rate, ours.epochs, ours.patience) == (default.learning_rate, default.epochs, default.patience)
    for contest in (DEFAULT, TUNED):
        shared, mine = told[contest.peers[1]], told[contest.ours]
        assert (shared.rate, shared.epochs, shared.cosine) == (mine.rate, mine.epochs, mine.cosine)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((0.26, 0.5, 1.0), True),
        ((0.3, 0.55, 1.05), True),
        ((1.0, 1.0, 1.0), False),  # does not depend on the rows
        ((1.0, 1.02, 1.04), False),  # affine, nearly all of it constant
        ((0.06, 0.25, 1.0), False),  # quadratic
        ((0.25, 0.5, 1.35), False),
        ((1.0, 0.5, 0.25), False),
    ],
)
def test_only_a_time_that_grows_as_the_rows_do_is_linear(seconds: tuple[float, ...], expected: bool) -> None:
    found = linear((100, 200, 400), seconds)
    assert found["linear"] is expected
    assert (growth_misses(found) == []) is expected


def test_the_line_is_told() -> None:
    found = linear((100, 200, 400), [0.27, 0.52, 1.02])
    assert found["us_per_row"] == pytest.approx(2500.0)
    assert found["constant_s"] == pytest.approx(0.02)
    assert found["growth"] == pytest.approx(1.02 / 0.27 / 4, abs=1e-4)


def test_buffer_and_fit_are_held_together_and_retrain_by_what_a_longer_log_takes_more() -> None:
    assert fit_figures({"anonymous_bytes": 160.0, "mapped_bytes": 90.0}, 100) == {
        "need_ratio": 1.6,
        "mapped_ratio": 0.9,
    }
    raw_mb = 6000 * RAW_ROW_BYTES / 1e6
    shorter = {"minutes": 2.0, "anonymous_bytes": 50e6, "stages": {"reading": 20e6, "fitting": 50e6, "trying": 9e6}}
    longer = {"minutes": 6.0, "anonymous_bytes": 50e6 + 8e6 * raw_mb, "stages": {"reading": 28e6, "fitting": 90e6}}
    found = retrain_figures(shorter, longer)
    assert found["retrain_ratio"] == pytest.approx(2.0)
    assert found["retrain_stages_mb_per_minute"] == {"reading": 2.0, "fitting": 10.0}
    told = misses({"rows": 50, "need_ratio": 1.6, "retrain_ratio": math.nan}, 100)
    assert told[:2] == ["memory: need_ratio 1.6 above 1.5", "memory: retrain_ratio nan above 1.5"]
    assert "50 rows of 100" in told[2]
    assert misses({"rows": 100, "need_ratio": 0.6, "retrain_ratio": 1.5}, 100) == []


def test_the_log_that_is_retrained_from_is_of_the_arm_at_the_graphs_rates(tmp_path: Path) -> None:
    arm = load_arm(arm_file("panda"))
    write_log(tmp_path / "log_0.mcap", arm, 0.1, 0)
    streams = read_streams(tmp_path / "log_0.mcap")
    assert streams.joint_names == arm.joint_names
    np.testing.assert_array_equal(streams.belief_ns, START_NS + np.arange(1500) * 4_000_000)
    np.testing.assert_array_equal(streams.command_ns, START_NS + np.arange(1200) * 5_000_000)
    assert ((streams.position > arm.lower) & (streams.position < arm.upper)).all()
    assert (np.abs(streams.applied) < arm.velocity).all()
    assert estimate_delay(streams).delay_s == pytest.approx(arm.command_delay_s, abs=2e-3)
    rows = cut_transitions(streams, Grid(arm.command_delay_s))
    assert len(rows) > 500
    assert set(rows.segment.tolist()) == {0}


@pytest.fixture(scope="module")
def rows() -> Transitions:
    return sweep(load_arm(arm_file("panda")), 900, 0)


def test_the_swept_arm_follows_its_commands_within_its_limits(rows: Transitions) -> None:
    arm = load_arm(arm_file("panda"))
    assert len(rows) == 900
    assert (np.abs(rows.velocity) < arm.velocity).all()
    assert ((rows.position > arm.lower) & (rows.position < arm.upper)).all()
    same = np.flatnonzero(np.diff(rows.segment) == 0)
    np.testing.assert_array_equal(rows.stamp_ns[same + 1] - rows.stamp_ns[same], DT_NS)
    np.testing.assert_array_equal(rows.next_velocity[same], rows.velocity[same + 1])
    np.testing.assert_array_equal(rows.history[same + 1, -1], rows.action[same])
    # Position is the integral of the speed, but for noise and the trapezoid's error.
    moved = rows.next_position - rows.position
    mean_speed = 0.5 * (rows.velocity + rows.next_velocity)
    np.testing.assert_allclose(moved, mean_speed * DT_NS * 1e-9, atol=6.0 * arm.noise.velocity_std * 0.02 + 2e-3)
    lag = np.abs(rows.velocity - rows.action)
    assert np.median(lag) < 0.5 * np.median(np.abs(rows.action))


def test_our_contestant_takes_its_turns_and_learns(
    rows: Transitions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    arm = load_arm(arm_file("panda"))
    rows_of(rows, arm, FitSettings(), 0).save(tmp_path / "rows.npz")
    problem = Problem(tmp_path / "rows.npz", width=16, seed=0, members=2, depth=2, batch=64)
    told = command(Path(), problem, Way("ours", 1, False), Schedule("ours", 2e-3, 4))
    with started(told) as child:
        taken = [one_epoch(child) for _ in range(4)]
    assert {epoch.steps for epoch in taken} == {math.ceil((900 - 100) / 64)}
    assert taken[-1].nll < taken[0].nll
    with started(told) as child:
        assert one_epoch(child).nll == taken[0].nll


def test_buffer_and_fit_together_need_less_than_the_rows(tmp_path: Path) -> None:
    """Of few rows the first pages of everything count too, and torch's own: so of two numbers the difference."""
    child = [sys.executable, "-P", "-m", "benchmarks.fit_memory_child"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    taken = []
    for rows in (100_000, 700_000):
        home = tmp_path / str(rows)
        home.mkdir()
        done = subprocess.run(
            [*child, str(rows), "0", str(home)], capture_output=True, text=True, check=True, env=environment
        )
        taken.append(json.loads(done.stdout))
    raw = 600_000 * RAW_ROW_BYTES
    assert 0 < taken[1]["anonymous_bytes"] - taken[0]["anonymous_bytes"] < 1.0 * raw
    assert 0.8 * raw < taken[1]["mapped_bytes"] - taken[0]["mapped_bytes"] < 1.2 * raw
