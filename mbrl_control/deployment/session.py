"""One ONNX Runtime session as every control process opens it. NumPy and onnxruntime only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mbrl_control.deployment.cuda import CudaBound, require_cuda
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.quiet_runtime import failure_named, ort

Float32 = NDArray[np.float32]
_KEPT_APART = ["GatherSliceToSplitFusion"]
"""Optimizers that are off: this one turns one cheap operation into two for every member and step."""


@dataclass(frozen=True, slots=True)
class Threads:
    """Of one session."""

    count: int = 1
    spinning: bool = False
    """Wait busily between operations."""


class Bound(Protocol):
    """A session with its arrays. They must stay where they are: they are held here, too."""

    def run(self) -> None:
        """Compute the outputs from what the inputs hold; ModelFailed where the runtime could not."""
        ...

    def compute(self) -> None:
        """The same where the session computes: of a GPU, without the copies there and back."""
        ...


class Session:
    """Runs checked bytes with shapes that are fixed and known; by default on one thread that sleeps between calls."""

    def __init__(
        self,
        content: bytes,
        place: str,
        sizes: Mapping[str, int] | None = None,
        threads: Threads | None = None,
        cuda: bool = False,
    ) -> None:
        """``sizes``: of the axes that the graph leaves open, by their names. ``cuda``: all of it on the first GPU, to
        be called through `bind`. BundleError where that cannot be had."""
        self._cuda = cuda
        self._session = _open(content, place, sizes or {}, threads or Threads(), cuda)
        self.inputs = {node.name: tuple(node.shape) for node in self._session.get_inputs()}
        self.output_shapes = {node.name: tuple(node.shape) for node in self._session.get_outputs()}
        self.outputs = tuple(self.output_shapes)

    def run(self, values: Mapping[str, NDArray[np.floating]]) -> dict[str, Float32]:
        """Named arrays of the fixed shapes -> named outputs; ValueError on another shape, ModelFailed where the runtime
        could not."""
        feed = {name: _checked(name, values[name], shape) for name, shape in self.inputs.items()}
        with failure_named():
            return dict(zip(self.outputs, self._session.run(None, feed), strict=True))

    def bind(self, inputs: dict[str, Float32], outputs: dict[str, Float32]) -> Bound:
        """A call that reads and writes these arrays in place and, on the processor, allocates nothing."""
        return (CudaBound if self._cuda else _CpuBound)(self._session, inputs, outputs)


class Resident:
    """A session of the processor with arrays of its own, which every call overwrites; for one thread at a time."""

    def __init__(self, session: Session, place: str) -> None:
        """BundleError where the graph leaves a size open."""
        self.inputs, self.outputs = session.inputs, session.outputs
        self._given = {name: _fixed(name, shape, place) for name, shape in session.inputs.items()}
        self._found = {name: _fixed(name, shape, place) for name, shape in session.output_shapes.items()}
        self._bound = session.bind(self._given, self._found)

    def run(self, values: Mapping[str, NDArray[np.floating]]) -> dict[str, Float32]:
        """As `Session.run`, without what that allocates: the next call overwrites the outputs, keep copies."""
        for name, array in self._given.items():
            if values[name].shape != array.shape:
                raise ValueError(f"{name}: shape {values[name].shape}, the model takes {array.shape}")
            np.copyto(array, values[name], casting="same_kind")
        self._bound.run()
        return self._found


def _fixed(name: str, shape: tuple[int, ...], place: str) -> Float32:
    # What a graph leaves open, ONNX Runtime gives as a name or None.
    if not all(isinstance(size, int) for size in shape):
        raise BundleError(f"{place}: {name}: shape {shape} has an open axis; export again")
    return np.zeros(shape, np.float32)


class _CpuBound:
    """See Bound."""

    def __init__(self, session: Any, inputs: dict[str, Float32], outputs: dict[str, Float32]) -> None:
        self._session, self._arrays = session, (inputs, outputs)
        self._binding = session.io_binding()
        for name, array in inputs.items():
            self._binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            self._binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)

    def run(self) -> None:
        """See Bound."""
        with failure_named():
            self._session.run_with_iobinding(self._binding)

    def compute(self) -> None:
        """See Bound."""
        self.run()


def _checked(name: str, value: NDArray[np.floating], shape: tuple[int, ...]) -> Float32:
    """The array as the graphs take it; ValueError on another shape."""
    if value.shape != shape:
        raise ValueError(f"{name}: shape {value.shape}, the model takes {shape}")
    return np.ascontiguousarray(value, dtype=np.float32)


def worst_difference(
    left: Mapping[str, NDArray[np.floating]], right: Mapping[str, NDArray[np.floating]], outputs: tuple[str, ...]
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


def _open(content: bytes, place: str, sizes: Mapping[str, int], threads: Threads, cuda: bool) -> Any:
    providers: list[Any] = [require_cuda(place)] if cuda else ["CPUExecutionProvider"]
    options = ort.SessionOptions()
    for axis, size in sizes.items():
        options.add_free_dimension_override_by_name(axis, size)
    options.intra_op_num_threads = threads.count
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if threads.spinning else "0")
    if cuda:  # an operation left to the processor would break the recording, and be slow
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        return ort.InferenceSession(content, options, providers=providers, disabled_optimizers=_KEPT_APART)
    except Exception as error:  # onnxruntime raises classes of its C module without a common base
        raise BundleError(f"{place}: onnxruntime refuses it ({error}); export again") from error
