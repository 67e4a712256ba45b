"""The real guard in the lockstep's chain, with an operator who arms and starts as soon as it lets him."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mbrl_control.cadence import Clock
from mbrl_control.robot import Arm
from mbrl_control.safety.config import GuardConfig
from mbrl_control.safety.guard_for_arm import guard_of
from mbrl_control.safety.state_machine import Event
from mbrl_control.signals import BeliefState, OperatorState, Plan, SafeCommand, SensorSample
from sim.lockstep_parts import Chain


class GuardedChain(Chain):
    """Estimation as ever; plans pass the guard of the deployed graph, and its brakes hold the arm until it runs."""

    def __init__(self, arm: Arm, sensor_period_s: float, clock: Clock, brake: Callable[[bool], None]) -> None:
        super().__init__(arm, sensor_period_s)
        config = GuardConfig(command_delay_s=arm.sensor_delay_s + arm.command_delay_s)
        self._guard = guard_of(arm, config, np.random.default_rng(0))
        self._clock, self._brake = clock, brake
        self._sample: SensorSample | None = None
        self._received_ns = 0
        self._clamped = False
        self._clamp(True)

    @property
    def following(self) -> bool:
        return self._guard.state is OperatorState.RUNNING

    def new_source(self) -> None:
        """The guard tells publishers apart by their epoch."""

    def estimate(self, sample: SensorSample) -> BeliefState | None:
        self._sample, self._received_ns = sample, self._clock.now_ns()
        return super().estimate(sample)

    def receive(self, plan: Plan) -> None:
        self._guard.receive_plan(plan, self._clock.now_ns())

    def guard(self, now_ns: int) -> SafeCommand:
        command = self._guard.tick(now_ns, self._sample, self._received_ns)
        for state, event in ((OperatorState.IDLE, Event.ARM), (OperatorState.ARMED, Event.START)):
            if self._guard.state is state:
                # Refused until the state is fresh and enough plans have come; then asked again at the next tick.
                self._guard.request(event, "operator", self._guard.status().challenge, now_ns)
                break
        self._clamp(not command.drives_enabled)
        return command

    def _clamp(self, on: bool) -> None:
        """Only where it changes: the brakes' switching clears the commands that are on their way."""
        if on is not self._clamped:
            self._clamped = on
            self._brake(on)
