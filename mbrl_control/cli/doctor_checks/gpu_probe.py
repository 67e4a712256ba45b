"""Child of the doctor: uses the GPU for real, once through torch, once through ONNX Runtime; a JSON line for each.

``python -m ... torch`` or ``python -m ... onnx``: two processes, as a driver may hang or crash in one of them.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np

SIZE = 64
GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider")


def main() -> None:
    """Print what was found."""
    # TF32 would round to 10 bits of mantissa: the comparison with the processor would say nothing.
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    {"torch": use_torch, "onnx": use_onnx}[sys.argv[1]]()


def use_torch() -> None:
    """A matrix product on the GPU against the same on the processor."""
    import torch

    report: dict[str, Any] = {
        "build": torch.version.cuda or torch.version.hip,
        "available": torch.cuda.is_available(),
    }
    if report["available"]:
        left, right = (torch.from_numpy(matrix) for matrix in matrices())
        product = (left.cuda() @ right.cuda()).cpu()
        report["device"] = torch.cuda.get_device_name(0)
        report["difference"] = float((product - left @ right).abs().max())
    print(json.dumps(report), flush=True)


def use_onnx() -> None:
    """For every GPU provider that the package lists: a session, what it really uses, one run against the processor."""
    from mbrl_control.deployment.quiet_runtime import ort

    listed = [name for name in ort.get_available_providers() if name in GPU_PROVIDERS]
    print(json.dumps({"listed": listed}), flush=True)
    if not listed:
        return
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA and cuDNN from their own wheels, which lie outside the loader's path
    graph, (left, right) = product_graph(), matrices()
    for provider in listed:
        # Named before it is used: one that kills the process is the last line.
        print(json.dumps({"provider": provider}), flush=True)
        session = ort.InferenceSession(graph, providers=[provider, "CPUExecutionProvider"])
        (product,) = session.run(None, {"left": left})
        report = {"provider": provider, "used": session.get_providers()}
        report["difference"] = float(np.abs(product - left @ right).max())
        print(json.dumps(report), flush=True)


def matrices() -> tuple[np.ndarray, np.ndarray]:
    """Two [SIZE, SIZE] float32 ones; the largest elements of the product are about 0.5, none is above 1."""
    index = np.arange(SIZE)
    left = (np.cos(1.0 + np.outer(index, index) * 0.7 + index) / np.sqrt(SIZE)).astype(np.float32)
    return left, np.ascontiguousarray(left.T)


def product_graph() -> bytes:
    """ONNX model: product = left @ (a constant)."""
    from onnx import TensorProto, helper, numpy_helper

    shape = (SIZE, SIZE)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["left", "right"], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("product", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(matrices()[1], "right")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
