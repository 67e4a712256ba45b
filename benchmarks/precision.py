"""What lower precision would gain a planner on this processor, and what it would cost: int8, bfloat16 and float32.

The ensemble of `bench rollout`, one thread, 16 sequences as a planner scores and 128 as that bench does. int8: ONNX
Runtime's own dynamic quantization (weights to 8 bits per matrix, activations at run time), in three layouts, of which
the fastest counts: our columns, rows with the weights on the right, and a product per member with its weights packed.
bfloat16: whether the runtime's processor kernels take a product of it at all. Variants take turns.

    speedup_int8     = median time of float32 over that of the fastest int8
    cost_error_int8  = largest error of a cost over the spread (standard deviation) of the costs: what ranks sequences
    regret_int8      = true cost of the sequence that int8 ranks first over the least true cost

Example: `mbrl-control bench precision`. Ends with one line of JSON; a minute or two.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import nn

from benchmarks.rollout_ours import AXES, INPUTS, PlainRollout
from benchmarks.rollout_problem import HORIZON, JOINTS, STATE, Network, Problem, problem_of, reference
from mbrl_control.deployment.export import export_graph
from mbrl_control.deployment.graph_names import ACTIONS, BATCH
from mbrl_control.deployment.lanes import Lanes, Layout
from mbrl_control.deployment.quiet_runtime import ort
from mbrl_control.signals import Array

NETWORKS = (Network(128, 2), Network(200, 4))
SEQUENCES = (16, 128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="turns of each variant")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {
        f"{network} {count}": measure(network, count, options.rounds, options.seed)
        for network in NETWORKS
        for count in SEQUENCES
    }
    facts = {"onnxruntime": ort.__version__, "bfloat16": bfloat16_refusal() or "taken"}
    print(json.dumps(facts | found))


def measure(network: Network, sequences: int, rounds: int, seed: int) -> dict[str, Any]:
    """JSON-ready."""
    whole = problem_of(network, seed)
    problem = replace(whole, actions=whole.actions[:sequences])
    lanes = {
        name: Lanes(content, name, {BATCH: sequences}, Layout(), AXES) for name, content in variants(problem).items()
    }
    values = {"state": problem.state, ACTIONS: problem.actions, "goal": problem.goal}
    costs = {name: each.run(values)["cost"].copy() for name, each in lanes.items()}
    ms = {name: 1e3 * np.median(times) for name, times in timed(lanes, values, rounds).items()}
    fastest = min((name for name in lanes if name.startswith("int8")), key=lambda name: float(ms[name]))
    truth = reference(whole)[:sequences]
    rounded = {name: round(float(value), 3) for name, value in ms.items()}
    print(f"{network}, {sequences} sequences: {rounded}", file=sys.stderr, flush=True)
    return {
        "speedup_int8": round(float(ms["float32"] / ms[fastest]), 3),
        "cost_error_int8": round(_error(costs[fastest], truth), 4),
        "cost_error_float32": float(f"{_error(costs['float32'], truth):.1e}"),
        "regret_int8": round(float(truth[np.argmin(costs[fastest])] / truth.min()), 4),
        "ms": rounded,
    }


def timed(lanes: dict[str, Lanes], values: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    """s of every turn but the first, in an order that is drawn anew."""
    seconds: dict[str, list[float]] = {name: [] for name in lanes}
    generator = np.random.default_rng(0)
    for turn in range(rounds + 1):
        for name in generator.permutation(list(lanes)):
            began = time.perf_counter()
            lanes[name].run(values)
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def _error(cost: Array, truth: Array) -> float:
    return float(np.abs(cost - truth).max() / truth.std())


def variants(problem: Problem) -> dict[str, bytes]:
    """Graphs by name; ours is `float32`."""
    whole = exported(PlainRollout(problem))
    return {
        "float32": whole,
        "int8 columns": quantized(whole),
        "int8 rows": quantized(exported(Rows(problem, apart=False))),
        "int8 per member": quantized(exported(Rows(problem, apart=True))),
    }


def exported(rollout: nn.Module) -> bytes:
    """With the number of sequences open."""
    shapes = (torch.zeros(STATE), torch.zeros(3, HORIZON, JOINTS), torch.zeros(JOINTS))
    return export_graph(rollout.eval(), shapes, INPUTS, tuple(AXES), {ACTIONS: {0: BATCH}, "cost": {0: BATCH}})


class Rows(nn.Module):
    """As `PlainRollout`, activations as rows: integer products like constants on the right. ``apart``: a product
    for each member, of two dimensions, whose constant side the runtime packs beforehand."""

    members: torch.Tensor

    def __init__(self, problem: Problem, apart: bool) -> None:
        super().__init__()
        self.apart, self.depth = apart, len(problem.layers) - 1
        for index, (weights, bias) in enumerate(problem.layers):
            for number, part in enumerate(weights if apart else weights[None]):
                self.register_buffer(f"weights_{index}_{number}", torch.from_numpy(part))
            self.register_buffer(f"bias_{index}", torch.from_numpy(bias))
        self.register_buffer("members", torch.zeros(len(problem.layers[0][0]), 1, 1))

    def forward(self, state: torch.Tensor, actions: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        motion = state + 0.0 * actions[:, 0, :1] + self.members
        distances = []
        for step in range(HORIZON):
            hidden = torch.cat([motion, actions[:, step] + self.members], dim=2)
            for index in range(self.depth + 1):
                hidden = self._product(hidden, index) + self.get_buffer(f"bias_{index}")
                hidden = nn.functional.silu(hidden) if index < self.depth else hidden
            motion = motion + hidden
            distances.append((motion[..., :JOINTS] - goal).square().sum(2))
        return torch.stack(distances).sum(0).mean(0)

    def _product(self, hidden: torch.Tensor, index: int) -> torch.Tensor:
        """[E, B, in] -> [E, B, out]."""
        if not self.apart:
            return hidden @ self.get_buffer(f"weights_{index}_0")
        parts = enumerate(hidden.unbind(0))
        return torch.stack([one @ self.get_buffer(f"weights_{index}_{number}") for number, one in parts])


def quantized(content: bytes) -> bytes:
    """Every product in 8 bits."""
    # By name, since only `quiet_runtime` imports the runtime: by now it has.
    tools = importlib.import_module("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        whole.write_bytes(content)
        tools.quantize_dynamic(whole, small, op_types_to_quantize=["MatMul"], extra_options={"MatMulConstBOnly": False})
        model = onnx.load(small)
    if not any(node.op_type in ("MatMulInteger", "DynamicQuantizeMatMul") for node in model.graph.node):
        raise RuntimeError("the runtime's quantization left every product as it was; the figure would be float32's")
    smaller: bytes = model.SerializeToString()
    return smaller


def bfloat16_refusal() -> str:
    """What the runtime says to a product of it on the processor; empty where it computes one."""
    kind = TensorProto.BFLOAT16
    sides = [helper.make_tensor_value_info(name, kind, [8, 8]) for name in ("left", "right", "out")]
    node = helper.make_node("MatMul", ["left", "right"], ["out"])
    graph = helper.make_graph([node], "product", sides[:2], sides[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    try:
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its C module without a common base
        return str(error).splitlines()[0]
    return ""


if __name__ == "__main__":
    main()
