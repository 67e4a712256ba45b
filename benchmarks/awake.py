"""What keeping a virtual machine's processors awake is worth and costs: lateness, stolen time, a nice process's share.

Alternates, on all processors at once, a loop of the guard's period (5 ms) that works for a fifth of it, with and
without `mbrl_control.cli.awake`. On bare metal, or where the host has room, both read the same. Between
them, what a process at nice 19 in a session of its own, as a retraining is, gets of a processor.
Example: `mbrl-control bench awake`. Ends with one line of JSON; about 55 s.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_control.cadence import SteadyClock, run_at
from mbrl_control.cli.awake import halts_are_dear, keep_awake, let_sleep
from mbrl_control.scheduling import Placement, take_placement
from mbrl_control.signals import Array

PERIOD_NS, WORK_NS = 5_000_000, 1_000_000
PRIORITY = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each window")
    parser.add_argument("--rounds", type=int, default=4, help="windows of each kind, alternating")
    parser.add_argument("--probe", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        print(json.dumps(_lateness_ms(options.seconds).tolist()))
        return
    found: dict[str, list[tuple[Array, float]]] = {"halting": [], "awake": []}
    share: dict[str, list[float]] = {"halting": [], "awake": []}
    for _ in range(options.rounds):
        found["halting"].append(_window(options.seconds))
        share["halting"].append(_nice_share())
        children = keep_awake(os.sched_getaffinity(0))
        try:
            found["awake"].append(_window(options.seconds))
            share["awake"].append(_nice_share())
        finally:
            let_sleep(children)
    rows = {kind: _summary(rows) | {"nice19_share_percent": share[kind]} for kind, rows in found.items()}
    print(json.dumps({"halts_are_dear": halts_are_dear()} | rows))


def _window(seconds: float) -> tuple[Array, float]:
    """Lateness [N] ms of both processors' ticks, and the share of their time that was stolen."""
    before, began = stolen_s(), time.monotonic()
    probes = [_start(number, seconds) for number in sorted(os.sched_getaffinity(0))]
    late = np.concatenate([np.array(json.loads(probe.communicate()[0])) for probe in probes])
    return late, (stolen_s() - before) / (len(probes) * (time.monotonic() - began))


def _start(processor: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.awake", "--probe", "--seconds", str(seconds)]
    environment = os.environ | Placement(PRIORITY, (processor,)).environment()
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def _lateness_ms(seconds: float) -> Array:
    take_placement()
    clock, late = SteadyClock(factor=1.0), []
    end_ns = clock.now_ns() + round(seconds * 1e9)

    def step(tick: Any) -> None:
        late.append(tick.lateness_ns * 1e-6)
        busy_until = clock.now_ns() + WORK_NS
        while clock.now_ns() < busy_until:
            pass

    run_at(PERIOD_NS, clock, step, lambda: clock.now_ns() < end_ns)
    return np.array(late)


def _nice_share(seconds: float = 1.0) -> float:
    """Percent of one processor that a busy process at nice 19 gets."""
    busy = (
        f"import os, time; os.nice(19); end = time.monotonic() + {seconds}; began = time.process_time()\n"
        f"while time.monotonic() < end: pass\n"
        f"print(100.0 * (time.process_time() - began) / {seconds})"
    )
    command = [sys.executable, "-c", busy]
    done = subprocess.run(command, start_new_session=True, capture_output=True, text=True, check=True)
    return round(float(done.stdout), 1)


def stolen_s() -> float:
    """Of all processors since boot (proc(5), /proc/stat)."""
    steal = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[8]
    return int(steal) / os.sysconf("SC_CLK_TCK")


def _summary(rows: list[tuple[Array, float]]) -> dict[str, Any]:
    late = np.concatenate([row for row, _ in rows])
    return {
        "late_ms_p99": round(float(np.percentile(late, 99)), 3),
        "late_ms_max": round(float(late.max()), 3),
        "late_ms_p99_windows": [round(float(np.percentile(row, 99)), 3) for row, _ in rows],
        "stolen_percent_windows": [round(100.0 * stolen, 2) for _, stolen in rows],
    }


if __name__ == "__main__":
    main()
