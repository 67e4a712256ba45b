"""Rollouts of an ensemble: ours beside mbrl-lib, pytorch-mppi and what the processors can give, in turns.

One evaluation of 128 sequences x 5 members x 15 steps, the same networks and inputs for all (`rollout_problem`); every
answer is compared with float64 first. Each contestant is a process of its own that waits for its turn on the same two
processors; a turn is a few evaluations, the order is drawn anew in every round. Peers count by the better of one and
two threads, and pytorch-mppi of two ways to carry the members; their own defaults stand beside that and do not count.

    roof_fraction      200x4: rate of ours over that of one large product with all processors
    speedup_128x2, speedup_200x4   median time of mbrl-lib over ours
    speedup_pytorch_mppi           the same, the smaller of both networks
    speedup_p99_contended          99th percentiles with two busy processes, best peer over ours, the smaller of both

Ours is the layout that is measured at start-up and chosen, as a planner does it. A planner measures once: the contended
figure is the worse of the layout chosen beside the busy processes (`speedup_p99_contended_busy_layout`) and of the one
chosen before they began (`speedup_p99_contended_quiet_layout`). `one_lane`
holds the same figures for a single thread, as in a planner that keeps to one processor. Beside each figure stands the
interval that holds 95 % of its values when the rounds are drawn again (`intervals`); a figure that meets its bound
while the interval reaches below it is named in `uncertain`. All times are in the CSV, the
picture beside it.
Example: `mbrl-control bench rollout --out rollout`. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.peers import peers_python
from benchmarks.rollout_contest import PROCESSORS, Contest, chosen_quiet, contestants
from benchmarks.rollout_figures import figures, save_histogram, save_times
from benchmarks.rollout_problem import Network, problem_of, reference

NETWORKS = (Network(128, 2), Network(200, 4))
CONDITIONS = (("quiet", 0, "rounds"), ("contended", 2, "contended_rounds"))
"""Name, busy processes beside the contestants from before they start, and the option that says how many rounds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="turns of each contestant, quiet")
    parser.add_argument("--contended-rounds", type=int, default=60, help="the same beside two busy processes; 0: none")
    parser.add_argument("--evaluations", type=int, default=10, help="per turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("rollout"), help="folder of the CSV and the picture")
    options = parser.parse_args()
    began, python = time.monotonic(), peers_python()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])
    options.out.mkdir(parents=True, exist_ok=True)
    times, facts, roofs = [], {}, {}
    for network in NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "problem.npz"
            problem = problem_of(network, options.seed)
            problem.save(path)
            for condition, busy, option in CONDITIONS:
                rounds = getattr(options, option)
                if rounds == 0:
                    continue
                say(f"{network}: {condition}")
                early = chosen_quiet(path) if busy else None
                with Contest(contestants(python, path), reference(problem), busy, early) as contest:
                    facts[f"{network} {condition}"] = contest.layouts
                    roofs[f"{network} {condition}"] = contest.roof
                    times += contest.measure(str(network), condition, rounds, options.evaluations)
    save_times(times, options.out / "times.csv")
    save_histogram(times, options.out / "times.png")
    kept = {
        "layout": facts,
        "roof": roofs,
        "csv": str(options.out / "times.csv"),
        "picture": str(options.out / "times.png"),
    }
    print(json.dumps(figures(times, NETWORKS) | kept | {"wall_s": round(time.monotonic() - began, 1)}))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
