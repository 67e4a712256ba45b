"""Buffer and fit together: ``python -m benchmarks.fit_memory_child ROWS SEED HOME`` ends with a line of JSON.

The rows of `bench replay_memory`, appended to a buffer in a folder and learned from as they lie there, in one process;
one epoch of small networks, so that what counts is the rows.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import torch

from benchmarks.memory_watch import watched
from benchmarks.replay_memory_child import JOINTS, SPEC, blocks
from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.learning.fit_ensemble import FitSettings, fit
from mbrl_control.replay.arm_rows import arm_steps, arm_transitions
from mbrl_control.replay.home import create_buffer
from mbrl_control.replay.provenance import Provenance, Source

SETTINGS = FitSettings(width=8, depth=1, epochs=1, batch_size=8192, max_seconds=math.inf)


def measure(rows: int, seed: int, home: Path) -> dict[str, float]:
    """Bytes above those before the first row."""
    with watched() as held, create_buffer(home / "buffer", SPEC) as buffer:
        for block in blocks(rows, seed):
            buffer.append(arm_steps(block, (Provenance(Source.REAL, "excitation"),), first_episode=buffer.next_episode))
        seen = arm_transitions(buffer.view(buffer.first, len(buffer)))
        fit(seen, NominalPrior(0.02, (0.05,) * JOINTS), torch.Generator().manual_seed(seed), SETTINGS)
    return {"rows": rows, "anonymous_bytes": held.anonymous, "mapped_bytes": held.mapped}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
