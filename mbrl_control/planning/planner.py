"""One planner cycle: roll forward -> optimize -> plan; or the last plan, shifted; or a named failure.

All state between cycles lives in `Planner`: warm start, pace, plans in force, posture guess, disturbance, numbering.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np

from mbrl_control.cadence import Clock
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.compensated_delay import CompensatedDelay
from mbrl_control.planning.config import PlannerConfig, PlannerConfigError
from mbrl_control.planning.cycle import BudgetEnded, Cycle, Source, Timing, report_of, start_variance
from mbrl_control.planning.disturbance import DisturbanceObserver, observes
from mbrl_control.planning.fallback import Stop, fallback_plan
from mbrl_control.planning.finite import NonFiniteBelief, NonFiniteStart, check_belief, check_start
from mbrl_control.planning.goal_target import GoalTarget
from mbrl_control.planning.limits import project
from mbrl_control.planning.methods.choice import method_of, refiner_of
from mbrl_control.planning.optimize import AllScoresInvalid, Optimizer, Proposer, Result, Settings, optimize
from mbrl_control.planning.pace import Pace
from mbrl_control.planning.problem import Best, Problem
from mbrl_control.planning.proposals import Target
from mbrl_control.planning.protocol import (
    UNLIMITED,
    Derivatives,
    ModelFailed,
    Objective,
    RolloutEvaluator,
    StepModel,
)
from mbrl_control.planning.rollforward import StaleBelief, StartState, TimeGrid, roll_forward
from mbrl_control.planning.tracks import proposer_for
from mbrl_control.planning.warm_start import WarmStart
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, BeliefState, CommandInterface, Goal, GoalKind, Plan, PlanOutcome


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
        self._observer = DisturbanceObserver(arm, config.disturbance_settle_s) if observes(arm, config) else None
        self.delay = CompensatedDelay(arm, config.delay_window_s)
        self._seen: tuple[BeliefState, CommandHistory] | None = None
        self._warm = WarmStart(arm.joints, config.warm_elites)
        self.activate()

    def activate(self) -> None:
        """Forget the past and begin a new epoch (it grows with time, so it is newer than any before)."""
        self._epoch = self._clock.now_ns()
        self._sequence = 0
        self._warm.forget()
        self._best: tuple[StartState, Best] | None = None
        self._last: Array | None = None
        self._in_force: tuple[Plan, ...] = ()
        self._fallbacks = 0
        self._forget()
        if self._model is not None:
            self._goal.forget()

    def use(self, model: PlanningModel) -> None:
        """Switch to another model, between two cycles. The warm start is kept: it is a guess, scored anew.

        Raises PlannerConfigError when the period fits neither dt nor dt / 2.
        """
        period = self._config.period_s
        if not any(abs(period - allowed) < 1e-9 for allowed in (model.dt_s, model.dt_s / 2)):
            raise PlannerConfigError(
                f"planner settings: field 'period_s': {period} s fits no grid of {model.model_id}; "
                f"set it to {model.dt_s} or {model.dt_s / 2}"
            )
        if self._config.derivatives and model.derivatives is None:
            raise PlannerConfigError(f"planner settings: field 'method': {model.model_id} is open without derivatives")
        horizon = model.evaluator.horizon
        weights = {kind: self._config.weights(kind, model.evaluator.term_names) for kind in GoalKind}
        proposer, method = proposer_for(self._arm, self._config, horizon, model.dt_s), method_of(self._config, horizon)
        # Nothing is refused from here on: a refused model leaves the one in use as it was.
        self._proposer, self._method, self._weights = proposer, method, weights
        self._proposer.cap(self._speed_share)
        if self._model is None or not self._goal.fits(horizon, model.dt_s):
            self._goal = GoalTarget(self._arm, self._config.posture_pull, horizon, model.dt_s)
        self._forget()
        self._pace.begin_model()
        self._grid = TimeGrid(
            dt_ns=round(model.dt_s * 1e9),
            delay_ns=self.delay.use(round(model.dt_s * 1e9), round(model.delay_s * 1e9)),
            past=model.past,
            command_period_ns=round(self._config.command_period_s * 1e9),
        )
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

        ``following``: the guard samples this planner's plans now (else the newest applied command holds).
        """
        if self._model is None:
            raise ValueError("no model yet: call use() before plan()")
        begun = self._clock.now_ns()
        plans = self._in_force if following else ()
        try:
            check_belief(belief)
            self._see(belief, history, following)
            start = roll_forward(belief, history, plans, deadline_ns, self._grid, self._model.step, self.disturbance)
            check_start(start)
            rolled = self._clock.now_ns()
            result = self._optimize(start, goal, self._pace.deadline_ns(deadline_ns, following))
            failure: Exception | None = BudgetEnded("the budget ended before the first iteration")
        except (NonFiniteBelief, NonFiniteStart, StaleBelief, AllScoresInvalid, ModelFailed) as error:
            # Without its traceback: that would hold this frame, which holds it, until the collector comes by.
            start, result, rolled, failure = None, None, self._clock.now_ns(), error.with_traceback(None)
        optimized = self._clock.now_ns()
        if start is not None and result is not None:
            plan: Plan | None = self._assemble(belief, start, result)
            self._fallbacks, failure = 0, None
        else:
            plan = self._fallback(deadline_ns)
        timing = Timing(begun, rolled, optimized, self._clock.now_ns(), lateness_s)
        disturbance = None if self._observer is None else self._observer.torque
        told = (self._config.label, self._model.rollouts, self.delay_s, self.goal_gap_m)
        source = Source(self._model.model_id, *told)
        report = report_of(cycle, source, plan, result, timing, deadline_ns, disturbance)
        return Cycle(plan, report, failure)

    def prepare(self) -> None:
        """What the next cycle needs and no new measurement changes; to be called when a cycle's plan is published.

        Preparation and feedback phases: Diehl, Bock and Schloeder, SIAM J. Control Optim. 43 (2005).
        """
        if self._model is None:
            return
        self._goal.refine()
        if self._seen is not None:
            # A model that fails here fails in the next cycle, too, and there it has a fallback and a reason.
            with suppress(ModelFailed):
                self._learn(*self._seen, self._model.step)
            self._seen = None
        if self._best is not None:
            start, best = self._best
            self._last = self._proposer.remember(self._pose(start), start.first_knot, best)

    @property
    def disturbance(self) -> Array:
        """[J] N m that the model does not predict, as estimated; zero for an arm that takes velocities."""
        return np.zeros(self._arm.joints) if self._observer is None else self._observer.torque

    @property
    def delay_s(self) -> float:
        """From command to motion, as the next cycle compensates it."""
        return self._grid.delay_ns * 1e-9

    @property
    def goal_gap_m(self) -> float:
        """From the tool's goal to where the joint positions found for it put the tool, see `GoalTarget`."""
        return 0.0 if self._model is None else self._goal.gap_m

    @property
    def overloaded(self) -> tuple[str, ...]:
        """Joints whose estimate is at its bound: blocked, or loaded beyond what can be planned with."""
        if self._observer is None:
            return ()
        return tuple(compress(self._arm.joint_names, self._observer.saturated))

    def _learn(self, belief: BeliefState, history: CommandHistory, step: StepModel) -> None:
        """What acts besides the commands, and how late they act."""
        delay_ns = self.delay.observe(belief, history, self._grid, step, self.disturbance)
        if self._observer is not None:
            self._observer.observe(belief, history, self._grid, step)
        self._grid = replace(self._grid, delay_ns=delay_ns)

    def _see(self, belief: BeliefState, history: CommandHistory, following: bool) -> None:
        """What `prepare` takes in; an arm that follows no plan may be held by brakes, which is no disturbance."""
        self._seen = (belief, history) if following else None
        if not following:
            self.delay.pause()
        if not following and self._observer is not None and self._observer.pause(belief.stamp_ns):
            self._forget()

    def _forget(self) -> None:
        """The disturbance, and what was planned with it."""
        self._seen = self._best = self._last = None
        if self._observer is not None:
            self._warm.change(self._observer.torque)
            self._observer.forget()

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
        begin = self._warm.begin(self._method, start.start_ns, self._grid.dt_ns, self.disturbance)
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
        joints = len(self._arm.joint_names)
        best, state, pushed = result.best, start.state, self.disturbance
        self._sequence += 1
        complete = result.converged or result.iterations == self._settings.iterations
        plan = Plan(
            stamp_ns=self._clock.now_ns(),
            start_ns=start.start_ns,
            belief_stamp_ns=belief.stamp_ns,
            optimized_stamp_ns=result.finished_ns,
            epoch=self._epoch,
            sequence=self._sequence,
            outcome=PlanOutcome.OPTIMIZED if complete else PlanOutcome.BUDGET_ENDED,
            model_id=self._model.model_id,
            joint_names=self._arm.joint_names,
            times=np.arange(len(best.knots) + 1, dtype=np.float64) * self._model.dt_s,
            knots=np.vstack([start.first_knot, best.knots]) - pushed,
            position=np.vstack([state[:joints], best.position]),
            velocity=np.vstack([state[joints : 2 * joints], best.velocity]),
            effort=np.vstack([best.effort[:1], best.effort]) - pushed,
            variance=np.vstack([start_variance(belief, best), best.variance]),
            epistemic=np.concatenate([[0.0], best.epistemic]),
            interface=self._arm.interface,
        )
        self._remember(plan)
        return plan

    def _fallback(self, deadline_ns: int) -> Plan | None:
        """See `fallback_plan`, under a new sequence."""
        assert self._model is not None
        now, last = self._clock.now_ns(), self._in_force[-1] if self._in_force else None
        times = (max(now, deadline_ns), now)
        plan = fallback_plan(last, self._fallbacks, *times, self._sequence + 1, self._model.dt_s, self._stop)
        self._fallbacks += 1
        if plan is not None:
            self._sequence += 1
            self._remember(plan)
        return plan

    def _stop(self, position: Array, velocity: Array, first: Array) -> Stop:
        """Of an arm that the disturbance pushes, too: what acts in all comes to rest, the commands are without it."""
        pushed, limits = self.disturbance, self._proposer.limits
        stop = self._proposer.stop(position, velocity, first + pushed)
        return replace(stop, knots=project((stop.knots - pushed)[None], first, limits)[0])

    def _remember(self, plan: Plan) -> None:
        """Plans that the guard may still be following: those whose successor has not started a while ago."""
        self._in_force = (*self._in_force, plan)[-4:]
