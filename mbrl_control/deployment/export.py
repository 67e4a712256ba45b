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

from mbrl_control.deployment.graph_names import ROLLOUT_INPUTS, ROLLOUT_OUTPUTS, STEP_INPUTS, STEP_OUTPUTS
from mbrl_control.deployment.rollout_graph import RolloutGraph, StepGraph

_OPSET = 20


def rollout_inputs(graph: RolloutGraph) -> tuple[torch.Tensor, ...]:
    """Zeros of the shapes of `ROLLOUT_INPUTS`."""
    joints = graph.shape.joints
    shapes = (
        (graph.shape.state,),
        (graph.graph.batch, graph.graph.horizon, joints),
        (graph.graph.horizon, 3),
        (graph.graph.horizon, joints),
        (len(graph.term_names),),
    )
    return tuple(torch.zeros(shape) for shape in shapes)


def step_inputs(graph: StepGraph) -> tuple[torch.Tensor, ...]:
    """Zeros of the shapes of `STEP_INPUTS`."""
    return torch.zeros(graph.shape.members, 1, graph.shape.state), torch.zeros(1, graph.shape.joints)


def export_rollout(graph: RolloutGraph) -> bytes:
    """`rollout.onnx`."""
    return _export(graph, rollout_inputs(graph), ROLLOUT_INPUTS, ROLLOUT_OUTPUTS)


def export_step(graph: StepGraph) -> bytes:
    """`model.onnx`."""
    return _export(graph, step_inputs(graph), STEP_INPUTS, STEP_OUTPUTS)


def _export(
    graph: nn.Module, inputs: tuple[torch.Tensor, ...], input_names: tuple[str, ...], output_names: tuple[str, ...]
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
            opset_version=_OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(file.getvalue())
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content
