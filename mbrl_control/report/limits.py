"""Limit violations: position and speed in the simulator's truth, and those of the applied commands.

Of velocities these are acceleration and jerk; of torques, the torque and its rate.
"""

from __future__ import annotations

import numpy as np

from mbrl_control.report.run_data import Ticks
from mbrl_control.robot import Arm
from mbrl_control.signals import CommandInterface, OperatorState
from sim.truth_file import TruthLog

POSITION_TOLERANCE = 1e-3
"""rad"""
SPEED_TOLERANCE = 1.02
COMMAND_TOLERANCE = 1.0 + 1e-6
"""Rounding of differences of float64 commands only."""


def limit_violations(truth: TruthLog, ticks: Ticks, arm: Arm) -> dict[str, int]:
    """Simulator steps and guard ticks beyond a limit of ``arm``, by kind."""
    beyond = (truth.position < arm.lower - POSITION_TOLERANCE) | (truth.position > arm.upper + POSITION_TOLERANCE)
    fast = np.abs(truth.velocity) > SPEED_TOLERANCE * arm.velocity
    period_s = round(float(np.median(np.diff(ticks.stamp_ns))) * 1e-6) * 1e-3
    rate = np.diff(ticks.applied, axis=0) / period_s
    # Across a missed tick the command may change by two steps' worth: only neighbours are compared.
    neighbours = (np.diff(ticks.index) == 1) & ticks.drives_enabled[1:] & ticks.drives_enabled[:-1]
    counts = {"position": beyond.any(axis=1), "velocity": fast.any(axis=1)}
    if arm.interface is CommandInterface.EFFORT:
        counts["effort"] = (np.abs(ticks.applied) > COMMAND_TOLERANCE * arm.effort).any(axis=1)
        counts["effort_rate"] = (np.abs(rate) > COMMAND_TOLERANCE * arm.torque_rate).any(axis=1) & neighbours
    else:
        jerk = np.diff(rate, axis=0) / period_s
        triples = neighbours[1:] & neighbours[:-1]
        counts["acceleration"] = (np.abs(rate) > COMMAND_TOLERANCE * arm.acceleration).any(axis=1) & neighbours
        counts["jerk"] = (np.abs(jerk) > COMMAND_TOLERANCE * arm.jerk).any(axis=1) & triples
    return {kind: int(rows.sum()) for kind, rows in counts.items()}


def protective_stops(ticks: Ticks) -> int:
    """Entries of the guard into PROTECTIVE_STOP."""
    stopped = ticks.state == OperatorState.PROTECTIVE_STOP
    return int((stopped[1:] & ~stopped[:-1]).sum()) + int(stopped[0])
