"""What every contestant's process does: answer once, then run as often as it is told, and say how long each took.

Imports nothing but the standard library: it also runs in the environment of the peers.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable


def serve(evaluate: Callable[[], object], answer: list[float], facts: dict[str, object]) -> None:
    """Say `facts` and `answer`, then obey lines of ``{"run": n}`` until the input ends."""
    for _ in range(3):
        evaluate()
    print(json.dumps({**facts, "answer": answer}), flush=True)
    for line in sys.stdin:
        wall, processor = [], []
        for _ in range(json.loads(line)["run"]):
            wall_began, processor_began = time.perf_counter(), time.process_time()
            evaluate()
            wall.append((time.perf_counter() - wall_began) * 1e3)
            processor.append((time.process_time() - processor_began) * 1e3)
        print(json.dumps({"ms": wall, "cpu_ms": processor}), flush=True)
