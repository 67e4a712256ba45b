"""Training of an ensemble: ours beside mbrl-lib's trainer, in turns, on the same rows, to the same held-out NLL.

50,000 transitions of the 7-joint arm from a rigid-body sweep in virtual time (`fit_rows`), as residuals over the arm's
prior, scaled; 7 members of 200 x 4 hidden units, SiLU, batches of 256. Ours is the loop of every fit as it is by
default, `plain` the same without oneDNN; mbrl-lib 0.2.0 brings its `ModelTrainer` and `GaussianMLP`. Each contestant is
a process of its own, with one and with two threads; they take turns of one epoch. Only training counts as time, not the
evaluation of held-out rows.

    speedup       = training time of mbrl-lib to the best held-out NLL it has in its epochs, over ours to the same one
    speedup_along = the same to what mbrl-lib has reached after a third, two thirds and all of its epochs
    speedup_step  = its median time per gradient step over ours; each at its better number of threads
    *_plain       = the same figures of `plain`: both with the same matrix products, so what remains is the trainer
    epoch_time    = our time per epoch with a quarter, half and all of the rows, and the line through them
    memory        = a buffer's most memory and disk over the raw size of its rows (`bench replay_memory`); `fit_ratio`
                    what a fit takes beside such rows, mapped from a file, over the same

Example: `mbrl-control bench fit --epochs 30`. Ends with one line of JSON; some ten minutes, 6 GB of memory and disk.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import replay_memory
from benchmarks.fit_figures import Epoch, beside, figures, linear
from benchmarks.fit_rows import rows_of, sweep
from benchmarks.peers import CHECKOUT, peers_python
from benchmarks.replay_memory_child import RAW_ROW_BYTES
from mbrl_control.cli.locations import arm_file
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.robot import load_arm

_SHARES = (0.25, 0.5, 1.0)
_HERE = Path(__file__).parent
_OURS = (sys.executable, "-P", "-m", "benchmarks.fit_ours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--members", type=int, default=7)
    parser.add_argument("--width", type=int, default=200)
    parser.add_argument("--depth", type=int, default=4, help="hidden layers")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=30, help="of mbrl-lib")
    parser.add_argument("--our-epochs", type=int, default=17, help="of ours: its learning rate falls to zero over them")
    parser.add_argument("--our-rate", type=float, default=2e-3, help="learning rate that ours begins with")
    parser.add_argument("--peer-rate", type=float, default=1e-3, help="learning rate of mbrl-lib")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--memory-rows", type=int, default=10_000_000, help="of the buffer; as many as there is room for"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began, python = time.monotonic(), peers_python()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npz"
        arm = load_arm(arm_file("panda"))
        rows = rows_of(sweep(arm, options.rows, options.seed), arm, FitSettings(), options.seed)
        rows.save(path)
        say(f"{len(rows.train.weights)} rows to train on, {len(rows.held.weights)} held out")
        epochs = contest(python, path, vars(options))
        epoch_time = sizes(path, vars(options), len(rows.train.weights))
    held = memory(options.memory_rows, options.seed)
    found = figures(epochs) | {"epoch_time": epoch_time, "memory": held}
    misses = [*found["misses"], *beside(epoch_time, held, options.memory_rows)]
    kept = {name: [asdict(epoch) for epoch in run] for name, run in epochs.items()}
    facts = {"options": vars(options), "wall_s": round(time.monotonic() - began, 1)}
    print(json.dumps(found | {"misses": misses} | facts | {"epochs": kept}))


def contest(peers: Path, rows: Path, options: dict[str, Any]) -> dict[str, list[Epoch]]:
    """Every contestant's epochs; in each round the order is drawn anew."""
    told, order = json.dumps(options | {"share": 1.0}), np.random.default_rng(options["seed"])
    commands = {}
    for threads in options["threads"]:
        for kind in ("ours", "plain"):
            commands[f"{kind}/{threads}"] = [*_OURS, kind, str(threads), str(rows), told]
        commands[f"mbrl/{threads}"] = [str(peers), str(_HERE / "fit_peers.py"), str(threads), str(rows), told]
    last = {name: options["epochs" if name.startswith("mbrl") else "our_epochs"] for name in commands}
    taken: dict[str, list[Epoch]] = {name: [] for name in commands}
    with contextlib.ExitStack() as stack:
        children = {name: stack.enter_context(started(command)) for name, command in commands.items()}
        for number in range(max(last.values())):
            for name in order.permutation([name for name in commands if number < last[name]]):
                taken[name].append(one_epoch(children[name]))
                say(f"{name} epoch {number + 1}: {taken[name][-1].seconds:.2f} s, NLL {taken[name][-1].nll:.3f}")
    return taken


def sizes(rows: Path, options: dict[str, Any], count: int) -> dict[str, Any]:
    """Our time per epoch, one thread: the least of three, with parts of the rows."""
    seconds = []
    for share in _SHARES:
        with started([*_OURS, "ours", "1", str(rows), json.dumps(options | {"share": share})]) as child:
            seconds.append(min(one_epoch(child).seconds for _ in range(3)))
        say(f"{share:g} of the rows: {seconds[-1]:.2f} s per epoch")
    return linear([round(share * count) for share in _SHARES], seconds)


def memory(rows: int, seed: int) -> dict[str, Any]:
    """Of a buffer of ``rows``, or of as many as half of the free memory and disk hold."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    room = min(free, shutil.disk_usage(tempfile.gettempdir()).free)
    count = min(rows, max(1000, room // (2 * RAW_ROW_BYTES)))
    found = replay_memory.figures(replay_memory.measure_all(count, None, seed, replay_memory.OURS), count)
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-P", "-m", "benchmarks.fit_memory_child", str(count), str(seed), home]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=CHECKOUT)
    taken = json.loads(done.stdout)["anonymous_bytes"] / found["raw_bytes"]
    say(f"a fit of {count} rows takes {taken:.2f} of their raw size beside them")
    return found | {"fit_ratio": round(taken, 3)}


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A contestant that has read its rows and waits for its turn."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
    try:
        _line(child)
        yield child
    finally:
        child.kill()
        child.wait()


def one_epoch(child: subprocess.Popen[str]) -> Epoch:
    """RuntimeError when the contestant has ended."""
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()
    return Epoch(**_line(child))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _line(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"{child.args}: ended with status {child.wait()}")
    values: dict[str, Any] = json.loads(line)
    return values


if __name__ == "__main__":
    main()
