"""The process of a trial: `python -m mbrl_control.deployment.trial_child MEMORY_MIB CPU_S`, a bundle on standard input.

One line of JSON on standard output, `trial.TrialResult`; none where a limit or the bytes ended it before. It may write
no file, and runs behind everything else. Not a sandbox: code that the bytes got to run would have the user's rights.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import BinaryIO

from mbrl_control.deployment.check import MANIFEST, CheckedBundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.evaluator import DeployedModel, Opening
from mbrl_control.deployment.manifest import Manifest
from mbrl_control.deployment.operators import check_operators

_MIB = 1 << 20


def main() -> None:
    """Entry point."""
    memory_mib, cpu_s = map(int, sys.argv[1:])
    stand_behind()
    before = _most_resident()
    limit(memory_mib, cpu_s)
    refused = ""
    try:
        open_everything(received(sys.stdin.buffer))
    except BundleError as error:
        refused = str(error)
    except MemoryError:
        refused = f"asks for more than {memory_mib} MiB; export the bundle again"
    except Exception as error:  # untrusted bytes: whatever they break is a reason to refuse them
        refused = f"{type(error).__name__}: {error}; export the bundle again"
    taken = _most_resident() - before
    print(json.dumps({"refused": refused, "cpu_s": time.process_time(), "memory_mib": taken / _MIB}))


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


def stand_behind() -> None:
    """Normal scheduling, whatever the parent's is, at the lowest priority: an arm may be moving beside it."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, 19)


def limit(memory_mib: int, cpu_s: int) -> None:
    """Memory beyond the present, processor time, no files written, no core. Before a byte of the bundle is read."""
    for kind, present in zip((resource.RLIMIT_AS, resource.RLIMIT_DATA), _sizes(), strict=True):
        most = present + memory_mib * _MIB
        resource.setrlimit(kind, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _sizes() -> tuple[int, int]:
    """Bytes of address space, and of private writable memory (proc(5), statm)."""
    pages = [int(field) for field in Path("/proc/self/statm").read_text().split()]
    return pages[0] * resource.getpagesize(), pages[5] * resource.getpagesize()


def _most_resident() -> int:
    """Bytes since this program began; `getrusage` would also count its parent's before it (getrusage(2))."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
