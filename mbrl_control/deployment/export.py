"""Torch graphs -> ONNX bytes.

The TorchScript exporter is used on purpose: on this unrolled graph it takes about a second where the
torch.export-based one takes ten, and a retraining has seconds. Parity against torch is checked on every
export, so a fault of the exporter cannot reach a bundle.
"""

from __future__ import annotations

import io
import warnings

import onnx
import torch
from torch import nn
from torch.jit._trace import TracerWarning

from mbrl_control.deployment.differentiate import written_out
from mbrl_control.deployment.full_graph import FullRolloutGraph
from mbrl_control.deployment.gradient_graph import GradientGraph
from mbrl_control.deployment.graph_names import (
    ACTIONS,
    BATCH,
    FULL_INPUTS,
    GRADIENT_INPUTS,
    GRADIENT_OUTPUTS,
    JACOBIAN_INPUTS,
    JACOBIAN_OUTPUTS,
    OBSTACLES,
    PARTICLES,
    ROLLOUT_BATCH_AXES,
    ROLLOUT_INPUTS,
    ROLLOUT_OUTPUTS,
    SCENARIOS,
    STEP_INPUTS,
    STEP_OUTPUTS,
)
from mbrl_control.deployment.jacobian_graph import JacobianGraph
from mbrl_control.deployment.rollout_graph import RolloutGraph, ScoredSteps
from mbrl_control.deployment.step_graph import StepGraph
from mbrl_control.planning.protocol import MOST_OBSTACLES

_OPSET = 20
_TRACED = 3
"""Sequences of the traced example: unlike any other size, so that none is taken for another."""
_TRACED_FULL = (_TRACED, 11, 13)
"""Sequences, particles, obstacles."""


def rollout_inputs(graph: ScoredSteps, batch: int) -> tuple[torch.Tensor, ...]:
    """Zeros of the shapes of `ROLLOUT_INPUTS` for ``batch`` sequences."""
    joints, horizon = graph.shape.joints, graph.graph.horizon
    shapes = ((graph.shape.state,), (batch, horizon, joints), *_goal_shapes(graph))
    return tuple(torch.zeros(shape) for shape in shapes)


def full_inputs(graph: FullRolloutGraph, batch: int, particles: int, obstacles: int) -> tuple[torch.Tensor, ...]:
    """Zeros of the shapes of `FULL_INPUTS`."""
    places = (particles, graph.graph.horizon, graph.shape.members)
    shapes = ((graph.graph.horizon,), (obstacles, 7), (*places, 2 * graph.shape.joints), places, places)
    return *rollout_inputs(graph, batch), *(torch.zeros(shape) for shape in shapes), torch.ones(particles)


def gradient_inputs(graph: FullRolloutGraph) -> tuple[torch.Tensor, ...]:
    """Zeros of the shapes of `GRADIENT_INPUTS`."""
    return *rollout_inputs(graph, 1), torch.zeros(graph.graph.horizon), torch.zeros(MOST_OBSTACLES, 7)


def jacobian_inputs(graph: FullRolloutGraph) -> tuple[torch.Tensor, ...]:
    """Zeros of the shapes of `JACOBIAN_INPUTS`."""
    horizon = graph.graph.horizon
    shapes = ((horizon, graph.shape.state), (horizon, graph.shape.joints), *_goal_shapes(graph), (MOST_OBSTACLES, 7))
    return tuple(torch.zeros(shape) for shape in shapes)


def _goal_shapes(graph: ScoredSteps) -> tuple[tuple[int, ...], ...]:
    horizon = graph.graph.horizon
    return (horizon, 3), (horizon, graph.shape.joints), (len(graph.term_names),)


def step_inputs(graph: StepGraph) -> tuple[torch.Tensor, ...]:
    """Zeros of the shapes of `STEP_INPUTS`."""
    return torch.zeros(graph.shape.members, 1, graph.shape.state), torch.zeros(1, graph.shape.joints)


def export_rollout(graph: RolloutGraph) -> bytes:
    """`rollout.onnx`, its number of sequences open under the name `BATCH`."""
    return export_graph(graph, rollout_inputs(graph, _TRACED), ROLLOUT_INPUTS, ROLLOUT_OUTPUTS, _open_batch())


def export_full(graph: FullRolloutGraph) -> bytes:
    """`rollout_full.onnx`, its numbers of sequences, particles and obstacles open."""
    axes = _open_batch() | {"obstacles": {0: OBSTACLES}}
    axes |= {name: {0: PARTICLES} for name in ("noise", "shuffle", "order", "counted")}
    axes["cost"] = {0: SCENARIOS, 1: BATCH}
    return export_graph(graph, full_inputs(graph, *_TRACED_FULL), FULL_INPUTS, ROLLOUT_OUTPUTS, axes)


def export_gradient(graph: GradientGraph) -> bytes:
    """`gradient.onnx`."""
    return export_derivatives(graph, gradient_inputs(graph.rollout), GRADIENT_INPUTS, GRADIENT_OUTPUTS)


def export_jacobian(graph: JacobianGraph) -> bytes:
    """`jacobian.onnx`."""
    return export_derivatives(graph, jacobian_inputs(graph.rollout), JACOBIAN_INPUTS, JACOBIAN_OUTPUTS)


def export_step(graph: StepGraph) -> bytes:
    """`model.onnx`."""
    return export_graph(graph, step_inputs(graph), STEP_INPUTS, STEP_OUTPUTS, {})


def export_derivatives(
    graph: nn.Module, inputs: tuple[torch.Tensor, ...], input_names: tuple[str, ...], output_names: tuple[str, ...]
) -> bytes:
    """A graph that differentiates inside: its operations are written out first, for shapes that are then fixed."""
    return export_graph(written_out(graph, inputs), inputs, input_names, output_names, {})


def _open_batch() -> dict[str, dict[int, str]]:
    return {ACTIONS: {0: BATCH}} | {name: {axis: BATCH} for name, axis in ROLLOUT_BATCH_AXES.items()}


def export_graph(
    graph: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    input_names: tuple[str, ...],
    output_names: tuple[str, ...],
    open_axes: dict[str, dict[int, str]],
) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=TracerWarning)
        torch.onnx.export(
            graph.eval(),
            inputs,
            file,  # type: ignore[arg-type]  # the TorchScript exporter writes to streams too
            input_names=list(input_names),
            output_names=list(output_names),
            dynamic_axes=open_axes,
            opset_version=_OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(file.getvalue())
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content
