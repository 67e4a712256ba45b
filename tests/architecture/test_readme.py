"""The README's figures are those of the committed reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mbrl_control.report.reach import PHASES
from mbrl_control.report.targets import judged_by

ROOT = Path(__file__).parents[2]
SEEDS = (0, 1, 2)
Report = dict[str, Any]


def _error(phase: str) -> Callable[[Report], str]:
    """The number that a phase is judged by, and its 95 % point."""

    def cell(report: Report) -> str:
        prefix, number = judged_by(report)
        error = report[f"{prefix}_{phase}"]
        return f"{error[number]:.2f} ({error['p95']:.2f})"

    return cell


ROWS: dict[str, Callable[[Report], str]] = {
    **{f"`{phase}`": _error(phase) for phase in PHASES},
    "plan rate, Hz": lambda report: f"{report['plan_rate_hz']:.2f}",
    "guard rate, Hz": lambda report: f"{report['guard_rate_hz']:.2f}",
    "late planner cycles": lambda report: f"{report['late_raw']} of {report['planner_cycles']}",
    "reference without ROS, 60 s": lambda report: "{reference_late} of {reference_cycles}".format(
        **report["reference_planner"]
    ),
    "its 95 % bound, scaled": lambda report: f"{report['reference_planner']['bound']:.1f}",
    "missed guard ticks": lambda report: f"{report['missed_raw']} of {report['guard_ticks']}",
    "late or missed near swaps": lambda report: str(report["swap_missed_ticks"]),
    "limit violations": lambda report: str(report["limit_violations"]),
    "stops by the guard": lambda report: str(report["guard_stops"]),
    "missed figures": lambda report: "; ".join(report["misses"]) or "none",
    "whole demo, s": lambda report: f"{report['demo_s']:.1f}",
}


VARIANTS = ("demo-ur5e", "demo-pybullet", "slowed-effort")
TABLES: dict[str, list[str]] = {
    "| tool error, mm: median (p95) | seed 0 | seed 1 | seed 2 |": [f"demo-seed{seed}" for seed in SEEDS],
    "| tool error, mm: median (p95), by torques RMS (p95) | `--robot ur5e` | `--sim pybullet` | `--command effort` |": [
        *VARIANTS
    ],
}
"""The README's tables of demo runs: their heads and the folders of their columns."""


@pytest.mark.parametrize("head", TABLES)
def test_a_table_of_runs_says_what_their_reports_say(head: str) -> None:
    reports = [_report(folder) for folder in TABLES[head]]
    rows = [f"| {name} | " + " | ".join(map(row, reports)) + " |" for name, row in ROWS.items()]
    assert (ROOT / "README.md").read_text().count("\n".join([head, "|---|---|---|---|", *rows])) == 1


def _report(folder: str) -> Report:
    report: Report = json.loads((ROOT / "benchmarks" / "results" / folder / "report.json").read_text())
    return report


@pytest.mark.parametrize("folder", VARIANTS)
def test_what_ran_slower_than_real_time_is_said_to(folder: str) -> None:
    report, (pace, name) = _report(folder), folder.split("-")
    assert report["real_time_factor"] == {"demo": 1.0, "slowed": 0.25}[pace]
    assert name in (report["robot"], report["simulator"], report["command_interface"])
    assert report["valid"]


def test_live_tracking_by_torques_is_what_the_readme_says() -> None:
    report = _report("slowed-effort")
    nominal, fresh, payload, relearned = (
        report[f"track_mm_{phase}"]["rms"] for phase in ("nominal", "fresh", "payload", "relearned")
    )
    assert (fresh / nominal, relearned / payload) == pytest.approx((0.20, 0.10), abs=0.005)
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert f"RMS {nominal:.2f} with the prior, {fresh:.2f} learned (0.20 of it)" in readme
    assert f"under the load {payload:.2f} and, relearned, {relearned:.2f} (0.10 of it)" in readme


TRACKED = {
    "computed torque, critically damped, 200 Hz": ("computed_torque", "payload_computed_torque"),
    "the same with an integral": ("computed_torque_integral", "payload_computed_torque_integral"),
    "planner, prior": ("nominal", "payload_nominal"),
    "planner, friction and load identified, no networks": ("identified", "relearned_identified"),
    "planner, learned without the load": ("fresh", "payload"),
    "planner, relearned with the load": (None, "relearned"),
}
"""Rows of the table of torques: figure without load, figure with it."""
UNESTIMATED = (*TRACKED,)[2:]
"""Rows that stand there a second time, of runs whose planner estimates no disturbance."""


@pytest.mark.parametrize(
    ("name", "kind"), [(name, "") for name in TRACKED] + [(name, "-unestimated") for name in UNESTIMATED]
)
def test_the_table_of_torques_says_what_the_committed_figures_say(name: str, kind: str) -> None:
    folder = ROOT / "benchmarks" / "results" / "track"
    runs = [json.loads((folder / f"iterations{count}{kind}.json").read_text()) for count in (1, 2)]
    cells = [" / ".join(dict.fromkeys(_rms(run, phase) for run in runs)) for phase in TRACKED[name]]
    row = name + (", no disturbance estimated" if kind else "")
    assert f"| {row} | {' | '.join(cells)} |" in (ROOT / "README.md").read_text().splitlines()


def _rms(run: Report, phase: str | None) -> str:
    return "-" if phase is None else f"{run[f'track_mm_{phase}_rms']:.2f}"


SWUNG = {
    "planner, rigid-body prior without friction": "nominal",
    "planner, model learned from 50 s near hanging": "fitted",
    "the prior, the deployed guard in the loop": "nominal_guarded",
    "the learned model, the deployed guard in the loop": "fitted_guarded",
    "energy pumping of Astrom and Furuta, computed torque at the top": "energy_pumping",
    "computed torque to upright": "computed_torque",
}


@pytest.mark.parametrize("name", SWUNG)
def test_the_table_of_swing_ups_says_what_the_committed_figures_say(name: str) -> None:
    folder = ROOT / "benchmarks" / "results" / "swing_up"
    runs = [json.loads((folder / f"seed{seed}.json").read_text())[SWUNG[name]] for seed in (100, 0)]
    assert f"| {name} | {' | '.join(map(_swung, runs))} |" in (ROOT / "README.md").read_text().splitlines()


def _swung(run: Report) -> str:
    times = "" if run["median_s"] is None else f", {run['median_s']:.2f} ({run['max_s']:.2f})"
    return f"{run['successes']} of {len(run['seconds'])}{times}"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_committed_report_is_of_its_seed_and_of_this_program(seed: int) -> None:
    report = _report(f"demo-seed{seed}")
    assert (report["robot"], report["seed"]) == ("panda", seed)
    assert {"late_whole_log", "excess_late", "swap_missed_ticks", "misses"} <= set(report)
