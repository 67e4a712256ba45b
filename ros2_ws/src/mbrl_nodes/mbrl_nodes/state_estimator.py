"""joint_states -> belief at measurement time. One belief per accepted sample; nothing is predicted ahead."""

from __future__ import annotations

from mbrl_msgs.msg import BeliefState as BeliefMsg
from sensor_msgs.msg import JointState

from mbrl_control.cadence import Tick
from mbrl_control.estimation.joint_filter import FilterEvent, JointFilter, config_for
from mbrl_nodes.arm_parameters import arm_of, declare_arm
from mbrl_nodes.convert import JointNameError, belief_to_msg, sample_from_joint_state
from mbrl_nodes.patience import LOOKS, Patience
from mbrl_nodes.polled import Polled
from mbrl_nodes.runtime import EVERY_MESSAGE_QOS, STATE_QOS, GraphNode, run

POLLS_PER_PERIOD = 1
"""A belief comes at most one sensor period after its sample; the planner works with the sample's time."""


class StateEstimator(GraphNode):
    """Thin: the filter is a pure function, this node holds its state."""

    def __init__(self) -> None:
        super().__init__("state_estimator")
        declare_arm(self)
        self.declare("state_period", 0.004, "s, nominal period of joint_states", (0.0005, 0.1))
        self.declare(
            "state_topic", "joint_states", "measured state of the arm; Franka's fast one is franka/joint_states"
        )
        self._published = 0
        self._refused = 0
        self._heard = False
        """Since the last look."""
        self._patience = Patience()

    def setup(self) -> None:
        arm = arm_of(self)
        self._names = arm.joint_names
        self._filter = JointFilter(arm.joint_names, config_for(arm.noise, self.get_parameter("state_period").value))
        self._state = self._filter.initial()
        self._beliefs = self.create_publisher(BeliefMsg, "belief", STATE_QOS)
        self._topic = self.resolve_topic_name(self.get_parameter("state_topic").value)
        self._samples = Polled(self, JointState, self._topic, EVERY_MESSAGE_QOS)

    def start(self) -> None:
        self._state = self._filter.initial()
        self._samples.drain()
        period_ns = round(self.get_parameter("state_period").value * 1e9)
        self.run_control(period_ns // POLLS_PER_PERIOD, self._tick)

    def trouble(self) -> str:
        heard, self._heard = self._heard, False
        if not self._patience.ends(heard):
            return ""
        return f"no joint_states on {self._topic} for {LOOKS} s: start the robot's driver, or set state_topic"

    def diagnose(self) -> dict[str, str]:
        return {"published": str(self._published), "refused": str(self._refused)}

    def _tick(self, _: Tick) -> None:
        for message in self._samples.drain():
            self._heard = True
            self._estimate(message)

    def _estimate(self, message: JointState) -> None:
        try:
            sample = sample_from_joint_state(message, self._names)
        except JointNameError as error:
            self._refuse(str(error))
            return
        self._state, belief, event = self._filter.update(self._state, sample)
        if event == FilterEvent.REFUSED:
            self._refuse("joint_states: a value is not finite")
        if belief is None:
            return
        self._published += 1
        out = belief_to_msg(belief, self._names)
        out.sequence, out.dropped, out.gaps = self._published, self._state.dropped, self._state.gaps
        self._beliefs.publish(out)

    def _refuse(self, reason: str) -> None:
        self._refused += 1
        self.get_logger().error(reason, throttle_duration_sec=1.0)


def main() -> None:
    run(StateEstimator)


if __name__ == "__main__":
    main()
