"""What a fit takes beside its rows: ``python -m benchmarks.fit_memory_child ROWS SEED HOME`` ends with a line of JSON.

The rows of `bench replay_memory`, in a buffer that is mapped from a file; one epoch of small networks, so that what
counts is the rows. Anonymous memory alone: pages of the file the kernel takes back when others need them.
"""

from __future__ import annotations

import gc
import json
import math
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.replay_memory_child import JOINTS, SPEC, blocks, status
from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.learning.fit_ensemble import FitSettings, fit
from mbrl_control.replay.arm_rows import arm_steps, arm_transitions
from mbrl_control.replay.home import create_buffer
from mbrl_control.replay.provenance import Provenance, Source

SETTINGS = FitSettings(width=8, depth=1, epochs=1, batch_size=8192, max_seconds=math.inf)
_PERIOD_S = 0.02


def measure(rows: int, seed: int, home: Path) -> dict[str, float]:
    """Most anonymous memory above that before the fit, bytes."""
    with create_buffer(home / "buffer", SPEC) as buffer:
        for block in blocks(rows, seed):
            buffer.append(arm_steps(block, (Provenance(Source.REAL, "excitation"),), first_episode=buffer.next_episode))
        seen = arm_transitions(buffer.view(buffer.first, len(buffer)))
        gc.collect()
        before = status("RssAnon")
        with _most_anonymous() as most:
            fit(seen, NominalPrior(0.02, (0.05,) * JOINTS), torch.Generator().manual_seed(seed), SETTINGS)
    return {"rows": rows, "anonymous_bytes": most[0] - before}


@contextmanager
def _most_anonymous() -> Iterator[list[int]]:
    """Filled when it ends; the kernel keeps no mark of that."""
    most, over = [status("RssAnon")], threading.Event()

    def watch() -> None:
        while not over.wait(_PERIOD_S):
            most[0] = max(most[0], status("RssAnon"))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
