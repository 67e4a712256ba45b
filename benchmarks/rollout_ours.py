"""Our contestants of `bench rollout`: ``python -m benchmarks.rollout_ours KIND PROBLEM.npz``.

KIND ``chosen`` is the layout that `choose_layout` measures here, as a planner does at start-up; ``one_lane`` is one
thread; ``roof`` is one large product of single precision with as many threads as there are processors: what this
machine has to give, by whichever of `roofs` is fastest at it here.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from benchmarks.rollout_child import serve
from benchmarks.rollout_problem import HORIZON, JOINTS, ROOF_SIZE, SEQUENCES, STATE, Problem
from mbrl_control.cadence import SteadyClock
from mbrl_control.deployment.export import export_graph
from mbrl_control.deployment.graph_names import BATCH
from mbrl_control.deployment.lanes import Lanes, Layout
from mbrl_control.deployment.layout_choice import choose_layout
from mbrl_control.deployment.networks import Networks
from mbrl_control.deployment.session import Float32, Session, Threads
from mbrl_control.learning.fit_settings import exact_onednn

INPUTS, AXES = ("state", "actions", "goal"), {"cost": 0}


class PlainRollout(nn.Module):
    """state [14], actions [B, H, 7], goal [7] -> cost [B]; see `rollout_problem`."""

    members: torch.Tensor

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.networks = Networks([(torch.from_numpy(w).mT, torch.from_numpy(b).mT) for w, b in problem.layers])
        self.register_buffer("members", torch.zeros(len(problem.layers[0][0]), 1, 1))

    def forward(self, state: torch.Tensor, actions: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        commands = actions.permute(1, 2, 0)
        one = torch.ones_like(commands[0, :1]) + self.members
        motion = state[:, None] * torch.ones_like(commands[0, :1]) + self.members
        distances = []
        for step in range(HORIZON):
            motion = motion + self.networks(torch.cat([motion, commands[step] + self.members, one], dim=1))
            distances.append((motion[:, :JOINTS] - goal[:, None]).square().sum(1))
        return torch.stack(distances).sum(0).mean(0)


def compete() -> None:
    kind, path = sys.argv[1], Path(sys.argv[2])
    if kind == "roof":
        serve_roof()
        return
    torch.set_num_threads(1)
    problem = Problem.load(path)
    shapes = (torch.zeros(STATE), torch.zeros(3, HORIZON, JOINTS), torch.zeros(JOINTS))
    graph = export_graph(
        PlainRollout(problem), shapes, INPUTS, tuple(AXES), {"actions": {0: BATCH}, "cost": {0: BATCH}}
    )
    said = ""
    layout = Layout()
    if kind == "chosen":
        choice = choose_layout(graph, kind, {BATCH: SEQUENCES}, SteadyClock(), axes=AXES)
        layout, said = choice.layout, str(choice)
    lanes = Lanes(graph, kind, {BATCH: SEQUENCES}, layout, AXES)
    values = {"state": problem.state, "actions": problem.actions, "goal": problem.goal}
    serve(lambda: lanes.run(values), lanes.run(values)["cost"].tolist(), {"layout": said})


def serve_roof() -> None:
    """The answer is the work of one product, GFLOP."""
    ways = roofs(np.random.default_rng(0).normal(size=(ROOF_SIZE, ROOF_SIZE)).astype(np.float32))
    taken = {name: min(_seconds(product) for _ in range(5)) for name, product in ways.items()}
    fastest = min(taken, key=lambda name: taken[name])
    said = ", ".join(f"{name} {1e3 * seconds:.1f} ms" for name, seconds in taken.items())
    serve(ways[fastest], [2e-9 * ROOF_SIZE**3], {"roof": f"{fastest} ({said})"})


def roofs(matrix: Float32) -> dict[str, Callable[[], object]]:
    """The product of a matrix with itself by torch's BLAS, by oneDNN (which some processors do better with) and by
    ONNX Runtime."""
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    here, out = torch.from_numpy(matrix), torch.empty(matrix.shape)

    def by_torch(precision: str) -> object:
        torch.set_float32_matmul_precision(precision)
        return torch.mm(here, here, out=out)

    ways: dict[str, Callable[[], object]] = {"torch": lambda: by_torch("highest")}
    if exact_onednn():
        ways["torch with oneDNN"] = lambda: by_torch("medium")
    node = onnx.helper.make_node("MatMul", ["left", "right"], ["product"])
    shape, right = list(matrix.shape), onnx.numpy_helper.from_array(matrix, "right")
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("left", "product")]
    graph = onnx.helper.make_graph([node], "roof", ends[:1], ends[1:], [right])
    content = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    session = Session(content.SerializeToString(), "roof", threads=Threads(threads))
    return ways | {"ONNX Runtime": session.bind({"left": matrix}, {"product": np.empty_like(matrix)}).run}


def _seconds(product: Callable[[], object]) -> float:
    began = time.perf_counter()
    product()
    return time.perf_counter() - began


if __name__ == "__main__":
    compete()
