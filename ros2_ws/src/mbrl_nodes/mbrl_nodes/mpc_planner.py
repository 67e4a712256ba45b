"""Plans at a fixed rate with the announced bundle: belief, applied commands and goal in; plan and report out.

A newly announced bundle loads in a thread of its own; the switch is between two cycles. Without a goal the
planner holds the posture it found when the guard was armed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from mbrl_msgs.msg import ModelStatus, PlannerReport, SafetyStatus
from mbrl_msgs.msg import Plan as PlanMsg

from mbrl_control.cadence import Tick, plan_budget_ns
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.evaluator import load_model
from mbrl_control.deployment.layout_choice import LayoutChoice, load_measured
from mbrl_control.deployment.slot import ModelSlot
from mbrl_control.planner_model import opening_of, planning_model
from mbrl_control.planning.config import PlannerConfig, PlannerConfigError, read_config
from mbrl_control.planning.cycle import Cycle
from mbrl_control.planning.planner import Planner
from mbrl_control.scheduling import keep_garbage_short
from mbrl_control.signals import BeliefState, PlanOutcome
from mbrl_nodes.arm_parameters import arm_of, declare_arm
from mbrl_nodes.convert import plan_to_msg, report_to_msg
from mbrl_nodes.goal_input import GoalInput
from mbrl_nodes.plan_inputs import PlanInputs
from mbrl_nodes.polled import Polled
from mbrl_nodes.runtime import LATCHED_QOS, MODEL_QOS, STATE_QOS, GraphNode, run

UNMET_M = 0.005
"""Beyond what the pull to the preferred posture leaves."""


class MpcPlanner(GraphNode):
    """One control thread; callbacks only hand over values."""

    def __init__(self) -> None:
        super().__init__("mpc_planner")
        declare_arm(self)
        self.declare("settings", "", "planner settings YAML; empty: defaults")
        self.declare("seed", 0, "seed of the random samples", (0, 2**31 - 1))
        self._slot: ModelSlot | None = None
        self._layout: LayoutChoice | None = None
        self._counts = {"cycles": 0, "skipped": 0, "refined": 0, "refused_models": 0}
        self._outcomes = dict.fromkeys(PlanOutcome, 0)
        self._last_failure = ""

    def setup(self) -> None:
        self._arm = arm_of(self)
        settings = self.get_parameter("settings").value
        self._config = read_config(Path(settings)) if settings else PlannerConfig()
        generator = np.random.default_rng(self.get_parameter("seed").value)
        self._planner = Planner(self._arm, self._config, self.graph_clock, generator)
        self._plans = self.create_publisher(PlanMsg, "plan", STATE_QOS)
        self._reports = self.create_publisher(PlannerReport, "planner_report", STATE_QOS)
        self._inputs = PlanInputs(self, self._arm)
        self._goals = GoalInput(self, self._arm)
        self._statuses = Polled(self, SafetyStatus, "safety_status", LATCHED_QOS)
        self.create_subscription(ModelStatus, "model_status", self._on_model, MODEL_QOS)

    def start(self) -> None:
        self._planner.activate()
        self._goals.forget()
        self.run_control(round(self._config.period_s * 1e9), self._tick)

    def diagnose(self) -> dict[str, str]:
        model = "none" if self._slot is None else self._slot.current.model_id
        facts = {"model": model, "rollouts": str(self._layout), "refused_goals": str(self._goals.refused)}
        facts |= {"refused_messages": str(self._inputs.refused)}
        facts |= {name: str(value) for name, value in self._counts.items()}
        facts |= {f"cycles_{outcome.name.lower()}": str(count) for outcome, count in self._outcomes.items() if count}
        return facts | {"last_failure": self._last_failure}

    def trouble(self) -> str:
        if joints := ", ".join(self._planner.overloaded):
            return (
                f"{joints}: more torque acts there than the planner may make up for: blocked, or a load that nobody "
                "declared; stop and look"
            )
        if (gap_m := self._planner.goal_gap_m) > UNMET_M:
            return f"the goal cannot be met: the nearest joint position found leaves the tool {1e3 * gap_m:.0f} mm away"
        return self._goals.overtaken(self._inputs.armed_ns)

    def _tick(self, tick: Tick) -> None:
        belief = self._inputs.take()
        self._counts["skipped"] += tick.skipped
        if self._slot is None:
            return
        self._obey_cap()
        if belief is not None:
            self._publish(self._cycle(belief, tick), tick)
        # Outside the budget: the next cycle finds most messages read already, and a new model in its place.
        self._inputs.take()
        self._swap(self._slot)
        self._planner.prepare()

    def _cycle(self, belief: BeliefState, tick: Tick) -> Cycle:
        return self._planner.plan(
            tick.index,
            tick.deadline_ns + plan_budget_ns(round(self._config.period_s * 1e9)),
            belief,
            self._inputs.history,
            self._goals.in_force(self._inputs.armed_ns, belief),
            self._inputs.following,
            tick.lateness_ns * 1e-9,
        )

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
        self._counts["cycles"] += 1
        self._counts["refined"] += cycle.report.refined
        self._outcomes[cycle.report.outcome] += 1
        self._last_failure = cycle.reason or self._last_failure
        self._reports.publish(report_to_msg(cycle.report, cycle.plan, self.now_ns(), tick.skipped, cycle.reason))

    def _on_model(self, message: ModelStatus) -> None:
        if message.status != ModelStatus.ACTIVE:
            return
        if self._slot is not None:
            self._slot.request(Path(message.path), message.manifest_sha256)
            return
        try:
            # The first one is loaded here, at this node's own priority: it has no plan yet that this could delay.
            announced = (Path(message.path), self._arm, message.manifest_sha256)
            wanted = opening_of(self._config, self.get_parameter("seed").value)
            first, opening, self._layout = load_measured(*announced, wanted, self.graph_clock)
            self._planner.use(planning_model(first, self._config))
        except (BundleError, PlannerConfigError) as error:
            self._refuse_model(str(error))
            return
        if self._layout.without_cuda:
            self.get_logger().warning(f"rollouts run on the processor: {self._layout.without_cuda}")
        keep_garbage_short()
        # From here on the control thread plans.
        self._slot = ModelSlot(first, self._arm, partial(load_model, opening=opening))

    def _swap(self, slot: ModelSlot) -> None:
        result = slot.swap()
        if result is None:
            return
        if result.refused:
            self._refuse_model(result.refused)
            return
        try:
            self._planner.use(planning_model(slot.current, self._config))
        except (BundleError, PlannerConfigError) as error:
            slot.rollback()
            self._refuse_model(str(error))

    def _refuse_model(self, reason: str) -> None:
        self._counts["refused_models"] += 1
        self.get_logger().error(f"model refused: {reason}")


def main() -> None:
    run(MpcPlanner)


if __name__ == "__main__":
    main()
