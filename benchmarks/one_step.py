"""A million one-step evaluations of an ensemble, as training data or a wide search ask for: time and share of the roof.

Five members of 200x4 (`rollout_problem`), every row through all of them, in chunks on arrays that stay where they are;
on a GPU the graph is recorded once and replayed (`deployment/cuda.py`), with and without the copies there and back. The
roof is one large product of single precision by the same runtime on the same device (TF32 off, as in ours); torch's
own batched products stand beside it. Answers are compared with float64 first. Contestants take turns.

    steps_s        = median seconds for all rows, copies included
    roof_fraction  = rate of the matrix products, without copies, over that of the large product

Without a GPU the figures are the processor's and say so. Example: `mbrl-control bench one_step --device cuda`. Ends
with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.rollout_problem import (
    ACTION,
    HORIZON,
    MEMBERS,
    SEQUENCES,
    STATE,
    Network,
    Problem,
    networks,
    problem_of,
)
from mbrl_control.deployment.cuda import cuda_listed
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.export import export_graph
from mbrl_control.deployment.graph_names import BATCH
from mbrl_control.deployment.networks import Networks
from mbrl_control.deployment.session import Session, Threads, worst_difference

NETWORK = Network(200, 4)
FLOPS_PER_ROW = NETWORK.flops / (SEQUENCES * HORIZON)
ROOF_SIZES = {"cpu": 1536, "cuda": 8192}
TOLERANCE = 1e-5
CHECKED = 256
"""Rows that are compared with float64."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1 << 20)
    parser.add_argument("--chunk", type=int, default=1 << 14, help="rows per call; a GPU wants more, 131072")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.chunk < 1 or options.rows % options.chunk:
        parser.error(f"--chunk: {options.chunk} does not divide {options.rows} rows")
    device = options.device if options.device != "auto" else "cuda" if cuda_listed() else "cpu"
    try:
        print(json.dumps(measure(options, device)))
    except BundleError as error:
        parser.error(str(error))


def measure(options: argparse.Namespace, device: str) -> dict[str, Any]:
    """JSON-ready."""
    problem = problem_of(NETWORK, options.seed)
    calls = options.rows // options.chunk
    ours, roof = steps(problem, options.chunk, device), product(ROOF_SIZES[device], device)
    contestants = {"steps": ours.run, "resident": ours.compute, "roof": roof.compute}
    if device == "cpu" or torch.cuda.is_available():
        contestants["torch"] = eager(problem, options.chunk, device)
    repeats = {"steps": calls, "resident": calls, "roof": 1, "torch": calls}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(options.rounds + 1):
        for name, call in contestants.items():
            began = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            if turn:  # the first one warms up
                seconds[name].append(time.perf_counter() - began)
            print(f"{name}: {time.perf_counter() - began:.3f} s", file=sys.stderr, flush=True)
    rate = options.rows * FLOPS_PER_ROW / np.array(seconds["resident"])
    fraction = rate / (2.0 * ROOF_SIZES[device] ** 3 / np.array(seconds["roof"]))
    found = {name: [round(float(value), 4) for value in np.percentile(s, [50, 0, 100])] for name, s in seconds.items()}
    return {
        "device": device,
        "cuda": cuda_listed(),
        "network": str(NETWORK),
        "members": MEMBERS,
        "rows": options.rows,
        "chunk": options.chunk,
        "steps_s": found["steps"][0],
        "roof_fraction": round(float(np.median(fraction)), 3),
        "seconds_median_min_max": found,
        "gflops": round(float(np.median(rate)) * 1e-9, 1),
    }


@dataclass(frozen=True, slots=True)
class Bound:
    """A graph with its arrays."""

    run: Callable[[], None]
    """With copies to and from the device."""
    compute: Callable[[], None]
    """On what lies there."""


class Step(nn.Module):
    """state [N, 14], action [N, 7] -> next [E, 14, N]; a row goes through every member."""

    members: torch.Tensor

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.networks = Networks([(torch.from_numpy(w).mT, torch.from_numpy(b).mT) for w, b in problem.layers])
        self.register_buffer("members", torch.zeros(len(problem.layers[0][0]), 1, 1))

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        both = torch.cat([state, action, torch.ones_like(state[:, :1])], dim=1).T
        return state.T + self.networks(both + self.members)


def steps(problem: Problem, rows: int, device: str) -> Bound:
    """Our graph, checked against float64."""
    shapes = (torch.zeros(3, STATE), torch.zeros(3, ACTION))
    axes = {"state": {0: BATCH}, "action": {0: BATCH}, "next": {2: BATCH}}
    content = export_graph(Step(problem).eval(), shapes, ("state", "action"), ("next",), axes)
    generator = np.random.default_rng(1)
    inputs = {
        "state": generator.normal(size=(rows, STATE)).astype(np.float32),
        "action": generator.uniform(-1.0, 1.0, (rows, ACTION)).astype(np.float32),
    }
    outputs = {"next": np.zeros((MEMBERS, STATE, rows), np.float32)}
    bound = bind(content, "one step", {BATCH: rows}, inputs, outputs, device)
    bound.run()
    wanted = {"next": reference(problem, *(value[:CHECKED] for value in inputs.values()))}
    _, away = worst_difference({"next": outputs["next"][:, :, :CHECKED]}, wanted, ("next",))
    if away > TOLERANCE:
        raise BundleError(f"one step on {device}: differs from float64 by {away:.1e}; no figure is worth anything")
    return bound


def reference(problem: Problem, state: NDArray[np.float32], action: NDArray[np.float32]) -> NDArray[np.float64]:
    """[E, 14, N], float64."""
    both = np.concatenate([state, action], axis=1).astype(np.float64)
    added = networks(problem, np.broadcast_to(both, (MEMBERS, *both.shape)))
    return np.asarray((state + added).transpose(0, 2, 1))


def product(size: int, device: str) -> Bound:
    """One large product by the same runtime."""

    class Product(nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return left @ right

    matrix = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    shapes = (torch.zeros(size, size), torch.zeros(size, size))
    content = export_graph(Product(), shapes, ("left", "right"), ("out",), {})
    bound = bind(content, "roof", {}, {"left": matrix, "right": matrix}, {"out": np.zeros_like(matrix)}, device)
    bound.run()
    return bound


def bind(
    content: bytes,
    place: str,
    sizes: dict[str, int],
    inputs: dict[str, NDArray[np.float32]],
    outputs: dict[str, NDArray[np.float32]],
    device: str,
) -> Bound:
    """All processors, or the GPU."""
    threads = Threads(len(os.sched_getaffinity(0)))
    bound = Session(content, place, sizes, threads, cuda=device == "cuda").bind(inputs, outputs)
    return Bound(bound.run, bound.compute)


def eager(problem: Problem, rows: int, device: str) -> Callable[[], None]:
    """torch's own batched products: what one writes without thinking."""
    layers = [(torch.from_numpy(w).to(device), torch.from_numpy(b).to(device)) for w, b in problem.layers]
    both = torch.randn(MEMBERS, rows, STATE + ACTION, device=device)

    def run() -> None:
        with torch.inference_mode():
            hidden = both
            for index, (weights, bias) in enumerate(layers):
                hidden = torch.baddbmm(bias, hidden, weights)
                if index < len(layers) - 1:
                    hidden = torch.nn.functional.silu(hidden)
            if device == "cuda":
                torch.cuda.synchronize()

    return run


if __name__ == "__main__":
    main()
