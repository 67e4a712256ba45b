"""The whole graph at 50 or 100 Hz: rates, jitter, latency from sample to command, late cycles beside the machine's own.

Real processes over real DDS follow drawn targets with the shipped model. Windows of 30 s alternate with the same CPU
work per cycle on recorded inputs without ROS, at the same priority in the planner's and the guard's place: what is
late there is the machine's doing.

    iterations, outcomes = cycles in motion by what there was time for and how they ended: a rate that holds with one
                           iteration of three holds at a price, which `bench plan` says
    refined    = the same by how many of their iterations derivatives proposed, where the settings ask for any
    excess_late, excess_missed = count in the graph above the exact one-sided 95 % Poisson bound of the reference
    jitter_ms  = how far consecutive wake-ups (guard: published commands) are from one period apart
    latency_ms = an encoders' sample to the first command that follows the plan made from it; most of it is planned: a
                 plan is due half a period after its tick, at 100 Hz 7 ms, and begins, at either rate, at the next step
                 of 20 ms that the model's grid has from the sample on; up to 5 ms more is the guard's tick
    sample_age_ms = the same of every command that follows a plan: it grows while no new plan comes

`--highest` measures both rates that a model of 20 ms steps and the guard's 200 Hz allow, and says the higher one that
holds; one at which no graph ran does not. `--hogs 2` keeps two processes busy beside everything. `--planner-settings`
takes another planner than the default; one that needs an extended bundle takes its `--registry`, too.
Example: `mbrl-control bench rate --rate 100 --seconds 600 --out out/rate`. Ends with one line of JSON; every window
costs its seconds twice, and the start of a graph.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.rate_window import Contest, Window, machine, run_window
from mbrl_control.cadence import plan_budget_ns
from mbrl_control.cli.interrupt import interruptible
from mbrl_control.cli.processes import GraphFailed
from mbrl_control.cli.run_options import checked_settings
from mbrl_control.cli.session import new_folder
from mbrl_control.report.errors import ReportError
from mbrl_control.report.timing import excess_over_reference
from mbrl_control.signals import Array, CommandInterface
from sim.engines import Simulator

RATES_HZ = (50, 100)
SHARES = {"p50": 50.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=50, choices=RATES_HZ, help="Hz, of the planner")
    parser.add_argument("--highest", action="store_true", help="measure every rate, and say the highest that holds")
    parser.add_argument("--seconds", type=float, default=600.0, help="of the graph in motion, at each rate")
    parser.add_argument("--window", type=float, default=30.0, help="seconds before the reference's turn")
    parser.add_argument("--hogs", type=int, default=0, help="busy processes beside everything")
    parser.add_argument("--robot", default="panda", help="a shipped arm: panda, planar or ur5e")
    parser.add_argument("--planner-settings", type=Path, help="YAML file, docs/planning.md; the period is the rate's")
    parser.add_argument("--registry", type=Path, help="whose active bundle is planned with; default: the shipped one")
    parser.add_argument("--sim", type=Simulator, default=Simulator.MUJOCO)
    parser.add_argument("--command", type=CommandInterface, default=CommandInterface.VELOCITY)
    parser.add_argument("--real-time-factor", type=float, default=1.0, help="below 1: to try the bench, no figure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/rate"), help="new folder: picture and every log")
    options = parser.parse_args()
    settings = checked_settings(options.planner_settings)
    folder = new_folder(options.out)
    rates = RATES_HZ if options.highest else (options.rate,)
    before = machine()
    with interruptible():
        found = {rate: measure(options, settings, rate, folder / f"{rate}hz") for rate in rates}
    ran = {rate: windows for rate, (windows, _) in found.items() if windows}
    if not ran:
        raise GraphFailed(f"no window ran; the first: {found[rates[0]][1][0]}")
    rows = {rate: summary(rate, *of_rate) for rate, of_rate in found.items()}
    picture(ran, folder / "rate.png")
    facts = {"robot": options.robot, "sim": options.sim, "command": options.command, "hogs": options.hogs}
    facts |= {
        "planner_settings": settings,
        "seconds": options.seconds,
        "real_time_factor": options.real_time_factor,
        **before,
    }
    facts["picture"] = str(folder / "rate.png")
    if options.highest:
        held = [rate for rate, row in rows.items() if row["valid"] and not row["misses"]]
        figures = {"highest_rate_hz": max(held, default=None)} | {f"{rate}_hz": row for rate, row in rows.items()}
    else:
        figures = rows[options.rate]
    print(json.dumps(facts | figures))


def measure(
    options: argparse.Namespace, settings: dict[str, Any], rate: int, folder: Path
) -> tuple[list[Window], list[str]]:
    """All windows, and why some have none: the others still count, but not as if these had been measured."""
    contest = Contest(
        *(options.robot, options.sim, options.command, rate, options.window),
        *(options.real_time_factor, options.seed, options.hogs),
        *(None if options.registry is None else options.registry.resolve(), settings),
    )
    count = max(1, round(options.seconds / options.window))
    windows: list[Window] = []
    failures = []
    for number in range(count):
        try:
            windows.append(run_window(contest, folder / str(number), number))
        except (GraphFailed, ReportError) as error:
            failures.append(f"window {number + 1} of {count}: {error}")
            print(failures[-1], file=sys.stderr, flush=True)
            continue
        late, missed = windows[-1].planner[0], windows[-1].guard[0]
        print(f"{rate} Hz, {number + 1} of {count}: {late} late, {missed} missed", file=sys.stderr, flush=True)
        if number:  # the first log stays, to look at; the others are 10 MB each
            shutil.rmtree(folder / str(number))
    return windows, failures


def summary(rate: int, windows: list[Window], failures: Sequence[str] = ()) -> dict[str, Any]:
    """JSON-ready figures of all windows of a rate, if there are any."""
    if not windows:
        return {"rate_hz": rate, "windows": 0, "valid": False, "invalid_reasons": [*failures], "misses": []}
    counts = {"late": [w.planner for w in windows], "missed": [w.guard for w in windows]}
    figures: dict[str, Any] = {"rate_hz": rate, "windows": len(windows)}
    reasons, misses = list(failures), []
    for (name, pairs), kind in zip(counts.items(), ("planner", "guard"), strict=True):
        raw, cycles = (sum(column) for column in zip(*pairs, strict=True))
        own = [window.references[kind] for window in windows]
        excess = excess_over_reference(raw, cycles, *(sum(row[key] for row in own) for key in ("late", "cycles")))
        figures |= {f"{name}_raw": raw, f"{kind}_cycles": cycles, f"{name}_reference": excess.reference_late}
        figures |= {f"excess_{name}": round(excess.excess, 2), f"{name}_windows": [pair[0] for pair in pairs]}
        if not excess.valid:
            reasons.append(f"{kind}: reference bound {excess.bound:.0f} above 1 % of the cycles (machine too noisy)")
        if excess.excess > 0.0:
            misses.append(f"excess_{name} {excess.excess:.2f} above 0")
    figures |= _timings(windows)
    if figures["guard_stops"]:
        misses.append(f"guard_stops {figures['guard_stops']} above 0")
    return figures | {"valid": not reasons, "invalid_reasons": reasons, "misses": misses}


def _timings(windows: list[Window]) -> dict[str, Any]:
    plans, commands = ([window.rates[i] for window in windows] for i in (0, 1))
    return {
        "plan_rate_hz": _mean(plans),
        "guard_rate_hz": _mean(commands),
        "latency_ms": _quantiles(np.concatenate([window.latency_ms for window in windows])),
        "sample_age_ms": _quantiles(np.concatenate([window.age_ms for window in windows])),
        "cycle_ms": _quantiles(np.concatenate([window.cycle_ms for window in windows])),
        "jitter_ms": {
            kind: _quantiles(np.concatenate([window.jitter_ms[kind] for window in windows]))
            | {"reference_p99": _median([window.references[kind]["jitter_ms"]["p99"] for window in windows])}
            | {"reference_max": max(window.references[kind]["jitter_ms"]["max"] for window in windows)}
            for kind in ("planner", "guard")
        },
        "iterations": _counted([window.iterations for window in windows]),
        "refined": _counted([window.refined for window in windows]),
        "outcomes": _counted([window.outcomes for window in windows]),
        "guard_stops": sum(window.stops for window in windows),
        "stolen_percent_windows": [round(100.0 * window.stolen, 2) for window in windows],
        "scheduling": windows[-1].scheduling,
    }


def _counted(windows: list[Counter[Any]]) -> dict[str, int]:
    """Of all, the rarest key last."""
    return {str(key): count for key, count in sum(windows, Counter()).most_common()}


def _quantiles(values: Array) -> dict[str, float]:
    return {name: round(float(np.percentile(values, share)), 3) for name, share in SHARES.items()}


def _median(values: list[float]) -> float:
    return round(float(np.median(values)), 3)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 3) if known else None


def picture(found: dict[int, list[Window]], path: Path) -> None:
    """Histograms: cycle time, latency, jitter of planner and guard; one row per rate."""
    figure, rows = plt.subplots(len(found), 3, figsize=(13, 3.2 * len(found)), squeeze=False, layout="constrained")
    for (rate, windows), axes in zip(found.items(), rows, strict=True):
        cycle = np.concatenate([window.cycle_ms for window in windows])
        axes[0].hist(cycle, bins=100, log=True)
        axes[0].axvline(plan_budget_ns(round(1e9 / rate)) * 1e-6, color="k", linestyle=":", label="deadline")
        axes[0].set(title=f"planner at {rate} Hz: wake-up to plan", xlabel="ms", ylabel="cycles")
        axes[0].legend()
        axes[1].hist(np.concatenate([window.latency_ms for window in windows]), bins=100, log=True)
        axes[1].hist(np.concatenate([window.age_ms for window in windows]), bins=100, log=True, histtype="step")
        axes[1].set(title="encoders' sample to command: first of a plan, every (line)", xlabel="ms", ylabel="count")
        for kind in ("planner", "guard"):
            values = np.concatenate([window.jitter_ms[kind] for window in windows])
            axes[2].hist(values, bins=100, log=True, histtype="step", label=kind)
        axes[2].set(title="distance from one period apart", xlabel="ms", ylabel="count")
        axes[2].legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
