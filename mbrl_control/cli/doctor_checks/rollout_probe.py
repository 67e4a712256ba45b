"""Child of the doctor: which layout a planner chooses here for a shipped model. Prints one JSON line."""

from __future__ import annotations

import json

from mbrl_control.cadence import SteadyClock
from mbrl_control.cli.locations import arm_file, shipped_models
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.evaluator import Opening
from mbrl_control.deployment.layout_choice import load_measured
from mbrl_control.deployment.registry import Registry
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.robot import load_arm
from mbrl_control.scheduling import take_placement

ARM = "panda"


def main() -> None:
    """Measure as the planner does at start-up, with its default number of samples."""
    arm, samples = load_arm(arm_file(ARM)), PlannerConfig().samples
    registry = Registry(shipped_models(), arm.model_name)
    version = registry.active()
    if version is None:
        raise BundleError(f"{registry.folder}: no shipped model")
    path = registry.path(version).resolve()
    scheduling = take_placement()
    _, _, choice = load_measured(path, arm, None, Opening(samples), SteadyClock(factor=1.0))
    print(json.dumps({"found": f"{samples} sequences of {ARM}/{version}: {choice} ({scheduling})"}))


if __name__ == "__main__":
    main()
