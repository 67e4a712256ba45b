"""How rollouts are computed here: the planner's own measurement at start-up, and its choice."""

from __future__ import annotations

import os

from mbrl_control.cli.doctor_checks.check import Check
from mbrl_control.cli.doctor_checks.children import Ended, run_module
from mbrl_control.scheduling import Placement, divide_processors

_PRIORITY = 1
"""A planner's layouts, threads and processor are those of any real-time priority; the lowest never keeps one that
moves an arm now from running."""
_PROBE = "mbrl_control.cli.doctor_checks.rollout_probe"
_LIMIT_S = 60.0


def read_rollouts(limit_s: float = _LIMIT_S) -> Ended:
    """What the probe found, placed as the planner is where that is permitted."""
    reserved, _ = divide_processors(tuple(sorted(os.sched_getaffinity(0))))
    environment = dict(os.environ) | Placement(_PRIORITY, reserved).environment()
    return run_module(_PROBE, limit_s=limit_s, environment=environment)


def rollouts_check(ended: Ended) -> Check:
    """The choice and why; a machine on which a shipped model does not run cannot plan."""
    if ended.failure is not None or not ended.told:
        reason = ended.failure or "no answer"
        return Check("rollouts", "fail", f"a shipped model does not run: {reason}", "make setup; make models")
    return Check("rollouts", "info", str(ended.told[-1]["found"]))
