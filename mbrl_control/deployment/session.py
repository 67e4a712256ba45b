"""One ONNX Runtime session as every control process opens it. NumPy and onnxruntime only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.quiet_runtime import ort

Float32 = NDArray[np.float32]


class Session:
    """Runs checked bytes on one thread that sleeps between calls; shapes are fixed and known."""

    def __init__(self, content: bytes, place: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises classes of its C module without a common base
            raise BundleError(f"{place}: onnxruntime refuses it ({error}); export again") from error
        self.inputs = {node.name: tuple(node.shape) for node in self._session.get_inputs()}
        self.outputs = tuple(node.name for node in self._session.get_outputs())

    def run(self, values: dict[str, NDArray[np.floating]]) -> dict[str, Float32]:
        """Named arrays of the fixed shapes -> named outputs; ValueError on another shape."""
        feed = {}
        for name, shape in self.inputs.items():
            value = np.ascontiguousarray(values[name], dtype=np.float32)
            if value.shape != shape:
                raise ValueError(f"{name}: shape {value.shape}, the model takes {shape}")
            feed[name] = value
        return dict(zip(self.outputs, self._session.run(None, feed), strict=True))


def worst_difference(
    left: dict[str, Float32], right: dict[str, Float32], outputs: tuple[str, ...]
) -> tuple[str, float]:
    """Output with the largest max |a - b| / max(1, max |b|), and that value (inf for non-finite or other shapes).

    Per output tensor, not per element: an element near zero is a difference of float32 terms as large as the
    tensor's largest (torques of 87 N m), whose rounding alone exceeds 1e-5 of one.
    """
    worst = ("", 0.0)
    for name in outputs:
        a, b = left[name].astype(np.float64), right[name].astype(np.float64)
        same = a.shape == b.shape and bool(np.isfinite(a).all() and np.isfinite(b).all())
        value = float(np.max(np.abs(a - b)) / max(1.0, float(np.max(np.abs(b))))) if same else float("inf")
        worst = max(worst, (name, value), key=lambda pair: pair[1])
    return worst
