"""Plans at a fixed rate with the announced bundle: belief, applied commands and goal in; plan and report out.

A newly announced bundle loads in a thread of its own; the switch is between two cycles. Without a goal the
planner holds the posture it found when the guard was armed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mbrl_msgs.msg import Plan as PlanMsg
from mbrl_msgs.msg import PlannerReport, SafetyStatus

from mbrl_control.cadence import Tick, plan_budget_ns
from mbrl_control.planner_model import opening_of
from mbrl_control.planning.config import PlannerConfig, read_config
from mbrl_control.planning.cycle import Cycle, NotReady, named, without_plan
from mbrl_control.planning.planner import Planner
from mbrl_control.planning.watch import CycleWatch
from mbrl_control.signals import BeliefState
from mbrl_nodes.arm_parameters import arm_of, declare_arm
from mbrl_nodes.convert import plan_to_msg, report_to_msg
from mbrl_nodes.goal_input import GoalInput
from mbrl_nodes.model_input import ModelInput
from mbrl_nodes.plan_inputs import PlanInputs
from mbrl_nodes.polled import Polled
from mbrl_nodes.runtime import LATCHED_QOS, STATE_QOS, GraphNode, run

UNMET_M = 0.005
"""Beyond what the pull to the preferred posture leaves."""
NO_BELIEF = "no belief has come yet; look at state_estimator, and whether joint_states arrive"


class MpcPlanner(GraphNode):
    """One control thread; callbacks only hand over values."""

    def __init__(self) -> None:
        super().__init__("mpc_planner")
        declare_arm(self)
        self.declare("settings", "", "planner settings YAML; empty: defaults")
        self.declare("seed", 0, "seed of the random samples", (0, 2**31 - 1))
        self._watch = CycleWatch()

    def setup(self) -> None:
        self._arm = arm_of(self)
        settings = self.get_parameter("settings").value
        self._config = read_config(Path(settings)) if settings else PlannerConfig()
        seed = self.get_parameter("seed").value
        self._planner = Planner(self._arm, self._config, self.graph_clock, np.random.default_rng(seed))
        self._plans = self.create_publisher(PlanMsg, "plan", STATE_QOS)
        self._reports = self.create_publisher(PlannerReport, "planner_report", STATE_QOS)
        self._inputs = PlanInputs(self, self._arm)
        self._goals = GoalInput(self, self._arm)
        self._statuses = Polled(self, SafetyStatus, "safety_status", LATCHED_QOS)
        opening = opening_of(self._config, seed)
        self._models = ModelInput(self, self._arm, self._config, opening, self._planner, self._watch)

    def start(self) -> None:
        self._planner.activate()
        self._goals.forget()
        self._watch.begin()
        self.run_control(round(self._config.period_s * 1e9), self._tick)

    def diagnose(self) -> dict[str, str]:
        for fault in self._watch.untold():
            self.get_logger().error("a cycle failed as nobody foresaw:\n" + fault.trace())
        refused = {"refused_goals": str(self._goals.refused), "refused_messages": str(self._inputs.refused)}
        return self._models.facts() | refused | self._watch.facts() | self._planner.delay.facts()

    def warning(self) -> str:
        unrefined = self._watch.unrefined() if self._config.derivatives else ""
        return "; ".join(filter(None, (self._goals.refusal, self._planner.delay.doubt(), unrefined)))

    def trouble(self) -> str:
        if joints := ", ".join(self._planner.overloaded):
            return (
                f"{joints}: more torque acts there than the planner may make up for: blocked, or a load that nobody "
                "declared; stop and look"
            )
        if trouble := self._watch.trouble(self.now_ns()):
            return trouble
        if (gap_m := self._planner.goal_gap_m) > UNMET_M:
            return f"the goal cannot be met: the nearest joint position found leaves the tool {1e3 * gap_m:.0f} mm away"
        return self._goals.overtaken(self._inputs.armed_ns)

    def _tick(self, tick: Tick) -> None:
        ready = self._models.ready
        cycle = self._whatever_happens(ready, tick)
        try:
            self._publish(cycle, tick)
            if ready:
                self._afterwards()
        except Exception as error:  # of whatever kind: it costs a cycle, and not the process that moves the arm
            self._watch.stumble(named(error))

    def _whatever_happens(self, ready: bool, tick: Tick) -> Cycle:
        try:
            return self._cycle(ready, tick)
        except Exception as error:  # the same: the last plan's rest goes out, where there is any
            failure = named(error)
        try:
            if ready:
                return self._planner.go_on(tick.index, self._due_ns(tick), failure, tick.lateness_ns * 1e-9)
        except Exception as error:  # without any plan the guard brakes
            failure = named(error)
        return self._without_plan(failure, tick)

    def _afterwards(self) -> None:
        """Outside the budget: the next cycle finds most messages read already, and a new model in its place."""
        self._inputs.take()
        self._models.exchange()
        self._planner.prepare()

    def _cycle(self, ready: bool, tick: Tick) -> Cycle:
        belief = self._inputs.take()
        if not ready:
            # Before the first model the planner belongs to whoever brings it.
            return self._without_plan(NotReady(self._watch.no_model), tick)
        if belief is None:
            return self._without_plan(NotReady(NO_BELIEF), tick)
        self._obey_cap()
        return self._planned(belief, tick)

    def _planned(self, belief: BeliefState, tick: Tick) -> Cycle:
        return self._planner.plan(
            tick.index,
            self._due_ns(tick),
            belief,
            self._inputs.history,
            self._goals.in_force(self._inputs.armed_ns, belief),
            self._inputs.following,
            tick.lateness_ns * 1e-9,
        )

    def _without_plan(self, failure: Exception, tick: Tick) -> Cycle:
        late_s = tick.lateness_ns * 1e-9
        return without_plan(tick.index, self._due_ns(tick), self.now_ns(), late_s, self._config.label, failure)

    def _due_ns(self, tick: Tick) -> int:
        return tick.deadline_ns + plan_budget_ns(round(self._config.period_s * 1e9))

    def _obey_cap(self) -> None:
        """The guard may allow less speed than the settings: a payload was declared, or the robot scales its own."""
        status = self._statuses.newest()
        if status is None:
            return
        if 0.0 < status.speed_scale <= 1.0:
            self._planner.cap_speed(status.speed_scale)
        else:
            self._inputs.refuse(f"safety_status: speed_scale: {status.speed_scale} is not in (0, 1]")

    def _publish(self, cycle: Cycle, tick: Tick) -> None:
        if cycle.plan is not None:
            self._plans.publish(plan_to_msg(cycle.plan))
        published_ns = self.now_ns()
        self._watch.take(cycle, published_ns, tick.skipped)
        self._reports.publish(report_to_msg(cycle.report, cycle.plan, published_ns, tick.skipped, cycle.reason))


def main() -> None:
    run(MpcPlanner)


if __name__ == "__main__":
    main()
