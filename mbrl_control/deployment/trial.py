"""A bundle's trial: a child process with little memory and time opens every graph and repeats its golden case.

The format's parser and the runtime see the bytes there first. Whatever those bytes break or ask for is the child's:
it is refused, ended by its limits or killed, and the process that goes on has touched none of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from mbrl_control.deployment.check import CheckedBundle
from mbrl_control.deployment.errors import BundleError

_CHILD = "mbrl_control.deployment.trial_child"
_PACKAGES = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """What a child may take; many times what the largest honest bundle does."""

    memory_mib: int = 384
    """Beyond what it has before it sees the bundle."""
    cpu_s: int = 60
    wall_s: float = 120.0


class TrialResult(BaseModel):
    """What the child said."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    refused: str
    """Why, from the file on; empty when it passed."""
    cpu_s: FiniteFloat
    """Of the whole child, its start included."""
    memory_mib: FiniteFloat
    """Resident memory that the bundle took, at most, beyond the child's own."""


def try_bundle(bundle: CheckedBundle, limits: TrialLimits | None = None) -> TrialResult:
    """Let a child open the checked bytes; BundleError with its reason, or with how it ended. Takes seconds."""
    limits = limits or TrialLimits()
    command = [sys.executable, "-P", "-m", _CHILD, str(limits.memory_mib), str(limits.cpu_s)]
    try:
        ended = subprocess.run(
            command, input=packed(bundle), capture_output=True, timeout=limits.wall_s, cwd="/", env=_environment()
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError(
            f"{bundle.path}: trial: took longer than {limits.wall_s:g} s and was killed; export the bundle again"
        ) from error
    try:
        result = TrialResult.model_validate_json(ended.stdout)
    except ValidationError as error:
        raise BundleError(f"{bundle.path}: trial: {_ending(ended, limits)}; export the bundle again") from error
    if result.refused:
        raise BundleError(f"{bundle.path}: trial: {result.refused}")
    return result


def packed(bundle: CheckedBundle) -> bytes:
    """One line that names the folder and each file's length, then the files."""
    sizes = {name: len(data) for name, data in bundle.content.items()}
    head = json.dumps({"path": str(bundle.path), "sizes": sizes}).encode()
    return b"".join([head, b"\n", *bundle.content.values()])


def _environment() -> dict[str, str]:
    """The child imports what this process does, wherever it was started."""
    path = os.pathsep.join(filter(None, [str(_PACKAGES), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _ending(ended: subprocess.CompletedProcess[bytes], limits: TrialLimits) -> str:
    """How a child went that said nothing."""
    if ended.returncode == -signal.SIGXCPU:
        return f"needed more than {limits.cpu_s} s of processor time"
    last = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
    how = f"signal {signal.Signals(-ended.returncode).name}" if ended.returncode < 0 else f"status {ended.returncode}"
    return f"its process ended by {how}, within {limits.memory_mib} MiB ({last[0] if last else 'it said nothing'})"
