"""Torch models behind the `DynamicsModel` protocol (NumPy in, NumPy out)."""

from __future__ import annotations

import numpy as np
import torch

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.protocol import Prediction
from mbrl_control.signals import Array


class TorchDynamics:
    """A probabilistic ensemble for offline use; float32 inside."""

    def __init__(self, ensemble: ProbabilisticEnsemble) -> None:
        self._ensemble = ensemble.eval()

    @property
    def members(self) -> int:
        return self._ensemble.shape.members

    def predict(self, state: Array, action: Array) -> Prediction:
        """State [E, B, S], action [B, J] rad/s; ValueError on another shape."""
        shape = self._ensemble.shape
        rows = state.shape[1] if state.ndim == 3 else -1
        if state.shape != (shape.members, rows, shape.state) or action.shape != (rows, shape.joints):
            raise ValueError(
                f"state {state.shape} and action {action.shape} do not fit the model: give "
                f"[{shape.members}, B, {shape.state}] and [B, {shape.joints}]"
            )
        with torch.inference_mode():
            outputs = self._ensemble(torch.from_numpy(state).float(), torch.from_numpy(action).float())
        carried, mean, variance = (value.numpy().astype(np.float64) for value in outputs)
        return Prediction(carried, mean, variance)
