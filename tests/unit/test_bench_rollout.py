"""`bench rollout`'s figures on times written by hand: which peer counts, which condition, what an interval redraws."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks.rollout_contest import Contest, Evaluation
from benchmarks.rollout_figures import OURS, QUIETLY, ROOF, figures, ratios, redrawn
from benchmarks.rollout_problem import ROOF_SIZE, Network

NETWORKS = (Network(128, 2), Network(200, 4))
QUIET_MS = {OURS: 4.0, "ours one_lane": 6.0, "mbrl/1": 12.0, "mbrl/2": 10.0, "mbrl default": 1.0, "mppi_wide/1": 5.0}


def evaluations(condition: str, factor: float, quiet_ms: dict[str, float], rounds: int = 5) -> list[Evaluation]:
    """Two of each contestant in every round."""
    return [
        Evaluation(str(network), condition, name, number, factor * ms, ms)
        for network in NETWORKS
        for number in range(rounds)
        for name, ms in quiet_ms.items()
        for _ in range(2)
    ]


def times(quiet_layout_ms: float = 5.0) -> list[Evaluation]:
    """The roof is twice as fast as ours; contended, all are ten times as slow and the peers three times more."""
    roof_ms = 2.0 * ROOF_SIZE**3 / NETWORKS[1].flops * QUIET_MS[OURS] / 2.0
    peers = {name: 3.0 * ms for name, ms in QUIET_MS.items() if name[0] == "m"}
    return [
        *evaluations("quiet", 1.0, QUIET_MS | {ROOF: roof_ms}),
        *evaluations("contended", 10.0, QUIET_MS | peers | {ROOF: roof_ms, QUIETLY: quiet_layout_ms}),
    ]


def test_a_peer_counts_at_its_best_and_never_with_what_computes_something_else() -> None:
    values = ratios(times(), NETWORKS, OURS)
    assert values["speedup_128x2"] == values["speedup_200x4"] == 10.0 / 4.0
    assert values["speedup_pytorch_mppi"] == 5.0 / 4.0
    assert values["speedup_p99_contended"] == pytest.approx(3.0 * 5.0 / 4.0)
    assert values["roof_fraction"] == pytest.approx(0.5)


def test_what_is_below_its_target_is_named_and_one_thread_stands_beside() -> None:
    found = figures(times(), NETWORKS)
    assert found["misses"] == ["roof_fraction 0.5 below 0.7"]
    assert found["one_lane"]["speedup_128x2"] == pytest.approx(10.0 / 6.0, abs=1e-3)


@pytest.mark.parametrize(("quiet_layout_ms", "worse"), [(5.0, "quiet"), (3.0, "busy")])
def test_contended_the_worse_of_both_layouts_counts_and_both_are_told(quiet_layout_ms: float, worse: str) -> None:
    """A layout is chosen once, and nobody knows what else will run by then."""
    found = figures(times(quiet_layout_ms), NETWORKS)
    assert found["speedup_p99_contended_quiet_layout"] == pytest.approx(15.0 / quiet_layout_ms)
    assert found["speedup_p99_contended_busy_layout"] == pytest.approx(15.0 / 4.0)
    assert found["speedup_p99_contended"] == found[f"speedup_p99_contended_{worse}_layout"]
    assert found["intervals"].keys() > {"speedup_p99_contended", "speedup_p99_contended_quiet_layout"}


def test_the_worse_layout_is_the_one_that_misses() -> None:
    found = figures(times(quiet_layout_ms=12.0), NETWORKS)
    assert "speedup_p99_contended 1.25 below 1.5" in found["misses"]


LOOKING = """
import json, os, sys
with open(f"/proc/{os.getppid()}/task/{os.getppid()}/children") as file:
    beside = [open(f"/proc/{number}/cmdline").read() for number in file.read().split()]
busy = sum(one.endswith("while True: pass" + chr(0)) for one in beside)
print(json.dumps({"answer": [1.0], "layout": f"{busy} busy"}), flush=True)
for line in sys.stdin:
    print(json.dumps({"ms": [1.0, 2.0], "cpu_ms": [1.0, 2.0]}), flush=True)
"""


def test_the_quiet_layout_is_chosen_before_anything_is_busy_and_takes_part_in_the_contended_rounds() -> None:
    """Contestants that say how many busy processes are there when they start."""
    look = [sys.executable, "-c", LOOKING]
    with Contest({OURS: look}, np.ones(1), 2, {QUIETLY: look}) as contest:
        assert contest.layouts == {QUIETLY: "0 busy", OURS: "2 busy"}
        measured = contest.measure("128x2", "contended", rounds=2, count=1)
    assert sorted((one.contestant, one.round) for one in measured) == [(OURS, 0), (OURS, 1), (QUIETLY, 0), (QUIETLY, 1)]


def test_without_the_busy_half_there_is_no_figure_of_it() -> None:
    quiet = [one for one in times() if one.condition == "quiet"]
    assert "speedup_p99_contended" not in figures(quiet, NETWORKS)


def test_whole_rounds_are_redrawn() -> None:
    drawn = redrawn(times(), np.random.default_rng(0))
    assert len(drawn) == len(times())
    chosen = [one.round for one in drawn if (one.network, one.condition) == ("128x2", "quiet")]
    counts = np.bincount(chosen, minlength=5)
    assert set(counts % (2 * (len(QUIET_MS) + 1))) == {0}
    assert len(set(counts)) > 1
