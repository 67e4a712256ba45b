"""Child processes that end with this one."""

from __future__ import annotations

import ctypes
import resource
import signal
import subprocess
from collections.abc import Mapping
from typing import Any

_PR_SET_PDEATHSIG = 1
STACK_BYTES = 2 * 2**20
"""Of each thread of a child: real-time children lock their memory, and a node has some twenty threads."""


def spawn(
    command: list[str], environment: Mapping[str, str], stderr: Any, stdin: int | None = subprocess.DEVNULL
) -> subprocess.Popen[str]:
    """A child in its own session that is told to end when this process dies, however it dies."""
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        # A shell's background job ignores SIGINT, and so would its children: this one could then not be told to end.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, resource.getrlimit(resource.RLIMIT_STACK)[1]))

    return subprocess.Popen(
        command,
        env=dict(environment),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
    )
