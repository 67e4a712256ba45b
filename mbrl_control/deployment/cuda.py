"""Rollouts on a GPU: ONNX Runtime's CUDA provider, recorded once as a CUDA graph and replayed on arrays that stay.

A population is a few hundred small operations: launched one by one they cost more than they compute; a CUDA graph
launches them at once. It wants fixed addresses, so inputs and outputs live on the device and are copied in and out.
ONNX Runtime keeps a recording with the thread that made it (`CUDAExecutionProvider::PerThreadContext`): a model is
loaded in another thread than it plans in, so each has a thread of its own that records and replays.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.quiet_runtime import failure_named, ort
from mbrl_control.scheduling import as_urgent_as_the_process

PROVIDER = "CUDAExecutionProvider"
_DEVICE = "cuda"
_OPTIONS = {"enable_cuda_graph": "1", "use_tf32": "0"}
"""Ten bits of mantissa, as TF32 has, would not meet the golden outputs of a bundle."""


def cuda_listed() -> bool:
    """Whether this ONNX Runtime was built with CUDA; whether it works here, only a session tells."""
    return PROVIDER in ort.get_available_providers()


def require_cuda(place: str) -> tuple[str, dict[str, str]]:
    """The provider with its options; BundleError where this ONNX Runtime has none."""
    if not cuda_listed():
        raise BundleError(f"{place}: this onnxruntime has no CUDA; `make setup GPU=1`, or run on the processor")
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA and cuDNN from their own wheels, which lie outside the loader's path
    return PROVIDER, _OPTIONS


class CudaBound:
    """See `session.Bound`."""

    def __init__(
        self, session: Any, inputs: dict[str, NDArray[np.float32]], outputs: dict[str, NDArray[np.float32]]
    ) -> None:
        if PROVIDER not in session.get_providers():
            raise BundleError("onnxruntime could not use CUDA and took the processor; see `mbrl-control doctor`")
        self._thread = ThreadPoolExecutor(1, "rollout-cuda", as_urgent_as_the_process)
        self._session, self._inputs, self._outputs = session, inputs, outputs
        self._binding = session.io_binding()
        self._there = {name: ort.OrtValue.ortvalue_from_numpy(array, _DEVICE, 0) for name, array in inputs.items()}
        self._back = {
            name: ort.OrtValue.ortvalue_from_shape_and_type(array.shape, np.float32, _DEVICE, 0)
            for name, array in outputs.items()
        }
        for name, value in self._there.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in self._back.items():
            self._binding.bind_ortvalue_output(name, value)

    def run(self) -> None:
        """See Bound; the first calls record."""
        with failure_named():
            self._thread.submit(self._run).result()

    def compute(self) -> None:
        """See Bound."""
        with failure_named():
            self._thread.submit(self._session.run_with_iobinding, self._binding).result()

    def _run(self) -> None:
        for name, array in self._inputs.items():
            self._there[name].update_inplace(array)
        self._session.run_with_iobinding(self._binding)
        for name, array in self._outputs.items():
            np.copyto(array, self._back[name].numpy())
