"""Training of an ensemble: ours beside mbrl-lib's trainer, in turns, on the same rows, to the same held-out NLL.

50,000 transitions of the 7-joint arm from a rigid-body sweep in virtual time (`fit_rows`), as residuals over the arm's
prior, scaled; 7 members of 200 x 4 hidden units, SiLU, batches of 256. mbrl-lib 0.2.0 brings its `ModelTrainer` and
`GaussianMLP`. Only training counts as time, not the evaluation of held-out rows. Seeds of rows, weights and batches: 1
by default; what was ever chosen by trials was chosen with seed 0.

Each library runs with one and two threads, with and without oneDNN's matrix products (a flag of torch that our fits set
where it is exact; the peer is given it, too), and counts at its fastest (`fit_figures`). Ours learns as a fit does when
it is told nothing, as in `retrain`: 60 epochs, rate 2e-3 falling to zero over them, patience 10. (Its limit of 60 s is
left out: `ours_s` of `targets_reached` says when it gets there.) The peer learns twice: as its own configurations have
it (constant 1e-3, --epochs), and with our rate and schedule over as many epochs. Its best NLL in each is a target, its
faster way to a target counts, and the least figure is printed.

    speedup            = training time of the peer to a target over ours; 0 where ours never gets there
    speedup_tuned      = the same with a budget made for these rows (17 epochs, rate 2e-3 falling to zero over them),
                         the peer with its own and with that schedule
    speedup_plain      = `speedup`, both without oneDNN           speedup_one_thread = both with one, as `retrain` has
    speedup_along      = to what the peer's runs have reached after a third and two thirds of their epochs
    speedup_step       = time per gradient step, peer over ours   speedup_step_plain = the same without oneDNN
    epoch_time         = our time per epoch with a quarter, half and all of the rows (`fit_growth`)
    memory             = of a buffer of ten million rows and a fit of them, and of a `retrain` of a log, over the raw
                         size of the rows (`fit_memory`)

Example: `mbrl-control bench fit --epochs 30`. Ends with one line of JSON; some twenty minutes, 6 GB of memory and disk.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.fit_contest import DEFAULT, TUNED, Problem, epoch_seconds, paces, runs, say, schedules
from benchmarks.fit_figures import Epoch, Way, fastest, figures
from benchmarks.fit_growth import linear
from benchmarks.fit_memory import measure
from benchmarks.fit_rows import rows_of, sweep
from benchmarks.peers import peers_python
from mbrl_control.cli.locations import arm_file
from mbrl_control.learning.fit_settings import FitSettings, exact_onednn
from mbrl_control.robot import load_arm

_SHARES = (0.25, 0.5, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=200, help="of each of four hidden layers")
    parser.add_argument("--epochs", type=int, default=30, help="of mbrl-lib as its configurations have it")
    parser.add_argument(
        "--memory-rows", type=int, default=10_000_000, help="of the buffer; as many as there is room for"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began, onednn = time.monotonic(), exact_onednn()
    found, taken = compare(options, onednn)
    memory = measure(options.memory_rows, options.seed)
    misses = [*found["misses"], *growth_misses(found["epoch_time"]), *memory["misses"]]
    facts = {"options": vars(options), "onednn": onednn, "wall_s": round(time.monotonic() - began, 1)}
    print(json.dumps(found | {"memory": memory, "misses": misses} | facts | {"epochs": taken}))


def compare(options: argparse.Namespace, onednn: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures of the training, and every epoch that they are made of."""
    python = peers_python()
    with tempfile.TemporaryDirectory() as folder:
        problem = Problem(Path(folder) / "rows.npz", options.width, options.seed)
        arm = load_arm(arm_file("panda"))
        rows = rows_of(sweep(arm, options.rows, options.seed), arm, FitSettings(), options.seed)
        rows.save(problem.rows)
        say(f"{len(rows.train.weights)} rows to train on, {len(rows.held.weights)} held out")
        pace = paces(python, problem, onednn)
        ways = {library: fastest(pace, library, onednn) for library in ("ours", "mbrl")}
        say(f"fastest: {ways['ours']}, {ways['mbrl']}")
        taken = runs(python, problem, ways, schedules(options.epochs))
        epoch_time = sizes(problem, len(rows.train.weights), onednn)
    found = figures(pace, taken, DEFAULT, TUNED, onednn) | {"epoch_time": epoch_time}
    return found, {"paces": _kept({str(way): run for way, run in pace.items()}), "runs": _kept(taken)}


def sizes(problem: Problem, count: int, onednn: bool) -> dict[str, Any]:
    """Our time per epoch, one thread, with parts of the ``count`` rows."""
    seconds = []
    for share in _SHARES:
        seconds.append(epoch_seconds(problem, Way("ours", 1, onednn), share))
        say(f"{share:g} of the rows: {seconds[-1]:.2f} s per epoch")
    return linear([round(share * count) for share in _SHARES], seconds)


def growth_misses(epoch_time: Mapping[str, Any]) -> list[str]:
    if epoch_time["linear"]:
        return []
    told = f"growth {epoch_time['growth']}, {epoch_time['largest_departure']} off a line"
    return [f"epoch_time is not linear in the rows: {told}"]


def _kept(runs: Mapping[str, Sequence[Epoch]]) -> dict[str, list[dict[str, float]]]:
    return {name: [asdict(epoch) for epoch in run] for name, run in runs.items()}


if __name__ == "__main__":
    main()
