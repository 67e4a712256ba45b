"""What the tests of the guard share: limits, plans, and an arm that follows commands exactly or with lag."""

from __future__ import annotations

from typing import Any

import numpy as np

from mbrl_control.cadence import VirtualClock
from mbrl_control.safety.command_law import VelocityLaw
from mbrl_control.safety.config import GuardConfig, GuardLimits
from mbrl_control.safety.guard_core import GuardCore
from mbrl_control.safety.requests import Reply
from mbrl_control.safety.state_machine import Event
from mbrl_control.safety.verdicts import Verdict
from mbrl_control.signals import Array, Plan, PlanOutcome, SafeCommand, SensorSample

TICK_NS = 5_000_000
PERIOD_NS = 20_000_000
NAMES = ("a", "b", "c")
CONFIG = GuardConfig()


def limits(jerk: float = 5000.0, lag_s: float = 0.03) -> GuardLimits:
    ones = np.ones(3)
    velocity = np.array([2.0, 1.5, 2.5])
    acceleration = np.array([15.0, 7.5, 10.0])
    return GuardLimits(
        NAMES, -ones, ones, velocity, acceleration, jerk * ones, lag_s * ones, 50.0 * ones, 1000.0 * ones
    )


def plan(now_ns: int, sequence: int, **changes: Any) -> Plan:
    """A plan at rest at zero that starts now and lasts 300 ms."""
    times = np.arange(16) * 0.02
    zeros = np.zeros((16, 3))
    values: dict[str, Any] = {
        "stamp_ns": now_ns, "start_ns": now_ns, "belief_stamp_ns": now_ns, "optimized_stamp_ns": now_ns,
        "epoch": 1, "sequence": sequence, "outcome": PlanOutcome.OPTIMIZED, "model_id": "test/1",
        "joint_names": NAMES, "times": times, "knots": zeros, "position": zeros, "velocity": zeros,
        "effort": zeros, "variance": np.zeros((16, 9)), "epistemic": np.zeros(16),
    }  # fmt: skip
    return Plan(**(values | changes))


class Rig:
    """Guard, virtual clock and an ideal velocity servo with lag and delay, joined tick by tick."""

    def __init__(self, limits_: GuardLimits | None = None, config: GuardConfig = CONFIG, delay_ticks: int = 1) -> None:
        self.limits = limits_ or limits()
        self.clock = VirtualClock(10**12)
        self.core = GuardCore(self.limits, config, np.random.default_rng(0), VelocityLaw(self.limits, config))
        self.position, self.velocity = np.zeros(3), np.zeros(3)
        self.droop = np.zeros(3)
        """rad/s by which a load makes the servo give way."""
        self.sequence = 0
        self.measured: SensorSample | None = None
        self.applied: list[Array] = []
        self._pipe = [np.zeros(3)] * delay_ticks

    @property
    def now(self) -> int:
        return self.clock.now_ns()

    def sense(self) -> None:
        self.measured = SensorSample(self.now, self.position.copy(), self.velocity.copy(), np.zeros(3))

    def tick(self, sense: bool = True) -> SafeCommand:
        """One guard tick at now, then 5 ms of motion."""
        if sense:
            self.sense()
        stamp = 0 if self.measured is None else self.measured.stamp_ns
        command = self.core.tick(self.now, self.measured, stamp)
        self.applied.append(command.applied)
        self._pipe.append(command.applied)
        self._move(self._pipe.pop(0))
        self.clock.advance_ns(TICK_NS)
        return command

    def _move(self, command: Array, steps: int = 5) -> None:
        for _ in range(steps):
            h = TICK_NS * 1e-9 / steps
            lag = np.maximum(self.limits.lag_s, 1e-9)
            goal = command - self.droop
            self.velocity = goal + (self.velocity - goal) * np.exp(-h / lag)
            self.position = self.position + h * self.velocity

    def send(self, **changes: Any) -> Verdict:
        self.sequence += 1
        rows = {"position": np.tile(self.position, (16, 1))} | changes
        return self.core.receive_plan(plan(self.now, self.sequence, **rows), self.now)

    def cycle(self, count: int = 1, **changes: Any) -> SafeCommand:
        """Plans every 20 ms, ticks every 5 ms; returns the last command."""
        for _ in range(count):
            self.send(**changes)
            for _ in range(4):
                command = self.tick()
        return command

    def ask(self, event: Event) -> Reply:
        return self.core.request(event, "operator", self.core.status().challenge, self.now)

    def run(self) -> None:
        """Arm, feed fresh plans, start."""
        self.tick()
        assert self.ask(Event.ARM).success
        self.cycle(10)
        reply = self.ask(Event.START)
        assert reply.success, reply.message


def constant(velocity: list[float]) -> Array:
    return np.tile(np.array(velocity, dtype=np.float64), (16, 1))


def running(**keywords: Any) -> Rig:
    """A rig whose guard is running."""
    rig = Rig(**keywords)
    rig.run()
    return rig
