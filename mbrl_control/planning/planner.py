"""One planner cycle: roll forward -> optimize -> plan; or the last plan, shifted; or a named failure.

All state between cycles lives in `Planner`: warm start, pace, plans in force, posture guess, disturbance, numbering.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mbrl_control.cadence import Clock
from mbrl_control.planning.admission import check_model
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.compensated_delay import CompensatedDelay
from mbrl_control.planning.config import PlannerConfig, PlannerConfigError
from mbrl_control.planning.cycle import (
    Attempt,
    BudgetEnded,
    Cycle,
    Issue,
    Source,
    Timing,
    Unexpected,
    named,
    optimized_plan,
    report_of,
)
from mbrl_control.planning.fallback import Stop
from mbrl_control.planning.finite import check_belief, check_start
from mbrl_control.planning.goal_target import GoalTarget
from mbrl_control.planning.issued import Issued
from mbrl_control.planning.limits import project
from mbrl_control.planning.methods.choice import method_of, refiner_of
from mbrl_control.planning.observers import Observers
from mbrl_control.planning.optimize import Optimizer, Proposer, Result, Settings, optimize
from mbrl_control.planning.pace import Pace
from mbrl_control.planning.problem import Best, Problem
from mbrl_control.planning.proposals import Target
from mbrl_control.planning.protocol import (
    UNLIMITED,
    Derivatives,
    Objective,
    RolloutEvaluator,
    StepModel,
)
from mbrl_control.planning.rollforward import StartState, TimeGrid, roll_forward
from mbrl_control.planning.tracks import proposer_for
from mbrl_control.planning.warm_start import WarmStart
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, BeliefState, CommandInterface, Goal, GoalKind, Plan


@dataclass(frozen=True, slots=True)
class PlanningModel:
    """A bundle, as the planner sees it."""

    evaluator: RolloutEvaluator
    step: StepModel
    model_id: str
    dt_s: float
    delay_s: float
    past: int
    """K."""
    rollouts: str = ""
    """How the evaluator computes, for the report."""
    derivatives: Derivatives | None = None
    """For the methods that ask for them."""
    trust: Array | None = None
    """[H] rad/s, see `Objective`; None: the horizon is never cut."""


class Planner:
    """Plans for one arm. ``clock`` also measures the budget, so that a virtual clock makes it exact. ``optimizer``:
    another one than ours, to compare with (`bench plan`)."""

    def __init__(
        self,
        arm: Arm,
        config: PlannerConfig,
        clock: Clock,
        generator: np.random.Generator,
        optimizer: Optimizer = optimize,
    ) -> None:
        self._arm = arm
        self._optimizer = optimizer
        self._config = config
        self._clock = clock
        self._generator = generator
        reserve_ns = round(config.reserve_s * 1e9)
        refining = (refiner_of(config), config.sampled_iterations)
        self._settings = Settings(config.iterations, config.elites, config.risk_strategy(), reserve_ns, *refining)
        self._obstacles, self._speed_share = config.obstacle_rows(), config.speed_scale
        self._per_command = 1.0 / (arm.effort if arm.interface is CommandInterface.EFFORT else np.ones(arm.joints))
        self._model: PlanningModel | None = None
        self._goal: GoalTarget
        self._pace = Pace(config.derivatives)
        self._observers = Observers(arm, config)
        self._warm = WarmStart(arm.joints, config.warm_elites, config.warm_mean)
        self.activate()

    def activate(self) -> None:
        """Forget the past and begin a new epoch (it grows with time, so it is newer than any before)."""
        self._issued = Issued(self._clock.now_ns())
        self._unprepared: Unexpected | None = None
        self._begin_anew()
        self._forget()

    def use(self, model: PlanningModel) -> None:
        """Switch to another model, between two cycles. The warm start is kept: it is a guess, scored anew.

        Raises PlannerConfigError for one that cannot be planned with, see `admission`.
        """
        horizon = model.evaluator.horizon
        grid = TimeGrid(
            dt_ns=round(model.dt_s * 1e9),
            delay_ns=self._observers.delay_ns(model.delay_s),
            past=model.past,
            command_period_ns=round(self._config.command_period_s * 1e9),
        )
        check_model(model.model_id, horizon, grid, self._config)
        if self._config.derivatives and model.derivatives is None:
            raise PlannerConfigError(f"planner settings: field 'method': {model.model_id} is open without derivatives")
        weights = {kind: self._config.weights(kind, model.evaluator.term_names) for kind in GoalKind}
        proposer, method = proposer_for(self._arm, self._config, horizon, model.dt_s), method_of(self._config, horizon)
        # Nothing is refused from here on: a refused model leaves the one in use as it was.
        self._proposer, self._method, self._weights = proposer, method, weights
        self._proposer.cap(self._speed_share)
        if self._model is None or not self._goal.fits(horizon, model.dt_s):
            self._goal = GoalTarget(self._arm, self._config.posture_pull, horizon, model.dt_s)
        self._forget()
        self._pace.begin_model()
        self._grid = grid
        self._observers.begin_model(grid)
        self._warm.fit(horizon)
        self._trust = np.full(horizon, UNLIMITED) if model.trust is None else model.trust
        self._model = model

    def cap_speed(self, share: float) -> None:
        """What the guard lets through now, in (0, 1] of the rated speeds: plans keep within it and the settings."""
        self._speed_share = min(self._config.speed_scale, share)
        if self._model is not None:
            self._proposer.cap(self._speed_share)

    def plan(
        self,
        cycle: int,
        deadline_ns: int,
        belief: BeliefState,
        history: CommandHistory,
        goal: Goal,
        following: bool,
        lateness_s: float = 0.0,
    ) -> Cycle:
        """Plan until ``deadline_ns`` (see `cadence.plan_budget_ns`), from the belief at its measurement time.

        ``following``: the guard samples this planner's plans now (else the newest applied command holds). Whatever goes
        wrong is the failure of the cycle, which then falls back.
        """
        begun, until_ns = self._clock.now_ns(), self._pace.deadline_ns(deadline_ns, following)
        try:
            attempt = self._attempt(deadline_ns, until_ns, belief, history, goal, following)
        except Exception as error:  # of whatever kind: it costs this cycle, and not the process that moves the arm
            attempt = self._failed(error)
        return self._concluded(cycle, deadline_ns, begun, attempt, lateness_s)

    def go_on(self, cycle: int, deadline_ns: int, error: Exception, lateness_s: float = 0.0) -> Cycle:
        """A cycle that ``error`` ended before it came to `plan`: it falls back like any other."""
        return self._concluded(cycle, deadline_ns, self._clock.now_ns(), self._failed(error), lateness_s)

    def prepare(self) -> None:
        """What the next cycle needs and no new measurement changes; to be called when a cycle's plan is published.

        Preparation and feedback phases: Diehl, Bock and Schloeder, SIAM J. Control Optim. 43 (2005).
        """
        if self._model is None:
            return
        try:
            self._prepare(self._model.step)
        except Exception as error:  # of whatever kind: the next cycle tells it, and falls back
            self._unprepared = Unexpected(error)
            self._begin_anew()

    @property
    def disturbance(self) -> Array:
        """[J] N m that the model does not predict, as estimated; zero for an arm that takes velocities."""
        return self._observers.pushed

    @property
    def delay_s(self) -> float:
        """From command to motion, as the next cycle compensates it."""
        return self._grid.delay_ns * 1e-9

    @property
    def delay(self) -> CompensatedDelay:
        """What is compensated beside what the motion shows, for the diagnostics."""
        return self._observers.delay

    @property
    def goal_gap_m(self) -> float:
        """From the tool's goal to where the joint positions found for it put the tool, see `GoalTarget`."""
        return 0.0 if self._model is None else self._goal.gap_m

    @property
    def overloaded(self) -> tuple[str, ...]:
        """Joints whose estimate is at its bound: blocked, or loaded beyond what can be planned with."""
        return self._observers.overloaded

    def _attempt(
        self,
        deadline_ns: int,
        until_ns: int,
        belief: BeliefState,
        history: CommandHistory,
        goal: Goal,
        following: bool,
    ) -> Attempt:
        """To plan for ``deadline_ns``, with iterations that begin until ``until_ns``."""
        assert self._model is not None
        if (fault := self._unprepared) is not None:
            self._unprepared = None
            raise fault
        check_belief(belief)
        if self._observers.see(belief, history, following):
            self._forget()
        plans = self._issued.in_force if following else ()
        start = roll_forward(belief, history, plans, deadline_ns, self._grid, self._model.step, self.disturbance)
        check_start(start)
        rolled = self._clock.now_ns()
        result = self._optimize(start, goal, until_ns)
        optimized = self._clock.now_ns()
        if result is None:
            ended = BudgetEnded("the budget ended before the first iteration")
            return Attempt(None, None, rolled, optimized, ended)
        return Attempt(self._assemble(belief, start, result), result, rolled, optimized, None)

    def _concluded(self, cycle: int, deadline_ns: int, begun: int, attempt: Attempt, lateness_s: float) -> Cycle:
        if self._model is None:
            raise ValueError("no model yet: call use() before plan()")
        plan, failure = attempt.plan, attempt.failure
        if plan is None:
            try:
                plan = self._issued.fall_back(deadline_ns, self._clock.now_ns(), self._model.dt_s, self._stop)
            except Exception as error:  # without any plan the guard brakes
                failure = Unexpected(error, after=failure)
        timing = Timing(begun, attempt.rolled_ns, attempt.optimized_ns, self._clock.now_ns(), lateness_s)
        told = (self._config.label, self._model.rollouts, self.delay_s, self.goal_gap_m)
        source = Source(self._model.model_id, *told)
        report = report_of(cycle, source, plan, attempt.result, timing, deadline_ns, self._observers.torque)
        return Cycle(plan, report, failure, self._pace.tried and attempt.result is not None)

    def _failed(self, error: Exception) -> Attempt:
        now, failure = self._clock.now_ns(), named(error)
        if isinstance(failure, Unexpected):
            self._begin_anew()
        return Attempt(None, None, now, now, failure)

    def _begin_anew(self) -> None:
        """Nothing is kept that a cycle may have left half done; what pushes the arm still does."""
        self._observers.overlook()
        self._best: tuple[StartState, Best] | None = None
        self._last: Array | None = None
        self._warm.forget()
        if self._model is not None:
            self._goal.forget()

    def _prepare(self, step: StepModel) -> None:
        self._goal.refine()
        self._grid = self._observers.learn(self._grid, step)
        if self._best is not None:
            start, best = self._best
            remembered = self._proposer.remember(self._pose(start), start.first_knot, best)
            self._last = remembered.rows
            self._warm.settle(remembered.rest)

    def _forget(self) -> None:
        """The disturbance, and what was planned with it."""
        self._best = self._last = None
        self._warm.change(self.disturbance)
        self._observers.forget()

    def _optimize(self, start: StartState, goal: Goal, deadline_ns: int) -> Result | None:
        assert self._model is not None
        pose = self._pose(start)
        if not self._goal.holds(goal):
            self._goal.take(goal, pose[0], start.start_ns + self._grid.delay_ns)
        ahead = self._goal.ahead(start.start_ns + self._grid.delay_ns)
        propose = self._propose(start, pose, ahead.target)
        weights, trust = self._weights[goal.kind], self._trust
        problem = Problem(
            self._model.evaluator,
            self._model.derivatives,
            start.state,
            start.first_knot,
            Objective(ahead.tool, ahead.joint, weights, trust, self._obstacles),
            replace(self._proposer.limits, middle=self.disturbance),
            weights[self._model.evaluator.term_names.index("smoothness")] * self._per_command**2,
            *self._proposer.spread(pose[0], ahead.target),
        )
        budget = (self._clock, deadline_ns, self._generator, self._pace.longest)
        begin = self._warm.begin(self._method, start.start_ns, self._grid.dt_ns, self._proposer.along(ahead.target))
        result = self._optimizer(problem, self._method, begin, propose, self._settings, *budget)
        if result is not None:
            self._warm.keep(result, start.start_ns)
            self._best = (start, result.best)
            self._pace.take(result.longest)
        return result

    def _propose(self, start: StartState, pose: tuple[Array, Array], target: Target) -> Proposer:
        """Informed samples, where the settings want any."""
        if self._config.informed:
            last = self._last
            moved = None if last is None else self._warm.moved(last, start.start_ns, self._grid.dt_ns)
            return self._proposer.begin(pose, start.first_knot, target, moved)
        nothing = np.zeros((0, *target.position.shape))
        return lambda _: nothing

    def _pose(self, start: StartState) -> tuple[Array, Array]:
        """Position and velocity [J]."""
        joints = self._arm.joints
        return start.state[:joints], start.state[joints : 2 * joints]

    def _assemble(self, belief: BeliefState, start: StartState, result: Result) -> Plan:
        assert self._model is not None
        complete = result.converged or result.iterations == self._settings.iterations
        which = (self._clock.now_ns(), self._issued.epoch, self._issued.next_sequence)
        issue = Issue(*which, complete, self._model.model_id, self._model.dt_s)
        plan = optimized_plan(self._arm, issue, belief, start, result, self.disturbance)
        self._issued.add(plan)
        return plan

    def _stop(self, position: Array, velocity: Array, first: Array) -> Stop:
        """Of an arm that the disturbance pushes, too: what acts in all comes to rest, the commands are without it."""
        pushed, limits = self.disturbance, self._proposer.limits
        stop = self._proposer.stop(position, velocity, first + pushed)
        return replace(stop, knots=project((stop.knots - pushed)[None], first, limits)[0])
