"""Whatever may hang, crash or change this process runs in a child with a time limit."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended and what it said."""

    failure: str | None
    """Its last error line, or that it took too long; None when it ended well."""
    output: str = ""
    """Standard output, what came before a failure too."""

    @property
    def told(self) -> tuple[dict[str, Any], ...]:
        """The JSON objects in the output, one a line; libraries may print other lines between them."""
        found = []
        for line in self.output.splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                value = json.loads(line)
                if isinstance(value, dict):
                    found.append(value)
        return tuple(found)


def run_code(code: str, limit_s: float) -> Ended:
    """Python source in a fresh interpreter."""
    return run_child([sys.executable, "-c", code], limit_s)


def run_module(name: str, *arguments: str, limit_s: float, environment: Mapping[str, str] | None = None) -> Ended:
    """A module of this project as a fresh process; ``environment`` None: this process's own."""
    return run_child([sys.executable, "-m", name, *arguments], limit_s, environment)


def run_child(command: Sequence[str], limit_s: float, environment: Mapping[str, str] | None = None) -> Ended:
    """Run ``command``, at most ``limit_s`` seconds; one that cannot even be killed is left behind."""
    try:
        child = subprocess.Popen(
            list(command),
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        return Ended(f"{command[0]}: {error.strerror}")
    try:
        output, errors = child.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        child.kill()
        output = ""
        # A process in a driver's uninterruptible call does not end even now.
        with contextlib.suppress(subprocess.TimeoutExpired):
            output, _ = child.communicate(timeout=1.0)
        return Ended(f"no answer within {limit_s:.0f} s", output)
    return Ended(_failure(child.returncode, errors), output)


def _failure(status: int, errors: str) -> str | None:
    if status == 0:
        return None
    lines = errors.strip().splitlines()
    if lines and status > 0:
        return lines[-1]
    return f"exit status {status}" if status > 0 else f"ended by signal {-status}"
