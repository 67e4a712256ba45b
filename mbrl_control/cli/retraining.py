"""A retraining as a child process: whatever becomes of it, its caller goes on, and no half bundle stays behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from mbrl_control.cli.interrupt import uninterrupted
from mbrl_control.cli.spawn import spawn
from mbrl_control.learner.service import Ended

_FIRST_TO_GO = "500"
"""oom_score_adj(5): where memory runs out, it is the training that ends."""
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
_PATIENCE_S = ((signal.SIGINT, 20.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


def run_retraining(arguments: Sequence[str], registry: Path) -> Ended:
    """`mbrl-control retrain` with these arguments, to its end; ``registry``: the robot's folder of bundles.

    KeyboardInterrupt ends it first: in order, and by force where it does not listen.
    """
    drafts = set(_drafts(registry))
    command = [sys.executable, "-m", "mbrl_control.cli.main", "retrain", *arguments]
    with ExitStack() as ending:
        with uninterrupted():
            child = spawn(command, {**os.environ, **_ONE_THREAD}, subprocess.PIPE)
            ending.callback(_end, child, registry, drafts)
            _give_way(child.pid)
        output, error = child.communicate()
    return Ended(child.returncode, output, error)


def _end(child: subprocess.Popen[str], registry: Path, drafts: set[Path]) -> None:
    """In order, or by force; what one that was killed left of a bundle goes, the ``drafts`` of others stay."""
    for number, patience_s in _PATIENCE_S:
        if child.poll() is None:
            child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.communicate(timeout=patience_s)
    if (child.returncode or 0) < 0:
        for draft in set(_drafts(registry)) - drafts:
            shutil.rmtree(draft)


def _give_way(process: int) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended already
        Path(f"/proc/{process}/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")


def _drafts(registry: Path) -> list[Path]:
    return list(registry.glob(".draft-*")) if registry.is_dir() else []
