"""A model's closed loop with a payload, in virtual time: a few targets, and whether the arm comes to rest at them.

The arm as described, its filter and the planner with its default settings but one iteration in each cycle: the least
that a busy machine leaves it. The guard passes plans as they are, so that what would have been its work shows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mbrl_control.kinematics import sample_targets
from mbrl_control.learning.stability import LoopFigures
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import Planner, PlanningModel
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, BeliefState, CommandInterface, Goal, GoalKind, Plan, PlanOutcome
from sim.arm_sim import TruthState
from sim.lockstep import Lockstep

TARGETS, WINDOW_S = 2, 2.0
_DISTANCE_S, _SPEED_S = 0.5, 0.25
_STEP_S = 0.002
"""Of the physics."""
_POSITION_TOLERANCE, _SPEED_TOLERANCE = 1e-3, 1.02
"""rad, and a factor: of limits, as `mbrl_control.report.limits` counts them."""
_APART_M, _APART_SHARE = 0.25, 0.3
"""m, and a share of the arm's length: consecutive targets are the lesser of them apart."""
_PLANNED = (PlanOutcome.OPTIMIZED, PlanOutcome.BUDGET_ENDED)


def draw_targets(arm: Arm, generator: np.random.Generator) -> Array:
    """[N, 3] m, tool positions within the work box; ArmError where it is too small."""
    links = [frame.origin_translation for frame in arm.chain[1:]] + [arm.tool_translation]
    length = float(sum(np.linalg.norm(link) for link in links))
    return sample_targets(arm, TARGETS, min(_APART_M, _APART_SHARE * length), generator)[1]


def loop_figures(
    arm_path: Path, interface: CommandInterface, model: PlanningModel, payload_kg: float, targets: Array, seed: int
) -> LoopFigures:
    """Reach ``targets`` [N, 3] m one after the other; ``seed`` of the measurement noise and of the planner's samples.

    Raises ArmError where the arm cannot be simulated.
    """
    loop = _Loop(Lockstep(arm_path, seed, interface=interface), model, seed)
    loop.lockstep.attach_payload(payload_kg)
    found = [loop.reach(target) for target in targets if loop.finite]
    speed, distance = (max(values) for values in zip(*found, strict=True))
    return LoopFigures(loop.finite, loop.violations, loop.unplanned, speed, distance)


class _Loop:
    """One arm under one model's plans, counting what must not happen."""

    def __init__(self, lockstep: Lockstep, model: PlanningModel, seed: int) -> None:
        self.lockstep = lockstep
        self.finite, self.violations, self.unplanned = True, 0, 0
        arm, clock = lockstep.arm, lockstep.clock
        self._planner = Planner(arm, PlannerConfig(iterations=1), clock, np.random.default_rng(seed))
        self._planner.use(model)
        self._planner.activate()
        self._goals = 0
        self._goal: Goal | None = None
        lockstep.follow(self._plan)

    def reach(self, target: Array) -> tuple[float, float]:
        """-> speed rad/s and distance m at the end of the window, see `LoopFigures`."""
        lockstep = self.lockstep
        self._goals += 1
        self._goal = Goal(lockstep.clock.now_ns(), GoalKind.POSE, target, lockstep.arm.home, self._goals)
        truths = [lockstep.sim.truth()]
        for _ in range(round(WINDOW_S / _STEP_S)):
            lockstep.run(_STEP_S)
            truth = lockstep.sim.truth()
            self.finite = bool(np.isfinite([*truth.position, *truth.velocity, *truth.tool]).all())
            if not self.finite:
                break
            self.violations += self._beyond(truth)
            truths.append(truth)
        speeds = np.array([truth.velocity for truth in truths[-round(_SPEED_S / _STEP_S) :]])
        tools = np.array([truth.tool for truth in truths[-round(_DISTANCE_S / _STEP_S) :]])
        rest = float(np.sqrt(np.mean(speeds**2, axis=0)).max())
        return rest, float(np.linalg.norm(tools - target, axis=1).mean())

    def _plan(self, deadline_ns: int, belief: BeliefState, history: CommandHistory, following: bool) -> Plan | None:
        if self._goal is None:
            return None
        cycle = self._planner.plan(0, deadline_ns, belief, history, self._goal, following)
        self._planner.prepare()
        self.unplanned += cycle.report.outcome not in _PLANNED
        return cycle.plan

    def _beyond(self, truth: TruthState) -> bool:
        arm = self.lockstep.arm
        under = truth.position < arm.lower - _POSITION_TOLERANCE
        over = truth.position > arm.upper + _POSITION_TOLERANCE
        fast = np.abs(truth.velocity) > _SPEED_TOLERANCE * arm.velocity
        return bool((under | over | fast).any())
