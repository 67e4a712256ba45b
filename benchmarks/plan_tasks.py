"""Closed-loop tasks of `bench plan`: which arm, which model, what an episode asks for, and what it costs.

An episode is judged by the true motion alone, whatever the planner's own costs are: the distance between tool and goal,
mm, or the angle from upright, degrees. Its cost is the mean over the episode, way included; its end that over the last
half second, where only the precision is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.plan_weights import kept
from benchmarks.swing_up import CONFIG as SWING_CONFIG
from benchmarks.swing_up import GRAPH as SWING_GRAPH
from benchmarks.swing_up import SAMPLES as SWING_SAMPLES
from benchmarks.swing_up import fitted_ensemble
from benchmarks.swing_up_run import ARM as SWING_ARM
from benchmarks.swing_up_run import RUN_S, START_SPREAD, UPRIGHT
from mbrl_control.cli.demo import AMPLITUDE_M, SPEED_SCALE, target_distance
from mbrl_control.cli.locations import arm_file, shipped_models
from mbrl_control.deployment.bundle import load_weights
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.kinematics import forward_kinematics, sample_targets
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.figure_eight import figure_eight
from mbrl_control.planning.planner import Planner
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import Array, BeliefState, CommandInterface, Goal, GoalKind, Plan
from sim.lockstep import Lockstep
from sim.lockstep_model import DT_S

REACH_S, END_S = 3.0, 0.5
SAMPLED_S = 0.01
LAP_S = 4.0
EXCITATION_S, MODEL_SEED = 50.0, 0


@dataclass(frozen=True, slots=True)
class Task:
    """One closed-loop task."""

    name: str
    arm_path: Path
    interface: CommandInterface
    graph: GraphShape
    config: PlannerConfig
    """What every planner shares: weights, limits, risk."""
    ensemble: Callable[[Arm, Path], tuple[ProbabilisticEnsemble, float]]
    """The weights that all planners get, and the delay that was found with them, s; learned ones stay in a folder."""
    begin: Callable[[Lockstep, np.random.Generator], tuple[Goal, float]]
    """Puts the arm where an episode begins; goal and seconds."""
    error: Callable[[Arm, Goal, Array, Array], Array]
    """(arm, goal, seconds [N], true joint positions [N, J]) -> [N] error."""
    unit: str

    @property
    def arm(self) -> Arm:
        return load_arm(self.arm_path, self.interface)


@dataclass(frozen=True, slots=True)
class Episode:
    """What one cost."""

    cost: float
    """Mean error over the episode."""
    end: float
    """Mean error over its last `END_S`: what is left once the way is made."""
    own_cpu_ms: Array
    """[P] processor time of this process per plan."""
    failed: int
    """Cycles without a newly optimized plan."""


def run_episode(task: Task, make: Callable[[Lockstep, np.random.Generator], Planner], seed: int) -> Episode:
    """In virtual time; ``seed`` of the start, of the goal, of measurement noise and of the planner's samples."""
    lockstep = Lockstep(task.arm_path, seed, interface=task.interface)
    generator = np.random.default_rng(seed)
    goal, seconds = task.begin(lockstep, generator)
    planner = make(lockstep, generator)
    planner.activate()
    cpu: list[float] = []
    failed = 0

    def source(deadline_ns: int, belief: BeliefState, history: CommandHistory, following: bool) -> Plan | None:
        nonlocal failed
        began = time.process_time()
        plan = planner.plan(0, deadline_ns, belief, history, goal, following).plan
        planner.prepare()
        cpu.append((time.process_time() - began) * 1e3)
        failed += plan is None or not plan.outcome.optimized
        return plan

    lockstep.follow(source)
    moments, rows = [], []
    for _ in range(round(seconds / SAMPLED_S)):
        moments.append(lockstep.clock.now_ns() - goal.stamp_ns)
        rows.append(lockstep.sim.truth().position.copy())
        lockstep.run(SAMPLED_S)
    error = task.error(lockstep.arm, goal, np.array(moments) * 1e-9, np.array(rows))
    end = error[-round(END_S / SAMPLED_S) :]
    return Episode(float(error.mean()), float(end.mean()), np.array(cpu), failed)


def _shipped(arm: Arm, _: Path) -> tuple[ProbabilisticEnsemble, float]:
    registry = Registry(shipped_models(), arm.model_name)
    version = registry.active()
    assert version is not None, f"{registry.folder}: no shipped model"
    path = registry.path(version)
    return load_weights(path, arm), verify_bundle(path, arm).delay_s


def _swinging(arm: Arm, folder: Path) -> tuple[ProbabilisticEnsemble, float]:
    path = folder / "swing_up.safetensors"
    ensemble = kept(path, prior_of(arm, DT_S), lambda: fitted_ensemble(arm, EXCITATION_S, MODEL_SEED))
    return ensemble, arm.command_delay_s


def _begin_reach(lockstep: Lockstep, generator: np.random.Generator) -> tuple[Goal, float]:
    _, (target,) = sample_targets(lockstep.arm, 1, target_distance(lockstep.arm), generator)
    return Goal(lockstep.clock.now_ns(), GoalKind.POSE, target, lockstep.arm.home, 1), REACH_S


def _begin_eight(lockstep: Lockstep, generator: np.random.Generator) -> tuple[Goal, float]:
    """Each of another size and pace: episodes of one figure would differ by noise alone."""
    arm = lockstep.arm
    size, pace = generator.uniform(0.6, 1.0), generator.uniform(0.8, 1.0)
    times, joints = figure_eight(arm, size * AMPLITUDE_M, LAP_S / pace, 1, SPEED_SCALE)
    now = lockstep.clock.now_ns()
    return Goal(now, GoalKind.TRAJECTORY, np.zeros(3), arm.home, 1, times, joints), float(times[-1])


def _begin_swing(lockstep: Lockstep, generator: np.random.Generator) -> tuple[Goal, float]:
    lockstep.sim.reset(generator.uniform(-START_SPREAD, START_SPREAD, lockstep.arm.joints))
    tool = forward_kinematics(lockstep.arm, UPRIGHT)
    return Goal(lockstep.clock.now_ns(), GoalKind.JOINT, tool, UPRIGHT, 1), RUN_S


def _tool_mm(arm: Arm, goal: Goal, seconds: Array, position: Array) -> Array:
    tool = forward_kinematics(arm, position)
    if goal.times is None or goal.trajectory is None:
        return 1e3 * np.linalg.norm(tool - goal.position, axis=1)
    path = forward_kinematics(arm, goal.trajectory)
    wanted = np.stack([np.interp(seconds, goal.times, column) for column in path.T], axis=1)
    return 1e3 * np.linalg.norm(tool - wanted, axis=1)


def _from_upright_deg(_: Arm, goal: Goal, __: Array, position: Array) -> Array:
    """Root mean square over joints; both ways round count."""
    off = np.abs(position) - np.abs(goal.joint)
    return np.degrees(np.sqrt(np.square(off).mean(axis=1)))


_PANDA = (arm_file("panda"), CommandInterface.VELOCITY, GraphShape.deployed(CommandInterface.VELOCITY))
_SWING = (SWING_ARM, CommandInterface.EFFORT, SWING_GRAPH)
TASKS = {
    task.name: task
    for task in (
        Task("reach", *_PANDA, PlannerConfig(), _shipped, _begin_reach, _tool_mm, "mm"),
        Task("figure_eight", *_PANDA, PlannerConfig(), _shipped, _begin_eight, _tool_mm, "mm"),
        Task(
            "swing_up",
            *_SWING,
            SWING_CONFIG.model_copy(update={"samples": SWING_SAMPLES}),
            _swinging,
            _begin_swing,
            _from_upright_deg,
            "deg",
        ),
    )
}
