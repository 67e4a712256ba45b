"""Measured effort on the side of the command: without the gravity torque that the drives add themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm
from mbrl_control.signals import CommandInterface, Transitions


def on_command_side(rows: Transitions, arm: Arm) -> Transitions:
    """Rows of an arm commanded by torques, their ``next_effort`` comparable with the action; others as they are."""
    mode = arm.effort_mode
    if arm.interface is not CommandInterface.EFFORT or mode is None or not mode.gravity_compensated:
        return rows
    middle = 0.5 * (rows.position + rows.next_position)
    _, weight = RigidBody(arm, gravity=True).terms(middle, np.zeros_like(middle))
    return replace(rows, next_effort=rows.next_effort - weight)
