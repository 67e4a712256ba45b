"""Estimation and safety as the lockstep chains them."""

from __future__ import annotations

from collections import deque

import numpy as np

from mbrl_control.estimation.joint_filter import JointFilter, config_for
from mbrl_control.planning.rollforward import planned_commands
from mbrl_control.robot import Arm
from mbrl_control.signals import BeliefState, Plan, SafeCommand, SensorSample, Stage


class Chain:
    """Joint filter, and a guard that samples plans unaltered (zero before the first start and beyond the end)."""

    def __init__(self, arm: Arm, sensor_period_s: float) -> None:
        self._joints = arm.joints
        self._filter = JointFilter(arm.joint_names, config_for(arm.noise, sensor_period_s))
        self._state = self._filter.initial()
        self._plans: deque[Plan] = deque(maxlen=4)
        self._sequence = 0

    @property
    def following(self) -> bool:
        """Whether the source's plans move the arm."""
        return bool(self._plans)

    def new_source(self) -> None:
        """The publisher of plans changes: forget the old one's."""
        self._plans.clear()

    def estimate(self, sample: SensorSample) -> BeliefState | None:
        """None for a duplicate."""
        self._state, belief, _ = self._filter.update(self._state, sample)
        return belief

    def receive(self, plan: Plan) -> None:
        """A plan arrives."""
        self._plans.append(plan)

    def guard(self, now_ns: int) -> SafeCommand:
        """One tick."""
        started = [plan for plan in self._plans if plan.start_ns <= now_ns]
        wanted = planned_commands(started, now_ns, np.zeros(1))[0] if started else np.zeros(self._joints)
        sampled = started[-1].sequence if started else 0
        self._sequence += 1
        return SafeCommand(now_ns, 1, self._sequence, wanted, wanted, sampled, Stage.NONE, "", True)
