"""`bench fit`: its figures on epochs written by hand, the physics of its arm, and that our side learns."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fit import one_epoch, started
from benchmarks.fit_figures import Epoch, beside, figures, linear, seconds_to
from benchmarks.fit_rows import DT_NS, rows_of, sweep
from benchmarks.replay_memory_child import RAW_ROW_BYTES
from mbrl_control.cli.locations import arm_file
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.robot import load_arm
from mbrl_control.signals import Transitions

ROOT = Path(__file__).parents[2]


def run(seconds: float, *nll: float) -> list[Epoch]:
    return [Epoch(seconds, seconds, 10, value) for value in nll]


EPOCHS = {
    "mbrl/1": run(4.0, 9.0, 5.0, 3.0, 3.5),
    "mbrl/2": run(3.0, 9.0, 5.0, 4.0, 3.1),
    "ours/1": run(1.0, 8.0, 2.9),
    "ours/2": run(1.5, 8.0, 2.9),
    "plain/1": run(2.0, 8.0, 3.2, 2.8),
}


def test_the_peers_best_nll_is_the_one_to_reach_and_each_counts_at_its_better_threads() -> None:
    found = figures(EPOCHS)
    assert found["nll_to_reach"] == 3.0
    assert found["speedup"] == pytest.approx(12.0 / 2.0)
    assert found["speedup_plain"] == pytest.approx(12.0 / 6.0)
    assert found["speedup_step"] == pytest.approx(3.0 / 1.0)
    assert found["misses"] == []
    # After a third of its epochs the peer was at 9, which ours has after one of its own.
    assert found["speedup_along"] == [
        {"share": 0.33, "nll": 9.0, "speedup": 3.0},
        {"share": 0.67, "nll": 3.0, "speedup": 6.0},
        {"share": 1.0, "nll": 3.0, "speedup": 6.0},
    ]


def test_what_is_not_linear_or_takes_too_much_is_a_miss() -> None:
    good, bad = {"linear": True, "largest_departure": 0.01}, {"linear": False, "largest_departure": 0.3}
    memory = {"rows": 100, "misses": [], "fit_ratio": 0.6}
    assert beside(good, memory, 100) == []
    assert beside(bad, memory, 100) == ["epoch_time departs from a line by 0.3"]
    found = beside(good, {"rows": 50, "misses": ["memory_ratio 1.6 above 1.5"], "fit_ratio": 1.7}, 100)
    assert found[0] == "memory of 50 rows: memory_ratio 1.6 above 1.5"
    assert found[1] == "memory of 50 rows: fit_ratio 1.7 above 1.5"
    assert "50 rows of 100" in found[2]


def test_what_never_gets_there_is_a_miss_and_not_a_number_is_not_there() -> None:
    found = figures(EPOCHS | {"ours/1": run(1.0, math.nan, 3.3), "ours/2": run(1.0, 8.0)})
    assert found["speedup"] == 0.0
    assert found["misses"] == ["speedup 0.0 below 3.0"]
    assert seconds_to(run(1.0, math.nan, 2.0), 3.0) == 2.0


def test_a_line_is_linear_and_a_parabola_is_not() -> None:
    rows = (100, 200, 400)
    assert linear(rows, [0.3, 0.5, 0.9])["linear"] is True
    assert linear(rows, [0.3, 0.5, 0.9])["us_per_row"] == pytest.approx(2000.0)
    assert linear(rows, [0.01, 0.04, 0.16])["linear"] is False


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


def test_our_contestant_takes_its_turns_and_learns(rows: Transitions, tmp_path: Path) -> None:
    arm = load_arm(arm_file("panda"))
    rows_of(rows, arm, FitSettings(), 0).save(tmp_path / "rows.npz")
    told = {
        "members": 2,
        "width": 16,
        "depth": 2,
        "batch": 64,
        "our_epochs": 4,
        "our_rate": 2e-3,
        "seed": 0,
        "share": 1.0,
    }
    command = [sys.executable, "-m", "benchmarks.fit_ours", "ours", "1", str(tmp_path / "rows.npz"), json.dumps(told)]
    with started(command) as child:
        taken = [one_epoch(child) for _ in range(4)]
    assert {epoch.steps for epoch in taken} == {math.ceil((900 - 100) / 64)}
    assert taken[-1].nll < taken[0].nll
    with started(command) as child:
        assert one_epoch(child).nll == taken[0].nll


def test_a_fit_of_mapped_rows_takes_less_than_the_rows(tmp_path: Path) -> None:
    """Of few rows the first pages of everything count too, and torch's own: so of two numbers the difference."""
    command = [sys.executable, "-P", "-m", "benchmarks.fit_memory_child"]
    taken = []
    for rows in (100_000, 700_000):
        home = tmp_path / str(rows)
        home.mkdir()
        done = subprocess.run(
            [*command, str(rows), "0", str(home)], capture_output=True, text=True, check=True, cwd=ROOT
        )
        taken.append(json.loads(done.stdout)["anonymous_bytes"])
    assert 0 < taken[1] - taken[0] < 1.0 * 600_000 * RAW_ROW_BYTES
