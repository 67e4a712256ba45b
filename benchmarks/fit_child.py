"""What every contestant of `bench fit` does: an epoch of training as often as it is told, and how long it took.

Imports nothing but the standard library: it also runs in the environment of the peers.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import IO


def serve(epoch: Callable[[], int], held_nll: Callable[[], float], said: IO[str], facts: dict[str, object]) -> None:
    """``epoch()`` -> gradient steps; lines of ``{"nll": ...}`` to ``said``, one per line of input, until it ends."""
    print(json.dumps({**facts, "nll": held_nll()}), file=said, flush=True)
    for _ in sys.stdin:
        wall, processor = time.perf_counter(), time.process_time()
        steps = epoch()
        taken = {"seconds": time.perf_counter() - wall, "cpu_s": time.process_time() - processor, "steps": steps}
        print(json.dumps({**taken, "nll": held_nll()}), file=said, flush=True)
