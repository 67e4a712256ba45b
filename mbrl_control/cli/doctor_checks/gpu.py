"""ONNX Runtime, and whether a GPU can really be used: listed is not usable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mbrl_control.cli.doctor_checks.check import Check
from mbrl_control.cli.doctor_checks.children import Ended, run_module
from mbrl_control.cli.doctor_checks.extras import GPU_SETUP
from mbrl_control.cli.doctor_checks.installation import pip
from mbrl_control.cli.doctor_checks.ros import SETUP, installed_version

SAME = 1e-5
"""Largest difference of a product whose elements are at most 1, in float32; TF32 would be off by 1e-3."""
LIMIT_S = 25.0
"""Loading CUDA takes seconds, on the first start of a machine more; the rest of the report is made meanwhile."""
_PROBE = "mbrl_control.cli.doctor_checks.gpu_probe"
_DEVICES = ("dev/nvidiactl", "dev/nvgpu", "dev/nvhost-gpu", "dev/dxg", "dev/kfd")
"""NVIDIA's driver, the same on Jetson boards, the one of WSL, AMD's."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """What was found without using it."""

    device: bool
    """A driver has made a device file."""
    cpu_runtime: str | None
    """Version of `onnxruntime`."""
    gpu_runtime: str | None
    """Version of `onnxruntime-gpu`."""
    torch: str | None
    """Version; the CPU build ends in `+cpu`."""


def read_gpu(root: Path = Path("/"), version_of: Callable[[str], str | None] = installed_version) -> Gpu:
    """Device files and packages."""
    device = any((root / name).exists() for name in _DEVICES)
    return Gpu(device, version_of("onnxruntime"), version_of("onnxruntime-gpu"), version_of("torch"))


def try_torch(gpu: Gpu) -> Ended | None:
    """In a child; None where there is nothing to try: no device, or no torch that could use one."""
    usable = gpu.device and gpu.torch is not None and not gpu.torch.endswith("+cpu")
    return run_module(_PROBE, "torch", limit_s=LIMIT_S) if usable else None


def try_onnx(gpu: Gpu) -> Ended | None:
    """In a child; None without the GPU package."""
    return run_module(_PROBE, "onnx", limit_s=LIMIT_S) if gpu.gpu_runtime is not None else None


def runtime_check(gpu: Gpu, failure: str | None) -> Check:
    """Exactly one ONNX Runtime: both packages fill the same folder. ``failure``: of importing it."""
    name, cpu, both = "onnxruntime", gpu.cpu_runtime, "onnxruntime onnxruntime-gpu"
    if cpu and gpu.gpu_runtime:
        remedy = f"they overwrite each other: {pip()} uninstall -y {both}, then `make setup` or `make setup GPU=1`"
        return Check(name, "fail", f"onnxruntime {cpu} and onnxruntime-gpu {gpu.gpu_runtime}", remedy)
    if not (cpu or gpu.gpu_runtime):
        return Check(name, "fail", "not installed; without it: no planner, no export", SETUP)
    found = cpu or f"{gpu.gpu_runtime} (gpu)"
    if failure is not None:
        package = f"onnxruntime=={cpu}" if cpu else f"onnxruntime-gpu=={gpu.gpu_runtime}"
        remedy = f"{pip()} install --force-reinstall --no-deps {package}"
        return Check(name, "fail", f"{found} does not import: {failure}", remedy)
    return Check(name, "ok", found)


def torch_check(gpu: Gpu, tried: Ended | None) -> Check:
    """Training on the GPU."""
    name = "torch GPU"
    if tried is None:
        if gpu.device and gpu.torch is not None:
            return Check(name, "info", f"a GPU is there, torch {gpu.torch} cannot use one", GPU_SETUP)
        return Check(name, "info", "no GPU found: training runs on the processor")
    if tried.failure is not None:
        return Check(name, "warn", tried.failure, "training still runs on the processor; try `nvidia-smi`")
    (told,) = tried.told
    if not told["available"]:
        found = f"a GPU is there, torch (built for {told['build']}) does not see it"
        return Check(name, "warn", found, "does `nvidia-smi` answer, and is the driver new enough for that CUDA?")
    if told["difference"] > SAME:
        found = f"{told['device']}: a product differs from the processor's by {told['difference']:.1e}"
        return Check(name, "warn", found, "train on the processor (CUDA_VISIBLE_DEVICES=) and check driver and GPU")
    return Check(name, "ok", f"{told['device']}, CUDA {told['build']}, computes as the processor does")


def onnx_check(gpu: Gpu, tried: Ended | None) -> Check:
    """Inference on the GPU: a session that silently fell back to the processor is not one."""
    name = "ONNX GPU"
    if tried is None:
        if gpu.device:
            return Check(name, "info", "a GPU is there, onnxruntime is the CPU package", GPU_SETUP)
        return Check(name, "info", "no GPU found: models run on the processor")
    lines = list(tried.told)
    results = {line["provider"]: line for line in lines[1:] if "used" in line}
    usable = [provider for provider, line in results.items() if provider in line["used"] and line["difference"] <= SAME]
    troubles = [_trouble(provider, line) for provider, line in results.items() if provider not in usable]
    if tried.failure is not None:
        where = lines[-1].get("provider", "import") if lines else "import"
        troubles.append(f"{_short(where)}: {tried.failure}")
    if usable:
        found = f"{', '.join(map(_short, usable))} used, computes as the processor does"
        return Check(name, "ok" if not troubles else "info", "; ".join([found, *troubles]))
    if not gpu.device:
        return Check(name, "info", f"no GPU found: onnxruntime-gpu {gpu.gpu_runtime} runs on the processor")
    remedy = "CUDA and cuDNN of the version that onnxruntime-gpu wants are needed; models still run on the processor"
    return Check(name, "warn", "; ".join(troubles) or "onnxruntime-gpu lists no GPU provider", remedy)


def _trouble(provider: str, line: dict[str, object]) -> str:
    if provider not in line["used"]:  # type: ignore[operator]
        return f"{_short(provider)} listed, not usable: the session fell back to the processor"
    return f"{_short(provider)}: a product differs from the processor's by {line['difference']:.1e}"


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")
