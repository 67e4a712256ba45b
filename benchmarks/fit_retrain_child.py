"""A whole `retrain` of a log: ``python -m benchmarks.fit_retrain_child LOG SEED HOME`` ends with a line of JSON.

A few epochs: memory does not depend on their number. The gate, the export and the trial are the real ones; keys and
registry lie in HOME.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.memory_watch import watched
from mbrl_control.cli.locations import arm_file
from mbrl_control.deployment.bundle import prior_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.replay.transitions import history_of
from mbrl_control.retrain import RetrainConfig, retrain, run_in_background
from mbrl_control.robot import load_arm

_EPOCHS = 8


def measure(log: Path, seed: int, home: Path) -> dict[str, object]:
    """Bytes above those before the log was opened; anonymous ones by stage, too."""
    run_in_background()
    arm, now_ns = load_arm(arm_file("panda")), time.time_ns()
    registry = Registry(home / "models", arm.model_name)
    prior = prior_bundle(arm, registry, 0.02, arm.command_delay_s, history_of(arm), now_ns)
    registry.activate(int(prior.name))
    settings = replace(FitSettings.deployed(arm.interface), epochs=_EPOCHS, max_seconds=math.inf)
    config = RetrainConfig((log,), home / "models", arm, now_ns, seed=seed, fit=settings)
    with watched() as held:

        def stage(name: str, share: float) -> None:
            held.stage = name

        result = retrain(config, stage)
    return {"rows": result.rows, "anonymous_bytes": held.anonymous, "stages": held.by_stage}


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
