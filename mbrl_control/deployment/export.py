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

from mbrl_control.deployment.graph_names import (
    BATCH,
    ROLLOUT_BATCH_AXES,
    ROLLOUT_INPUTS,
    ROLLOUT_OUTPUTS,
    STEP_INPUTS,
    STEP_OUTPUTS,
)
from mbrl_control.deployment.rollout_graph import RolloutGraph
from mbrl_control.deployment.step_graph import StepGraph

_OPSET = 20
_TRACED = 3
"""Sequences of the traced example: unlike any other size, so that none is taken for another."""


def rollout_inputs(graph: RolloutGraph, batch: int) -> tuple[torch.Tensor, ...]:
    """Zeros of the shapes of `ROLLOUT_INPUTS` for ``batch`` sequences."""
    joints = graph.shape.joints
    shapes = (
        (graph.shape.state,),
        (batch, graph.graph.horizon, joints),
        (graph.graph.horizon, 3),
        (graph.graph.horizon, joints),
        (len(graph.term_names),),
    )
    return tuple(torch.zeros(shape) for shape in shapes)


def step_inputs(graph: StepGraph) -> tuple[torch.Tensor, ...]:
    """Zeros of the shapes of `STEP_INPUTS`."""
    return torch.zeros(graph.shape.members, 1, graph.shape.state), torch.zeros(1, graph.shape.joints)


def export_rollout(graph: RolloutGraph) -> bytes:
    """`rollout.onnx`, its number of sequences open under the name `BATCH`."""
    batch = {"actions": {0: BATCH}} | {name: {axis: BATCH} for name, axis in ROLLOUT_BATCH_AXES.items()}
    return export_graph(graph, rollout_inputs(graph, _TRACED), ROLLOUT_INPUTS, ROLLOUT_OUTPUTS, batch)


def export_step(graph: StepGraph) -> bytes:
    """`model.onnx`."""
    return export_graph(graph, step_inputs(graph), STEP_INPUTS, STEP_OUTPUTS, {})


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
