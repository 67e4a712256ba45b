"""Writes report.json, report.md and the plots of a run's folder; can be run again at any time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mbrl_control.cli.locations import arm_file
from mbrl_control.report.errors import ReportError
from mbrl_control.report.figures import figures
from mbrl_control.report.frames import write_frames
from mbrl_control.report.plots import plot_cycles, plot_spread, plot_tracking
from mbrl_control.report.reach import PHASES
from mbrl_control.report.run_data import read_run
from mbrl_control.report.targets import TRACK, judged_by, misses
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface
from sim.engines import simulator_named
from sim.renderers import open_renderer
from sim.truth_file import read_truth

RUN_FILE = "run.json"


def write_report(folder: Path, arm_path: Path | None = None) -> dict[str, Any]:
    """Compute every figure of ``folder`` (log, truth.bin) and write the report into it; return the figures.

    ``arm_path`` defaults to the shipped arm of the name in the truth file. ReportError or LogError when the
    folder holds no run.
    """
    truth = read_truth(folder / "truth.bin")
    if len(truth) == 0:
        raise ReportError(f"{folder / 'truth.bin'}: records: none; give a run in which the simulator moved")
    path = arm_path or arm_file(truth.robot)
    arm = load_arm(path, CommandInterface(truth.simulation["command_interface"]))
    draw = open_renderer(simulator_named(truth.simulation["simulator"]), path)
    run = read_run(folder / "log", arm)
    result = truth.simulation | figures(folder, run, truth, arm)
    plot_tracking(run, truth, folder / "tracking.png")
    plot_spread(run, folder / "spread.png")
    plot_cycles(run, folder / "cycles.png")
    write_frames(run.goals, truth, draw, folder)
    return add_run_facts(folder, {}, result)


def run_facts(folder: Path) -> dict[str, Any]:
    """What was noted about a run while it ran; empty where nothing was."""
    run_file = folder / RUN_FILE
    remedy = "remove it, only durations and the seed are lost"
    try:
        known = json.loads(run_file.read_text(encoding="utf-8")) if run_file.is_file() else {}
    except ValueError as error:
        raise ReportError(f"{run_file}: not JSON ({error}); {remedy}") from error
    if not isinstance(known, dict) or not isinstance(known.get("arm", ""), str):
        raise ReportError(f"{run_file}: not the facts of a run; {remedy}")
    return known


def add_run_facts(folder: Path, facts: dict[str, Any], result: dict[str, Any] | None = None) -> dict[str, Any]:
    """Note ``facts`` about a run (durations, seed) in run.json and in the report; return the whole report.

    ``result`` are new figures; without them those of report.json stay.
    """
    run_file, report = folder / RUN_FILE, folder / "report.json"
    known = run_facts(folder)
    run_file.write_text(json.dumps(known | facts, indent=1) + "\n", encoding="utf-8")
    figures = json.loads(report.read_text(encoding="utf-8")) if result is None else result
    # Where the arm's file lay is this machine's business and stays in run.json.
    whole: dict[str, Any] = {key: value for key, value in known.items() if key != "arm"} | figures | facts
    whole["misses"] = misses(whole)
    report.write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(_markdown(whole), encoding="utf-8")
    return whole


def _markdown(result: dict[str, Any]) -> str:
    prefix, number = judged_by(result)
    kind = "Tracking error of the tool on a figure eight" if prefix == TRACK[0] else "Reach error of the tool"
    lines = [
        f"# Demo run: {result.get('robot', '')} in {result['simulator']}",
        "",
        _verdict(result),
        "",
        *_pace(result),
        "Missed: " + ("; ".join(result["misses"]) or "nothing") + ".",
        "",
        f"## {kind}, mm (simulator truth)",
        "",
    ]
    columns = tuple(dict.fromkeys((number, "median", "p95", "max", "targets")))
    lines += [f"| phase | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for phase in PHASES:
        error = result[f"{prefix}_{phase}"]
        lines.append(f"| {phase} | " + " | ".join(_number(error[k]) for k in columns) + " |")
    lines += ["", "## Timing and limits", "", "| figure | value |", "|---|---|"]
    shown = (
        "plan_rate_hz guard_rate_hz late_raw planner_cycles excess_late late_whole_log planner_cycles_whole_log "
        "missed_raw guard_ticks excess_missed stalls swaps swap_missed_ticks limit_violations guard_stops"
    )
    lines += [f"| {key} | {_number(result[key])} |" for key in shown.split()]
    lines += ["", *(f"- Stopped in {name or 'no phase'}: {', '.join(why)}." for name, why in result["stops"].items())]
    lines += ["", "| reference | late | cycles | 95 % bound, scaled |", "|---|---|---|---|"]
    for name in ("reference_planner", "reference_guard"):
        reference = result[name] or {"reference_late": None, "reference_cycles": None, "bound": None}
        values = (reference[k] for k in ("reference_late", "reference_cycles", "bound"))
        lines.append(f"| {name} | " + " | ".join(_number(v) for v in values) + " |")
    lines += [
        "",
        "![tool error](tracking.png)",
        "![spread and innovation](spread.png)",
        "![cycle times](cycles.png)",
        "![frames](frames.png)",
        "",
    ]
    return "\n".join(lines)


def _pace(result: dict[str, Any]) -> list[str]:
    factor = result.get("real_time_factor", 1.0)
    if factor == 1.0:
        return []
    return [f"It ran at {factor:g} of real time: rates and lateness are of the graph's own, slower clock.", ""]


def _verdict(result: dict[str, Any]) -> str:
    if result["valid"]:
        return "The run is valid."
    return "The run is NOT valid: " + "; ".join(result["invalid_reasons"]) + "."


def _number(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"
