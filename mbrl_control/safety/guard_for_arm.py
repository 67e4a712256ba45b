"""The guard of an arm, in the interface by which it is commanded."""

from __future__ import annotations

import numpy as np

from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm
from mbrl_control.safety.command_law import CommandLaw, VelocityLaw
from mbrl_control.safety.config import GuardConfig, limits_of
from mbrl_control.safety.effort_law import EffortLaw
from mbrl_control.safety.guard_core import GuardCore
from mbrl_control.signals import CommandInterface


def guard_of(arm: Arm, config: GuardConfig, generator: np.random.Generator, first_epoch: int = 0) -> GuardCore:
    """With the arm's own limits."""
    limits = limits_of(arm)
    law: CommandLaw = VelocityLaw(limits, config)
    if arm.interface is CommandInterface.EFFORT:
        law = EffortLaw(RigidBody(arm), limits, config)
    return GuardCore(limits, config, generator, law, first_epoch)
