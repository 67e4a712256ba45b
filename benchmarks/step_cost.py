"""What a step costs where a model is deployed: its `model.onnx` in ONNX Runtime, one thread, one row, every member."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from mbrl_control.deployment.export import export_step, step_inputs
from mbrl_control.deployment.graph_names import STEP_INPUTS, STEP_OUTPUTS
from mbrl_control.deployment.session import Session, worst_difference
from mbrl_control.deployment.step_graph import StepGraph
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble

CALLS, ROUNDS = 200, 10
_PARITY = 1e-4
"""Of the graph with torch, as `worst_difference` has it."""


def deployed_step_us(model: ProbabilisticEnsemble, clock: Callable[[], float] = time.process_time) -> float:
    """us of processor time per step, the fastest of `ROUNDS` of `CALLS`; ``clock`` in seconds.

    RuntimeError where the graph does not compute what the model does.
    """
    graph = StepGraph(model).eval()
    session = Session(export_step(graph), "model.onnx")
    generator = torch.Generator().manual_seed(0)
    drawn = [0.3 * torch.randn(like.shape, generator=generator) for like in step_inputs(graph)]
    drawn[0][:] = drawn[0][:1].clone()  # every member at the same state
    with torch.no_grad():
        wanted = dict(zip(STEP_OUTPUTS, (value.numpy() for value in model(*drawn)), strict=True))
    inputs = dict(zip(STEP_INPUTS, (value.numpy() for value in drawn), strict=True))
    outputs = {name: np.empty(shape, np.float32) for name, shape in session.output_shapes.items()}
    bound = session.bind(inputs, outputs)
    bound.run()
    name, off = worst_difference(outputs, wanted, STEP_OUTPUTS)
    if not off <= _PARITY:
        raise RuntimeError(f"model.onnx: {name} is off by {off:.1e} of what torch computes")
    seconds = []
    for _ in range(ROUNDS):
        began = clock()
        for _ in range(CALLS):
            bound.run()
        seconds.append(clock() - began)
    return 1e6 * min(seconds) / CALLS
