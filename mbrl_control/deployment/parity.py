"""Torch against ONNX Runtime, random and edge inputs, float32: max |a - b| <= 1e-5 max(1, max |b|) per output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mbrl_control.deployment.errors import ParityError
from mbrl_control.deployment.rollout_graph import (
    ROLLOUT_INPUTS,
    ROLLOUT_OUTPUTS,
    STEP_INPUTS,
    STEP_OUTPUTS,
    RolloutGraph,
    StepGraph,
)
from mbrl_control.deployment.session import Float32, Session, worst_difference
from mbrl_control.rewards.names import TERM_NAMES
from mbrl_control.robot import Arm
from mbrl_control.signals import Array

TOLERANCE = 1e-5
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
    rollout = _worst(rollout_graph, Session(rollout_onnx, "rollout.onnx"), cases, ROLLOUT_INPUTS, ROLLOUT_OUTPUTS)
    steps = [step_case(case, step_graph.shape.members) for case in cases]
    step = _worst(step_graph, Session(step_onnx, "model.onnx"), steps, STEP_INPUTS, STEP_OUTPUTS)
    return ParityReport(step, rollout)


def rollout_cases(arm: Arm, graph: RolloutGraph, generator: np.random.Generator) -> list[dict[str, Float32]]:
    """Zeros, both limits at full speed into them, a state and commands a quarter beyond them, and random states."""
    batch, horizon, history = graph.graph.batch, graph.graph.horizon, graph.shape.history
    shape = (batch, horizon, len(arm.joint_names))

    def case(position: Array, velocity: Array, actions: Array) -> dict[str, Float32]:
        past = np.tile(velocity, history)
        values = {
            "state": np.concatenate([position, velocity, past]),
            "actions": np.broadcast_to(actions, shape),
            "goal_position": generator.uniform(-1.0, 1.0, 3),
            "goal_joint": generator.uniform(arm.lower, arm.upper),
            "weights": np.ones(len(TERM_NAMES)),
        }
        return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in values.items()}

    zeros = np.zeros_like(arm.home)
    cases = [case(zeros, zeros, zeros), case(arm.lower, -arm.velocity, -arm.velocity)]
    cases += [
        case(arm.upper, arm.velocity, arm.velocity),
        case(1.25 * arm.upper, 1.25 * arm.velocity, -1.25 * arm.velocity),
    ]
    for _ in range(_RANDOM):
        actions = generator.uniform(-1.0, 1.0, shape) * arm.velocity
        cases.append(case(generator.uniform(arm.lower, arm.upper), actions[0, 0], actions))
    return cases


def step_case(case: dict[str, Float32], members: int) -> dict[str, Float32]:
    """The first step of a rollout case for the one-step graph."""
    return {"state": np.tile(case["state"], (members, 1, 1)), "action": case["actions"][:1, 0]}


def torch_outputs(
    graph: nn.Module, case: dict[str, Float32], inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> dict[str, Float32]:
    """Named outputs of the torch graph."""
    with torch.inference_mode():
        values = graph(*(torch.from_numpy(case[name]) for name in inputs))
    return {name: value.numpy() for name, value in zip(outputs, values, strict=True)}


def _worst(
    graph: nn.Module,
    session: Session,
    cases: list[dict[str, Float32]],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
) -> float:
    worst = 0.0
    for index, case in enumerate(cases):
        expected = torch_outputs(graph, case, inputs, outputs)
        name, value = worst_difference(session.run({k: case[k] for k in inputs}), expected, outputs)
        if value > TOLERANCE:
            raise ParityError(
                f"{name}: differs by {value:.2e} in case {index}, allowed {TOLERANCE:.0e}; report the model"
            )
        worst = max(worst, value)
    return worst
