"""Value types that travel between the stages of both lines of data.

Every type is frozen and holds NumPy arrays in SI units. ``J`` is the number of joints in the order
of the arm description, ``H`` the planner's horizon in model steps. Times are integer nanoseconds of
the graph's clock (see :mod:`mbrl_control.cadence`): steady, shared by all processes of one graph,
and anchored so that they read as wall time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from mbrl_control.command_interface import CommandInterface as CommandInterface

Array = NDArray[np.float64]


class GoalKind(IntEnum):
    """What a goal fixes."""

    JOINT = 0
    POSE = 1
    TRAJECTORY = 2
    TOOL_TRAJECTORY = 3

    @property
    def moving(self) -> bool:
        """A goal for every moment, not one."""
        return self in (GoalKind.TRAJECTORY, GoalKind.TOOL_TRAJECTORY)


class PlanOutcome(IntEnum):
    """How a planner cycle ended."""

    OPTIMIZED = 0
    """All iterations were done, or nothing better was found any more."""
    BUDGET_ENDED = 1
    """At least one iteration finished, the budget ended before the last one: best so far."""
    SHIFTED = 2
    """No iteration finished in time: the previous plan, shifted (keeps its optimized stamp)."""
    FAILED = 3
    """No usable plan: nothing is published."""
    EXCITATION = 4
    """Published by the collector, not by a planner."""
    DECELERATE = 5
    """Nothing was optimized for several cycles: from where the last plan had led, to rest at the plan's limits (keeps
    its optimized stamp)."""
    HOLD = 6
    """The same, and the arm is at rest."""

    @property
    def optimized(self) -> bool:
        """At least one iteration of this cycle, begun in time, was finished."""
        return self in (PlanOutcome.OPTIMIZED, PlanOutcome.BUDGET_ENDED)

    @property
    def fallback(self) -> bool:
        """A plan, but none of this cycle's making."""
        return self in (PlanOutcome.SHIFTED, PlanOutcome.DECELERATE, PlanOutcome.HOLD)


class OperatorState(IntEnum):
    """States of the guard (docs/architecture.md, "Guard")."""

    IDLE = 0
    ARMED = 1
    RUNNING = 2
    HOLD = 3
    OPERATOR_HOLD = 4
    PROTECTIVE_STOP = 5


class Stage(IntEnum):
    """The guard's stage that limited or refused a command, in pipeline order."""

    NONE = 0
    FINITE = 1
    SHAPE = 2
    AGE = 3
    POSITION = 4
    VELOCITY = 5
    ACCELERATION = 6
    JERK = 7
    STATE_MACHINE = 8
    EFFORT = 9
    EFFORT_RATE = 10


@dataclass(frozen=True, slots=True)
class SensorSample:
    """One measurement of the arm, already in the arm's joint order."""

    stamp_ns: int
    position: Array
    """[J] rad."""
    velocity: Array
    """[J] rad/s."""
    effort: Array
    """[J] N m, motor side."""


@dataclass(frozen=True, slots=True)
class BeliefState:
    """Gaussian belief about joint position and velocity AT measurement time (no prediction ahead)."""

    stamp_ns: int
    position: Array
    """[J] rad, mean."""
    velocity: Array
    """[J] rad/s, mean."""
    covariance: Array
    """[J, 2, 2] of (position, velocity) of each joint; joints are independent."""
    effort: Array
    """[J] N m, last measured."""


@dataclass(frozen=True, slots=True)
class Goal:
    """Where the arm should go. ``joint`` doubles as the posture reference of goals for the tool."""

    stamp_ns: int
    kind: GoalKind
    position: Array
    """[3] m, tool frame origin in the base frame (POSE)."""
    joint: Array
    """[J] rad (JOINT: the goal; POSE, TOOL_TRAJECTORY: preferred posture)."""
    sequence: int
    times: Array | None = None
    """[T] s after the stamp, increasing, of a moving goal."""
    trajectory: Array | None = None
    """[T, J] rad (TRAJECTORY) or [T, 3] m, tool frame origin in the base frame (TOOL_TRAJECTORY): linear between,
    the ends hold before and after."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Knots of joint velocity or effort with linear interpolation between them, and what the model expects."""

    stamp_ns: int
    """Created."""
    start_ns: int
    """Time of knot 0, in command time (the state it meets lies ``delay_s`` later)."""
    belief_stamp_ns: int
    optimized_stamp_ns: int
    """Of the newest finished optimization; a shifted plan keeps the old one."""
    epoch: int
    """Changes when the publisher (re)activates or the guard arms; older epochs are refused."""
    sequence: int
    outcome: PlanOutcome
    model_id: str
    joint_names: tuple[str, ...]
    times: Array
    """[H+1] s after ``start_ns``, increasing, times[0] = 0."""
    knots: Array
    """[H+1, J] rad/s or N m, commands; linear between knots, last one held for 0 s."""
    position: Array
    """[H+1, J] rad, predicted mean at state time start + delay + times."""
    velocity: Array
    """[H+1, J] rad/s, predicted mean."""
    effort: Array
    """[H+1, J] N m, predicted mean (row 0 repeats row 1)."""
    variance: Array
    """[H+1, 3J], total predictive variance of (position, velocity, effort)."""
    epistemic: Array
    """[H+1] disagreement of the ensemble: root mean over joints of the members' velocity variance, rad/s."""
    interface: CommandInterface = CommandInterface.VELOCITY


@dataclass(frozen=True, slots=True)
class PlanReport:
    """One planner cycle, for the log: timers are values, never printed."""

    cycle: int
    deadline_ns: int
    """By which a newly optimized plan was due."""
    outcome: PlanOutcome
    model_id: str
    iterations: int
    lateness_s: float
    """Wake-up after the deadline of the tick."""
    rollforward_s: float
    optimize_s: float
    total_s: float
    slack_s: float
    """Budget left when the plan was ready; negative when late."""
    best_cost: float
    terms: tuple[tuple[str, float], ...]
    """Named cost terms of the chosen plan (already weighted)."""
    method: str
    """Of the planner; of one that refines by derivatives also how many iterations of this cycle did."""
    rollouts: str
    """How sequences are scored: provider, lanes, threads."""
    delay_s: float
    """From command to motion, as compensated in this cycle."""
    goal_gap_m: float
    """From the tool's goal to where the joint positions found for it put the tool: the goal cannot be met where that is
    more than a few mm. 0 for goals in joint space."""
    disturbance: Array | None
    """[J] N m, as estimated in this cycle: what acts besides the command and the model does not predict; None: not
    estimated (velocities, or switched off). A shifted plan was made with an earlier one."""
    refined: int = 0
    """Iterations that followed the derivatives."""


@dataclass(frozen=True, slots=True)
class SafeCommand:
    """What the guard let through in one of its ticks."""

    stamp_ns: int
    epoch: int
    sequence: int
    requested: Array
    """[J] rad/s or N m, as the plan (or hold law) asked."""
    applied: Array
    """[J] rad/s or N m, as sent on."""
    plan_sequence: int
    limiting_stage: Stage
    reason: str
    drives_enabled: bool
    interface: CommandInterface = CommandInterface.VELOCITY


@dataclass(frozen=True, slots=True)
class Transitions:
    """Training rows, all of one arm. ``N`` rows; K past commands, oldest first."""

    position: Array
    """[N, J] rad at t."""
    velocity: Array
    """[N, J] rad/s at t."""
    history: Array
    """[N, K, J] rad/s or N m, mean applied commands of the K steps before t, read ``delay_s`` earlier."""
    action: Array
    """[N, J] rad/s or N m, mean applied command over [t - delay, t + dt - delay]."""
    next_position: Array
    next_velocity: Array
    next_effort: Array
    """[N, J] N m, mean measured effort over the step."""
    stamp_ns: NDArray[np.int64]
    """[N] of t."""
    session: NDArray[np.int64]
    """[N] stretch of the logs: grows whenever payload or log changes; of rows to learn from the regime, the newest the
    highest (`replay.regimes.with_regimes`)."""
    segment: NDArray[np.int64]
    """[N] rows of one segment are gapless; no block crosses a segment."""

    def __len__(self) -> int:
        return len(self.stamp_ns)
