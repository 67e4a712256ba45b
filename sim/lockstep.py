"""Estimation, planning, safety, relay and simulator chained in virtual time, without ROS: deterministic, and fast.

One loop over milliseconds: the simulator every 2 ms, the filter every 4 ms, the guard every 5 ms, the planner
every 20 ms. A plan reaches the guard when the planner's budget ends (10 ms after the tick), as late as it may.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mbrl_control.cadence import VirtualClock
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.excitation import Excitation, ExcitationConfig
from mbrl_control.planning.planner import Planner
from mbrl_control.replay.streams import Streams
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import Array, BeliefState, CommandInterface, Goal, GoalKind, Plan
from sim.engines import Simulator, open_arm
from sim.lockstep_parts import Chain
from sim.randomization import SimParameters

MS = 1_000_000
START_NS = 1_790_000_000_000 * MS
SENSOR_MS, GUARD_MS, PLAN_MS, BUDGET_MS = 4, 5, 20, 10

Source = Callable[[int, BeliefState, CommandHistory, bool], Plan | None]
"""(deadline_ns, belief, history, following) -> plan."""


@dataclass(slots=True)
class Record:
    """What a log would hold."""

    belief: list[BeliefState] = field(default_factory=list)
    command_ns: list[int] = field(default_factory=list)
    applied: list[Array] = field(default_factory=list)
    altered: int = 0
    """Guard ticks whose command is not the requested one."""
    truth_ns: list[int] = field(default_factory=list)
    tool: list[Array] = field(default_factory=list)
    payload_ns: list[int] = field(default_factory=list)
    payload_kg: list[float] = field(default_factory=lambda: [0.0])
    """Of each session: before the first change, then from each on."""


class Lockstep:
    """One arm under one source of plans at a time."""

    def __init__(
        self,
        arm_path: Path,
        seed: int,
        simulator: Simulator = Simulator.MUJOCO,
        interface: CommandInterface = CommandInterface.VELOCITY,
        parameters: SimParameters | None = None,
    ) -> None:
        """``parameters`` of the plant; None: the arm as described, which is what everything but the plant knows."""
        self.clock = VirtualClock(START_NS)
        self.sim = open_arm(simulator, arm_path, seed, START_NS, interface, parameters)
        self.arm: Arm = load_arm(arm_path, interface)
        self.chain = Chain(self.arm, SENSOR_MS * 1e-3)
        self.history = CommandHistory(self.arm.joints)
        self.record = Record()
        self._pending: deque[tuple[int, Plan]] = deque()
        self._belief: BeliefState | None = None
        self._source: Source | None = None

    def follow(self, source: Source) -> None:
        """Take plans from ``source`` from now on; the guard holds until the first one."""
        self._source = source
        self._pending.clear()
        self.chain.new_source()

    def attach_payload(self, mass: float) -> None:
        """Fix a payload at the tool, kg, and note it as a log would."""
        self.sim.attach_payload(mass, np.zeros(3))
        self.record.payload_ns.append(self.clock.now_ns())
        self.record.payload_kg.append(mass)

    def run(self, seconds: float) -> None:
        """Advance by whole milliseconds."""
        for _ in range(round(seconds * 1e3)):
            self._millisecond()
            self.clock.advance_ns(MS)

    def streams(self) -> Streams:
        """The record as the replay reads a log."""
        record = self.record
        stamps = np.array(record.command_ns, dtype=np.int64)
        return Streams(
            joint_names=self.arm.joint_names,
            belief_ns=np.array([b.stamp_ns for b in record.belief], dtype=np.int64),
            position=np.array([b.position for b in record.belief]),
            velocity=np.array([b.velocity for b in record.belief]),
            effort=np.array([b.effort for b in record.belief]),
            command_ns=stamps,
            applied=np.array(record.applied),
            drives_enabled=np.ones(len(stamps), dtype=np.bool_),
            relay_ns=stamps,
            publishing=np.ones(len(stamps), dtype=np.bool_),
            payload_ns=np.array(record.payload_ns, dtype=np.int64),
            payload_kg=record.payload_kg[-1],
            interface=self.arm.interface,
            session_kg=tuple(record.payload_kg),
        )

    def _millisecond(self) -> None:
        now = self.clock.now_ns()
        tick = (now - START_NS) // MS
        if tick % SENSOR_MS == 0:
            self._sense()
        if tick % PLAN_MS == 0:
            self._plan(now)
        while self._pending and self._pending[0][0] <= now:
            self.chain.receive(self._pending.popleft()[1])
        if tick % GUARD_MS == 0:
            self._guard(now)
        if (now - START_NS) % self.sim.period_ns == 0:
            self.sim.step()
            truth = self.sim.truth()
            self.record.truth_ns.append(truth.stamp_ns)
            self.record.tool.append(truth.tool)

    def _sense(self) -> None:
        sample = self.sim.sensor()
        if sample is None:
            return
        belief = self.chain.estimate(sample)
        if belief is not None:
            self._belief = belief
            self.record.belief.append(belief)

    def _plan(self, now: int) -> None:
        if self._source is None or self._belief is None:
            return
        deadline = now + BUDGET_MS * MS
        plan = self._source(deadline, self._belief, self.history, self.chain.following)
        if plan is not None:
            self._pending.append((deadline, plan))

    def _guard(self, now: int) -> None:
        command = self.chain.guard(now)
        self.history.append(now, command.applied)
        self.sim.command(command.applied)
        self.record.command_ns.append(now)
        self.record.applied.append(command.applied)
        self.record.altered += not np.allclose(command.applied, command.requested, atol=1e-9)


def excite(lockstep: Lockstep, seconds: float, config: ExcitationConfig, seed: int) -> None:
    """Run the collector's excitation."""
    source = Excitation(lockstep.arm, config, lockstep.clock, np.random.default_rng(seed))
    lockstep.follow(source.plan)
    lockstep.run(seconds)


def reach(lockstep: Lockstep, planner: Planner, targets: Array, window_s: float = 3.0) -> Array:
    """Reach errors [N] mm at targets [N, 3] m: truth, mean over the last 0.5 s of each window."""
    goal = Goal(lockstep.clock.now_ns(), GoalKind.POSE, targets[0], lockstep.arm.home, 0)
    planner.activate()

    def source(deadline_ns: int, belief: BeliefState, history: CommandHistory, following: bool) -> Plan | None:
        plan = planner.plan(0, deadline_ns, belief, history, goal, following).plan
        planner.prepare()
        return plan

    lockstep.follow(source)
    errors = []
    for index, target in enumerate(targets):
        goal = Goal(lockstep.clock.now_ns(), GoalKind.POSE, target, lockstep.arm.home, index + 1)
        lockstep.run(window_s)
        errors.append(_mean_error(lockstep.record, lockstep.clock.now_ns() - 500 * MS, target))
    return np.array(errors)


def _mean_error(record: Record, since_ns: int, target: Array) -> float:
    count = sum(stamp > since_ns for stamp in record.truth_ns[-1000:])
    return float(np.linalg.norm(np.array(record.tool[-count:]) - target, axis=1).mean() * 1e3)
