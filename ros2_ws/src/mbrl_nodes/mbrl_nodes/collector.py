"""Publishes safe excitation as plans, in the planner's place and at its rate: the guard treats both alike."""

from __future__ import annotations

import numpy as np
from mbrl_msgs.msg import Plan as PlanMsg

from mbrl_control.cadence import Tick
from mbrl_control.planning.excitation import Excitation, ExcitationConfig
from mbrl_control.planning.rollforward import StaleBelief
from mbrl_nodes.arm_parameters import arm_of, declare_arm
from mbrl_nodes.convert import plan_to_msg
from mbrl_nodes.plan_inputs import PlanInputs
from mbrl_nodes.runtime import STATE_QOS, GraphNode, run

BUDGET = 0.5
"""Of a period, as the planner's; excitation needs a fraction of it, so a late wake-up still makes the deadline."""


class Collector(GraphNode):
    """One control thread; never active beside the planner."""

    def __init__(self) -> None:
        super().__init__("collector")
        declare_arm(self)
        self.declare("seed", 0, "seed of the excitation", (0, 2**31 - 1))
        self.declare("speed_scale", 0.5, "share of the rated joint speed", (0.01, 1.0))
        self._counts = {"plans": 0, "skipped": 0, "stale_beliefs": 0}

    def setup(self) -> None:
        arm = arm_of(self)
        self._config = ExcitationConfig(speed_scale=self.get_parameter("speed_scale").value)
        generator = np.random.default_rng(self.get_parameter("seed").value)
        self._excitation = Excitation(arm, self._config, self.graph_clock, generator)
        self._plans = self.create_publisher(PlanMsg, "plan", STATE_QOS)
        self._inputs = PlanInputs(self, arm)

    def start(self) -> None:
        self._excitation.activate()
        self.run_control(round(self._config.dt_s * 1e9), self._tick)

    def diagnose(self) -> dict[str, str]:
        return {name: str(value) for name, value in self._counts.items()}

    def _tick(self, tick: Tick) -> None:
        belief = self._inputs.take()
        self._counts["skipped"] += tick.skipped
        if belief is None:
            return
        deadline_ns = tick.deadline_ns + round(self._config.dt_s * BUDGET * 1e9)
        try:
            plan = self._excitation.plan(deadline_ns, belief, self._inputs.history, self._inputs.following)
        except StaleBelief:
            self._counts["stale_beliefs"] += 1
            return
        self._plans.publish(plan_to_msg(plan))
        self._counts["plans"] += 1


def main() -> None:
    run(Collector)


if __name__ == "__main__":
    main()
