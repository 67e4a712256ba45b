"""Arithmetic of the transfer report on numbers worked out by hand."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.transfer import write_csv
from benchmarks.transfer_ratios import ERRORS, Condition, Row, complete, ratio, spread, summary

ROOT = Path(__file__).parents[2]
FACTS = {"own_delay_ms": 14.0, "other_delay_ms": 16.0, "gate_passed": 1.0}


def row(direction: str, condition: Condition, seed: int, **medians: float) -> Row:
    """Three errors each, around a median."""
    mm = {name: medians.get(name, 1.0) * np.array([0.5, 1.0, 3.0]) for name in ERRORS}
    return Row(direction, condition, seed, mm, FACTS)


def rows() -> list[Row]:
    return [
        row("a", Condition.PLAIN, 0, own=2.0, before=3.0, after=1.0),
        row("b", Condition.PLAIN, 0, own=1.0, before=1.2, after=1.1, control=0.9),
        row("a", Condition.RANDOMIZED, 0, own=2.0, before=8.0, after=2.0, scratch=6.0),
        row("b", Condition.RANDOMIZED, 0, own=1.0, before=2.0, after=3.0, scratch=1.0),
    ]


def test_each_ratio_is_over_the_own_median_and_the_worse_direction_is_on_top() -> None:
    found = summary(rows())
    assert found["directions"]["a"]["ratio_before"] == pytest.approx(1.5)
    assert found["directions"]["b"]["ratio_before"] == pytest.approx(1.2)
    assert (found["ratio_before"], found["ratio_after"]) == pytest.approx((1.5, 1.1))
    assert found["ratio_own"] == pytest.approx(0.9)
    assert (found["randomized"]["ratio_before"], found["randomized"]["ratio_after"]) == pytest.approx((4.0, 3.0))
    assert found["randomized"]["ratio_scratch"] == pytest.approx(3.0)


def test_seeds_are_pooled_before_the_median_and_shown_one_by_one() -> None:
    more = [*rows(), row("a", Condition.PLAIN, 1, own=2.0, before=10.0)]
    found = summary(more)["directions"]["a"]
    assert found["ratio_before_seeds"] == pytest.approx([1.5, 5.0])
    # own: 1 1 2 2 6 6 -> 2; before: 1.5 3 5 9 10 30 -> 7
    assert found["ratio_before"] == pytest.approx(3.5)
    assert found["before_mm"] == {"median": 7.0, "p95": 25.0, "max": 30.0}


def test_an_unknown_ratio_is_never_hidden_by_a_known_one() -> None:
    assert math.isnan(ratio(np.ones(3), np.zeros(3)))
    broken = [row("a", Condition.PLAIN, 0, own=0.0), *rows()[1:]]
    assert math.isnan(summary(broken)["ratio_before"])


def test_spread_is_median_p95_and_maximum() -> None:
    assert spread(np.arange(101.0)) == {"median": 50.0, "p95": 95.0, "max": 100.0}


def test_the_opposite_direction_completes_a_plain_row_of_its_own_seed() -> None:
    partial = [
        Row(own, Condition.PLAIN, seed, {"own": np.array([value]), "nominal_home": np.array([10 * value])}, FACTS)
        for own, seed, value in (("a", 0, 1.0), ("a", 1, 2.0), ("b", 0, 3.0), ("b", 1, 4.0))
    ]
    found = {(row.own, row.seed): row.mm for row in complete(partial)}
    assert {key: (mm["scratch"][0], mm["nominal"][0]) for key, mm in found.items()} == {
        ("a", 0): (3.0, 30.0),
        ("a", 1): (4.0, 40.0),
        ("b", 0): (1.0, 10.0),
        ("b", 1): (2.0, 20.0),
    }


def test_the_csv_has_the_command_and_a_line_per_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["transfer.py", "--seeds", "1"])
    write_csv(tmp_path / "new" / "transfer.csv", rows())
    first, *lines = (tmp_path / "new" / "transfer.csv").read_text().splitlines()
    assert first == "# mbrl-control bench transfer --seeds 1"
    held = list(csv.DictReader(lines))
    assert len(held) == 4 * 3
    third = held[2]
    assert (third["own"], third["condition"], third["target"], third["before_mm"]) == ("a", "plain", "2", "9.0000")


def committed() -> list[Row]:
    """The rows of the committed CSV."""
    lines = (ROOT / "benchmarks/results/transfer.csv").read_text().splitlines()
    groups: dict[tuple[str, str, int], list[dict[str, str]]] = {}
    for line in csv.DictReader(lines[1:]):
        groups.setdefault((line["own"], line["condition"], int(line["seed"])), []).append(line)
    return [
        Row(
            own,
            Condition(condition),
            seed,
            {name: np.array([float(line[f"{name}_mm"]) for line in held]) for name in ERRORS},
            {name: float(held[0][name]) for name in FACTS},
        )
        for (own, condition, seed), held in groups.items()
    ]


def test_the_readme_says_what_the_committed_errors_say() -> None:
    report = summary(committed())
    readme = (ROOT / "README.md").read_text().splitlines()
    columns = ("own", "before", "after", "scratch", "nominal", "nominal_home")
    for condition, directions in {
        "plain": report["directions"],
        "randomized": report["randomized"]["directions"],
    }.items():
        for own, found in directions.items():
            cells = [found[f"{name}_mm"]["median"] for name in columns]
            cells += [found[name] for name in ("ratio_before", "ratio_after", "ratio_own", "ratio_own_again")]
            # 4 decimals in the CSV: the third of a median may be rounded the other way.
            line = next(line for line in readme if line.startswith(f"| {own}, {condition} |"))
            said = [float(cell) for cell in line.split("|")[2:-1]]
            assert said == pytest.approx(cells, abs=0.0015), line
