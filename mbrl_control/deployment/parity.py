"""ONNX Runtime (float32) against torch (float64), random and edge inputs.

Allowed is max |a - b| <= 1e-5 max(1, max |b|) per output. Far outside the training data sums of large terms cancel,
and float32 itself is further off than that: there the deployed graph must be as good as torch's own float32, at most
ROUNDING times its error.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mbrl_control.deployment.errors import ParityError
from mbrl_control.deployment.graph_names import ROLLOUT_INPUTS, ROLLOUT_OUTPUTS, STEP_INPUTS, STEP_OUTPUTS
from mbrl_control.deployment.rollout_graph import RolloutGraph
from mbrl_control.deployment.session import Float32, Session, worst_difference
from mbrl_control.deployment.step_graph import StepGraph
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, CommandInterface

TOLERANCE = 1e-5
ROUNDING = 4.0
SEQUENCES = 8
"""Of every case."""
_RANDOM = 6


@dataclass(frozen=True, slots=True)
class ParityReport:
    """Largest max |a - b| / max(1, max |b|) over all cases and outputs."""

    step: float
    rollout: float


def check_parity(
    step_graph: StepGraph,
    rollout_graph: RolloutGraph,
    step_onnx: bytes,
    rollout_onnx: bytes,
    arm: Arm,
    generator: np.random.Generator,
) -> ParityReport:
    """Compare both graphs; ParityError names the output that differs."""
    cases = rollout_cases(arm, rollout_graph, generator)
    session = Session(rollout_onnx, "rollout.onnx", SEQUENCES)
    rollout = _worst(rollout_graph, session, cases, ROLLOUT_INPUTS, ROLLOUT_OUTPUTS)
    steps = [step_case(case, step_graph.shape.members) for case in cases]
    step = _worst(step_graph, Session(step_onnx, "model.onnx"), steps, STEP_INPUTS, STEP_OUTPUTS)
    return ParityReport(step, rollout)


def rollout_cases(arm: Arm, graph: RolloutGraph, generator: np.random.Generator) -> list[dict[str, Float32]]:
    """Zeros, both limits at full speed into them, a state and commands a quarter beyond them, and random states."""
    most = arm.command_limit
    # Full torque in one direction would spin the joints far beyond their rated speeds within the horizon.
    effort = arm.interface is CommandInterface.EFFORT
    signs = np.where(np.arange(graph.graph.horizon) % 2, -1.0 if effort else 1.0, 1.0)[:, None]
    horizon, history = graph.graph.horizon, graph.shape.history
    shape = (SEQUENCES, horizon, len(arm.joint_names))

    def case(position: Array, velocity: Array, actions: Array) -> dict[str, Float32]:
        past = np.tile(velocity / arm.velocity * most, history)
        values = {
            "state": np.concatenate([position, velocity, past]),
            "actions": np.broadcast_to(actions, shape) * signs,
            "goal_position": generator.uniform(-1.0, 1.0, (horizon, 3)),
            "goal_joint": generator.uniform(arm.lower, arm.upper, (horizon, arm.joints)),
            "weights": np.ones(len(graph.term_names)),
        }
        return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in values.items()}

    zeros = np.zeros_like(arm.home)
    cases = [case(zeros, zeros, zeros), case(arm.lower, -arm.velocity, -most)]
    cases += [case(arm.upper, arm.velocity, most), case(1.25 * arm.upper, 1.25 * arm.velocity, -1.25 * most)]
    for _ in range(_RANDOM):
        actions = generator.uniform(-1.0, 1.0, shape) * most
        cases.append(case(generator.uniform(arm.lower, arm.upper), actions[0, 0] / most * arm.velocity, actions))
    return cases


def step_case(case: dict[str, Float32], members: int) -> dict[str, Float32]:
    """The first step of a rollout case for the one-step graph."""
    return {"state": np.tile(case["state"], (members, 1, 1)), "action": case["actions"][:1, 0]}


def torch_outputs(
    graph: nn.Module, case: dict[str, Float32], inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> dict[str, Float32]:
    """Named outputs of the torch graph."""
    kind = next(graph.buffers()).dtype
    with torch.inference_mode():
        values = graph(*(torch.from_numpy(case[name]).to(kind) for name in inputs))
    return {name: value.numpy() for name, value in zip(outputs, values, strict=True)}


def _worst(
    graph: nn.Module,
    session: Session,
    cases: list[dict[str, Float32]],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
) -> float:
    worst, exact = 0.0, copy.deepcopy(graph).double()
    for index, case in enumerate(cases):
        truth, rounded = (torch_outputs(g, case, inputs, outputs) for g in (exact, graph))
        deployed = session.run({k: case[k] for k in inputs})
        for name in outputs:
            _, value = worst_difference(deployed, truth, (name,))
            _, rounding = worst_difference(rounded, truth, (name,))
            allowed = max(TOLERANCE, ROUNDING * rounding)
            if not value <= allowed:
                raise ParityError(
                    f"{name}: differs by {value:.2e} in case {index}, allowed {allowed:.1e}; keep the old"
                )
            worst = max(worst, value)
    return worst
