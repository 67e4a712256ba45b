"""What the process of a trial does with a bundle's bytes: open every graph, and say on one line how that went."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from mbrl_control.deployment.check import MANIFEST, CheckedBundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.evaluator import DeployedModel, Opening
from mbrl_control.deployment.manifest import Manifest
from mbrl_control.deployment.operators import check_operators


def run(stream: BinaryIO, memory_mib: int, taken_mib: Callable[[], float]) -> None:
    """Print `trial.TrialResult` of the bundle on ``stream``; whatever its bytes raise is a reason to refuse it."""
    refused = ""
    try:
        open_everything(received(stream))
    except BundleError as error:
        refused = str(error)
    except MemoryError:
        refused = f"asks for more than {memory_mib} MiB; export the bundle again"
    except Exception as error:  # untrusted bytes: whatever they break is a reason to refuse them
        refused = f"{type(error).__name__}: {error}; export the bundle again"
    print(json.dumps({"refused": refused, "cpu_s": time.process_time(), "memory_mib": taken_mib()}))


def open_everything(bundle: CheckedBundle) -> None:
    """Every graph: its operations are known, it opens, and meets its golden case; BundleError with the reason."""
    for name, content in bundle.content.items():
        if name.endswith(".onnx"):
            check_operators(content, str(bundle.path / name))
    DeployedModel(bundle)
    if bundle.manifest.extended:
        DeployedModel(bundle, Opening(derivatives=True))


def received(stream: BinaryIO) -> CheckedBundle:
    """What `trial.packed` wrote."""
    head = json.loads(stream.readline())
    content = {name: stream.read(size) for name, size in head["sizes"].items()}
    raw = content[MANIFEST]
    manifest = Manifest.model_validate_json(raw)
    return CheckedBundle(Path(head["path"]), manifest, hashlib.sha256(raw).hexdigest(), content, "")
