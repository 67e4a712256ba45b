"""Transfer between the two simulators: learned in one, run in the other, before and after one retraining.

For each direction (MuJoCo -> PyBullet and back) and seed: excitation in the own simulator, delay and model from that
record, reach errors there (`own_mm`) and at the same targets in the other simulator (`before_mm`), one retraining on
an excitation logged there (`after_mm`), each the error of the true tool over the last 0.5 s of a target's window.

    ratio_before = median(before) / median(own), ratio_after = median(after) / median(own)

Top-level keys are the worse direction's. Beside them, so that the ratios can be judged:

- `ratio_own`: the control. The same targets in the own simulator with ANOTHER seed's model: learned from other motion
  with other weights. What it differs from 1, and how far `ratio_own_seeds` spread, is the noise of every ratio here.
- `ratio_own_again`: the control of `ratio_after`, whose model was trained twice, by the same commands in both
  simulators: the own model retrained once more on its own record. What is below 1 there is what training twice gives.
- `nominal_mm` (other simulator) and `nominal_home_mm`: the servo-lag prior without learning, the simplest baseline.
- `scratch_mm`: a model from the other simulator's record alone, without the parent: what the transfer saves, or not.
- `randomized`: the same where the other simulator runs a plant drawn from the arm's ranges (`sim/randomization.py`,
  another for each seed), which the model never saw: the two engines agree closely, so the plain ratio alone proves
  little. The own errors are then those of the described arm.

Noise, measured with 3 seeds of 15 targets (panda): `ratio_own` 1.33 and 0.98, single seeds 0.51 to 1.37.
A candidate that the retraining's gate refuses (`gate_passed`) is measured all the same; a real run would keep the old
model. All errors, a row per target, are in the CSV that the JSON names.
Example: `mbrl-control bench transfer --seeds 3`. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.transfer_ratios import ERRORS, Row, complete, summary
from benchmarks.transfer_runs import Experiment, measure
from mbrl_control.cli.interrupt import interruptible
from mbrl_control.cli.locations import arm_file
from sim.engines import Simulator

LIMITS = {"ratio_before": 1.5, "ratio_after": 1.1}
"""What the plain ratios have to reach, in both directions."""
RESULTS = Path(__file__).resolve().parent / "results" / "transfer.csv"


def main() -> None:
    options = _options()
    began = time.perf_counter()
    experiment = Experiment(
        arm_file(options.robot),
        tuple(range(options.seed, options.seed + options.seeds)),
        options.randomization_seed,
        options.targets,
        options.window,
        options.excite,
    )
    with interruptible():
        rows = run(experiment)
    write_csv(options.out, rows)
    report = {"robot": options.robot, "seeds": list(experiment.seeds), "targets": options.targets} | summary(rows)
    misses = [f"{name} {report[name]} above {limit}" for name, limit in LIMITS.items() if not report[name] <= limit]
    wall_s = round(time.perf_counter() - began, 1)
    print(json.dumps(report | {"misses": misses, "csv": str(options.out), "wall_s": wall_s}))


def run(experiment: Experiment) -> list[Row]:
    """Both directions, each in a process of its own: they share nothing but the seeds."""
    directions = (Simulator.MUJOCO, Simulator.PYBULLET)
    with multiprocessing.get_context("spawn").Pool(len(directions), _leave_interrupts_to_the_parent) as pool:
        return complete([row for rows in pool.map(partial(measure, experiment), directions) for row in rows])


def _leave_interrupts_to_the_parent() -> None:
    """It ends the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """A row per direction, condition, seed and target; the first line is a comment with the command."""
    facts = list(rows[0].facts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        stream.write(f"# mbrl-control bench transfer {shlex.join(sys.argv[1:])}".rstrip() + "\n")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["own", "condition", "seed", "target", *(f"{name}_mm" for name in ERRORS), *facts])
        for row in rows:
            for target, errors in enumerate(zip(*(row.mm[name] for name in ERRORS), strict=True)):
                values = [f"{error:.4f}" for error in errors] + [f"{row.facts[name]:g}" for name in facts]
                writer.writerow([row.own, row.condition.value, row.seed, target, *values])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mbrl-control bench transfer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--robot", default="panda", help="arm: panda, planar, ur5e or a YAML file (default: panda)")
    parser.add_argument("--targets", type=_count, default=15, help="per seed (default: 15)")
    parser.add_argument("--window", type=float, default=2.5, help="seconds per target (default: 2.5)")
    parser.add_argument("--excite", type=float, default=86.0, help="seconds of excitation per record (default: 86)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seeds", type=_count, default=3, help="how many (default: 3)")
    parser.add_argument("--randomization-seed", type=int, default=0, help="of the first randomized plant (default: 0)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="CSV file (default: benchmarks/results/transfer.csv)")
    return parser.parse_args()


def _count(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


if __name__ == "__main__":
    main()
