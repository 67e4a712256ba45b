"""Every figure of a demo run from its log and truth file (and the counts of the reference runs beside them)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_control.report.errors import ReportError
from mbrl_control.report.limits import limit_violations, protective_stops
from mbrl_control.report.reach import phase_errors, task_of
from mbrl_control.report.run_data import PLAN_PERIOD_NS, RunData
from mbrl_control.report.targets import PAYLOAD_OVER_FRESH
from mbrl_control.report.timing import (
    Excess,
    excess_over_reference,
    goal_windows,
    late_cycles,
    late_near,
    missed_near,
    missed_ticks,
    off_grid,
    rate_hz,
    stalls,
    swap_times,
)
from mbrl_control.robot import Arm
from sim.truth_file import TruthLog


def figures(folder: Path, run: RunData, truth: TruthLog, arm: Arm) -> dict[str, Any]:
    """JSON-ready figures; `valid` and `invalid_reasons` say whether they may be quoted."""
    result: dict[str, Any] = dict(phase_errors(run.goals, truth))
    late, cycles = late_cycles(run.cycles, goal_windows(run.cycles.stamp_ns, run.goals))
    missed, ticks = missed_ticks(run.ticks)
    planner = _against_reference(folder / "reference_planner.json", late, cycles)
    guard = _against_reference(folder / "reference_guard.json", missed, ticks)
    swaps = swap_times(run.plans)
    everywhere = np.ones(len(run.cycles.stamp_ns), dtype=np.bool_)
    swap_guard = missed_near(run.ticks.index, run.ticks.stamp_ns, swaps)
    violations = limit_violations(truth, run.ticks, arm)
    reasons = _doubts(result, task_of(run.goals), truth, arm, {"planner": planner, "guard": guard})
    if moved := off_grid(run.cycles, PLAN_PERIOD_NS):
        reasons.append(f"planner: {moved} deadlines leave the grid of {PLAN_PERIOD_NS * 1e-6:g} ms")
    return result | {
        "plan_rate_hz": rate_hz(run.plans.stamp_ns, goal_windows(run.plans.stamp_ns, run.goals)),
        "guard_rate_hz": rate_hz(run.ticks.stamp_ns, np.ones(len(run.ticks.stamp_ns), dtype=np.bool_)),
        "late_raw": late,
        "planner_cycles": cycles,
        "missed_raw": missed,
        "guard_ticks": ticks,
        "stalls": stalls(run.ticks.stamp_ns, run.sensor_ns),
        "excess_late": None if planner is None else planner.excess,
        "excess_missed": None if guard is None else guard.excess,
        "reference_planner": None if planner is None else asdict(planner),
        "reference_guard": None if guard is None else asdict(guard),
        "swaps": len(swaps),
        # A cycle without a new plan at its deadline is missed here too, though it was not skipped.
        "swap_missed_ticks": late_near(run.cycles, swaps) + swap_guard,
        "late_whole_log": late_cycles(run.cycles, everywhere)[0],
        "planner_cycles_whole_log": late_cycles(run.cycles, everywhere)[1],
        "limit_violations": sum(violations.values()),
        "limit_violations_by_kind": violations,
        "guard_stops": protective_stops(run.ticks),
        "stops": run.stops,
        "valid": not reasons,
        "invalid_reasons": reasons,
    }


def _against_reference(path: Path, raw: int, cycles: int) -> Excess | None:
    """None without a reference file: the run is then not valid, but the raw counts stand."""
    if not path.is_file():
        return None
    try:
        counts = json.loads(path.read_text(encoding="utf-8"))
        late, total = int(counts["late"]), int(counts["cycles"])
    except (ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{path}: cycles, late: not two whole numbers; measure the reference again") from error
    if total <= 0 or late < 0:
        raise ReportError(f"{path}: cycles: {total} with {late} late makes no reference; measure it again")
    return excess_over_reference(raw, cycles, late, total)


def _doubts(
    errors: dict[str, Any],
    task: tuple[str, str],
    truth: TruthLog,
    arm: Arm,
    references: dict[str, Excess | None],
) -> list[str]:
    prefix, number = task
    reasons = [f"{name}: no finite error of every target" for name, value in errors.items() if value[number] is None]
    fresh, payload = errors[f"{prefix}_fresh"][number], errors[f"{prefix}_payload"][number]
    if fresh is not None and payload is not None and payload < PAYLOAD_OVER_FRESH * fresh:
        reasons.append(
            f"payload {number} below {PAYLOAD_OVER_FRESH} x fresh: the servo hides the load, it is unrealistic"
        )
    if len({value["targets"] for value in errors.values()}) > 1:
        reasons.append("phases have different numbers of targets")
    if truth.robot_sha256 != tuple(arm.sha256):
        reasons.append(f"arm description of {arm.name} is not the one the simulator ran with")
    if np.any(np.diff(truth.step) != 1):
        reasons.append("truth file lacks simulator steps")
    for name, excess in references.items():
        if excess is None:
            reasons.append(f"{name}: no reference was measured")
        elif not excess.valid:
            reasons.append(f"{name}: reference bound above 1 % of the cycles (machine too noisy)")
    return reasons
