"""ONNX Runtime (float32) against torch (float64), random and edge inputs.

Allowed is max |a - b| <= 1e-5 max(1, max |b|) per output. Far outside the training data sums of large terms cancel,
and float32 itself is further off than that: there the deployed graph must be as good as torch's own float32, at most
ROUNDING times its error.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mbrl_control.deployment.errors import ParityError
from mbrl_control.deployment.graph_names import ACTIONS
from mbrl_control.deployment.particles import Particles
from mbrl_control.deployment.rollout_graph import RolloutGraph
from mbrl_control.deployment.session import Float32, Session, worst_difference
from mbrl_control.planning.protocol import MOST_OBSTACLES
from mbrl_control.rewards.names import term_names
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, CommandInterface

TOLERANCE = 1e-5
ROUNDING = 4.0
SEQUENCES = 8
"""Of every case."""
PARTICLE_CASE, OBSTACLE_COUNT = Particles(2, noise=True, shuffle=True), 3
"""Of every case of the graph that has them."""
_RANDOM = 6
_TRUST = 0.05
"""rad/s: some sequences of the cases are cut, some are not."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A torch graph and its ONNX bytes."""

    graph: nn.Module
    content: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sizes: dict[str, int]
    """Of the open axes, in the cases."""
    case: Callable[[dict[str, Float32]], dict[str, Float32]]
    """From a case of the rollout."""

    def session(self, name: str) -> Session:
        """Opened for the cases."""
        return Session(self.content, name, self.sizes)


def check_parity(
    exported: dict[str, Exported], rollout: RolloutGraph, arm: Arm, generator: np.random.Generator
) -> dict[str, float]:
    """Compare all graphs; largest max |a - b| / max(1, max |b|) of each; ParityError names the output that differs."""
    cases = rollout_cases(arm, rollout, generator)
    return {name: _worst(name, each, cases) for name, each in exported.items()}


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


def step_case(members: int, case: dict[str, Float32]) -> dict[str, Float32]:
    """The first step of a rollout case for the one-step graph."""
    return {"state": np.tile(case["state"], (members, 1, 1)), "action": case[ACTIONS][:1, 0]}


def full_case(members: int, arm: Arm, case: dict[str, Float32]) -> dict[str, Float32]:
    """The same sequences with particles that change members, and obstacles about the base."""
    scenario = PARTICLE_CASE.scenario(case[ACTIONS].shape[1], members, arm.joints)
    named = case | _further(arm, case, OBSTACLE_COUNT) | scenario
    return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in named.items()}


def gradient_case(arm: Arm, case: dict[str, Float32]) -> dict[str, Float32]:
    """The first sequence of a rollout case."""
    return case | _further(arm, case, MOST_OBSTACLES) | {ACTIONS: case[ACTIONS][:1]}


def jacobian_case(arm: Arm, case: dict[str, Float32]) -> dict[str, Float32]:
    """The first sequence of a rollout case, with its first state at every step."""
    states = np.tile(case["state"], (case[ACTIONS].shape[1], 1))
    return case | _further(arm, case, MOST_OBSTACLES) | {"state": states, ACTIONS: case[ACTIONS][0]}


def _further(arm: Arm, case: dict[str, Float32], obstacles: int) -> dict[str, Float32]:
    """What the graphs of an extended bundle take besides."""
    return {
        "weights": np.ones(len(term_names(arm, extended=True)), np.float32),
        "trust": np.full(case[ACTIONS].shape[1], _TRUST, np.float32),
        "obstacles": _obstacles(obstacles),
    }


def _obstacles(count: int) -> Float32:
    """Pillars around the base, [N, 7]."""
    angle = 2.0 * np.pi * np.arange(count) / count
    x, y = 0.4 * np.cos(angle), 0.4 * np.sin(angle)
    nothing = np.zeros(count)
    return np.stack([x, y, nothing, x, y, nothing + 0.6, nothing + 0.1], axis=1).astype(np.float32)


def torch_outputs(
    graph: nn.Module, case: dict[str, Float32], inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> dict[str, Float32]:
    """Named outputs of the torch graph."""
    kind = next(graph.buffers()).dtype
    with torch.no_grad():
        values = graph(*(torch.from_numpy(case[name]).to(kind) for name in inputs))
    return {name: value.numpy() for name, value in zip(outputs, values, strict=True)}


def _worst(file: str, exported: Exported, cases: list[dict[str, Float32]]) -> float:
    worst, exact, session = 0.0, copy.deepcopy(exported.graph).double(), exported.session(file)
    for index, rollout in enumerate(cases):
        case = exported.case(rollout)
        truth, rounded = (
            torch_outputs(graph, case, exported.inputs, exported.outputs) for graph in (exact, exported.graph)
        )
        deployed = session.run({name: case[name] for name in exported.inputs})
        for name in exported.outputs:
            _, value = worst_difference(deployed, truth, (name,))
            _, rounding = worst_difference(rounded, truth, (name,))
            allowed = max(TOLERANCE, ROUNDING * rounding)
            if not value <= allowed:
                raise ParityError(
                    f"{file}: {name}: differs by {value:.2e} in case {index}, allowed {allowed:.1e}; keep the old"
                )
            worst = max(worst, value)
    return worst
