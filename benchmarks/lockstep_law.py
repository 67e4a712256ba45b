"""A feedback law in the guard's place: what a classical controller reaches on the same arm, sensor and delay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mbrl_control.robot import Arm
from mbrl_control.signals import Array, BeliefState, SafeCommand, SensorSample, Stage
from sim.lockstep_parts import Chain

SENSOR_S = 0.004

Law = Callable[[BeliefState], Array]
"""Belief -> torque [J] N m."""


class Feedback(Chain):
    """Estimation as ever; every guard tick applies the law's torque, zero before the first belief."""

    def __init__(self, arm: Arm, law: Law) -> None:
        super().__init__(arm, SENSOR_S)
        self._law, self._none = law, np.zeros(arm.joints)
        self._belief: BeliefState | None = None

    def estimate(self, sample: SensorSample) -> BeliefState | None:
        belief = super().estimate(sample)
        self._belief = belief or self._belief
        return belief

    def guard(self, now_ns: int) -> SafeCommand:
        command = super().guard(now_ns)
        torque = self._none if self._belief is None else self._law(self._belief)
        return SafeCommand(now_ns, 1, command.sequence, torque, torque, 0, Stage.NONE, "", True)
