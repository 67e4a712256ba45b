"""Our contestants of `bench rollout`: ``python -m benchmarks.rollout_ours KIND PROBLEM.npz``.

KIND ``chosen`` is the layout that `choose_layout` measures here, as a planner does at start-up; ``one_lane`` is one
thread; ``roof`` is one large product of single precision with as many threads as there are processors, by torch: what
this machine has to give.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
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
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    matrix = torch.from_numpy(np.random.default_rng(0).normal(size=(ROOF_SIZE, ROOF_SIZE)).astype(np.float32))
    out = torch.empty_like(matrix)
    serve(lambda: torch.mm(matrix, matrix, out=out), [2e-9 * ROOF_SIZE**3], {})


if __name__ == "__main__":
    compete()
