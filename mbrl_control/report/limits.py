"""Limit violations: position and speed in the simulator's truth, acceleration and jerk of the applied commands."""

from __future__ import annotations

import numpy as np

from mbrl_control.report.run_data import Ticks
from mbrl_control.robot import Arm
from mbrl_control.signals import OperatorState
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
    acceleration = np.diff(ticks.applied, axis=0) / period_s
    jerk = np.diff(acceleration, axis=0) / period_s
    # Across a missed tick the command may change by two steps' worth: only neighbours are compared.
    neighbours = (np.diff(ticks.index) == 1) & ticks.drives_enabled[1:] & ticks.drives_enabled[:-1]
    over_acceleration = (np.abs(acceleration) > COMMAND_TOLERANCE * arm.acceleration).any(axis=1) & neighbours
    triples = neighbours[1:] & neighbours[:-1]
    over_jerk = (np.abs(jerk) > COMMAND_TOLERANCE * arm.jerk).any(axis=1) & triples
    counts = {
        "position": beyond.any(axis=1),
        "velocity": fast.any(axis=1),
        "acceleration": over_acceleration,
        "jerk": over_jerk,
    }
    return {kind: int(rows.sum()) for kind, rows in counts.items()}


def protective_stops(ticks: Ticks) -> int:
    """Entries of the guard into PROTECTIVE_STOP."""
    stopped = ticks.state == OperatorState.PROTECTIVE_STOP
    return int((stopped[1:] & ~stopped[:-1]).sum()) + int(stopped[0])
