"""One swing-up in virtual time: under the planner's torques, or under a feedback law at the guard's rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.lockstep_guarded import GuardedChain
from benchmarks.lockstep_law import Feedback, Law
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import Planner, PlanningModel
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm
from mbrl_control.signals import (
    Array,
    BeliefState,
    CommandInterface,
    Goal,
    GoalKind,
    Plan,
)
from sim.lockstep import SENSOR_MS, START_NS, Lockstep

ARM = Path(__file__).parent / "arms" / "planar_swing.yaml"
UPRIGHT = np.array([np.pi, 0.0])
"""rad; the goal is one of the two ways round, because an arm with stops is not periodic. Either counts as upright."""
START_SPREAD = 0.1
"""rad, of the initial angles around hanging."""
RUN_S, SAMPLE_S, HELD_S = 6.1, 0.01, 1.0
START_WITHIN_S = 2.0
"""Until the guard has what it asks for before a start."""
TOLERANCE, SLOW = np.radians(10.0), 1.0
"""rad and rad/s, of every joint: what counts as upright."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Truth of one run, a row every ``SAMPLE_S``."""

    position: Array
    """[N, J] rad."""
    velocity: Array
    """[N, J] rad/s."""
    effort: Array
    """[N, J] N m."""
    plan_wall_ms: Array
    """[P] of each planner cycle."""
    plan_cpu_ms: Array
    """[P] processor time of the same, which other processes on the machine disturb less."""

    @property
    def upright_after_s(self) -> float:
        """s until the first moment from which the arm is upright for ``HELD_S``; infinite where there is none."""
        near = (np.abs(np.abs(self.position) - UPRIGHT) < TOLERANCE).all(axis=1)
        held = near & (np.abs(self.velocity) < SLOW).all(axis=1)
        window = round(HELD_S / SAMPLE_S)
        runs = np.lib.stride_tricks.sliding_window_view(held, window).all(axis=1)
        return float(np.argmax(runs)) * SAMPLE_S if runs.any() else float("inf")


def swing_by_plans(model: PlanningModel, config: PlannerConfig, seed: int, guarded: bool = False) -> Trace:
    """From hanging, by the planner; ``seed`` of the start, of the measurement noise and of the planner's samples.

    ``guarded``: the deployed guard judges every command, and the time counts from its start.
    """
    lockstep, generator = _hanging(seed)
    if guarded:
        lockstep.chain = GuardedChain(lockstep.arm, SENSOR_MS * 1e-3, lockstep.clock, lockstep.sim.brake)
    planner = Planner(lockstep.arm, config, lockstep.clock, generator)
    planner.use(model)
    goal = Goal(START_NS, GoalKind.JOINT, forward_kinematics(lockstep.arm, UPRIGHT), UPRIGHT, 1)
    wall: list[float] = []
    cpu: list[float] = []

    def source(deadline_ns: int, belief: BeliefState, history: CommandHistory, following: bool) -> Plan | None:
        began = time.perf_counter(), time.thread_time()
        plan = planner.plan(0, deadline_ns, belief, history, goal, following).plan
        wall.append((time.perf_counter() - began[0]) * 1e3)
        cpu.append((time.thread_time() - began[1]) * 1e3)
        planner.prepare()
        return plan

    lockstep.follow(source)
    if guarded:
        _until_running(lockstep)
    return _record(lockstep, wall, cpu)


def swing_by_law(law_of: Callable[[Arm], Law], seed: int) -> Trace:
    """From the same start, by a law that is asked every guard tick."""
    lockstep, _ = _hanging(seed)
    lockstep.chain = Feedback(lockstep.arm, law_of(lockstep.arm))
    return _record(lockstep, [], [])


def torque_limit(arm: Arm, config: PlannerConfig) -> Array:
    """[J] N m that plans, and the laws beside them, may use."""
    return arm.effort * config.effort_scale


def static_torque(arm: Arm) -> Array:
    """[J] N m that carries the straight arm at rest in the horizontal."""
    return RigidBody(arm).gravity(0.5 * UPRIGHT)


def _hanging(seed: int) -> tuple[Lockstep, np.random.Generator]:
    generator = np.random.default_rng(seed)
    lockstep = Lockstep(ARM, seed, interface=CommandInterface.EFFORT)
    lockstep.sim.reset(generator.uniform(-START_SPREAD, START_SPREAD, lockstep.arm.joints))
    return lockstep, generator


def _until_running(lockstep: Lockstep) -> None:
    for _ in range(round(START_WITHIN_S / SAMPLE_S)):
        if lockstep.chain.following:
            return
        lockstep.run(SAMPLE_S)
    raise RuntimeError(f"the guard did not let the arm start within {START_WITHIN_S} s")


def _record(lockstep: Lockstep, wall: list[float], cpu: list[float]) -> Trace:
    rows = []
    for _ in range(round(RUN_S / SAMPLE_S)):
        truth = lockstep.sim.truth()
        rows.append((truth.position.copy(), truth.velocity.copy(), truth.effort.copy()))
        lockstep.run(SAMPLE_S)
    position, velocity, effort = (np.array(column) for column in zip(*rows, strict=True))
    return Trace(position, velocity, effort, np.array(wall), np.array(cpu))
