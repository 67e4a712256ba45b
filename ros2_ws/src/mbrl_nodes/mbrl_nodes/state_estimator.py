"""Joint states in, belief at measurement time out."""

from __future__ import annotations

from mbrl_msgs.msg import BeliefState as BeliefMsg
from sensor_msgs.msg import JointState

from mbrl_control.estimation.joint_filter import FilterEvent, JointFilter, config_for
from mbrl_control.robot import load_arm
from mbrl_nodes.convert import JointNameError, belief_to_msg, sample_from_joint_state
from mbrl_nodes.runtime import STATE_QOS, GraphNode, run


class StateEstimator(GraphNode):
    """One belief per usable sample, published from the callback that brought the sample."""

    def __init__(self) -> None:
        super().__init__("state_estimator")
        self.declare("arm", "", "arm description YAML")
        self.declare("state_period", 0.004, "s, expected period of joint_states", (0.0005, 0.1))
        self._events = dict.fromkeys(FilterEvent, 0)
        self._unnamed = self._published = 0
        self._active = False

    def setup(self) -> None:
        self._arm = load_arm(self.get_parameter("arm").value)
        config = config_for(self._arm.noise, self.get_parameter("state_period").value)
        self._filter = JointFilter(self._arm.joint_names, config)
        self._state = self._filter.initial()
        self._beliefs = self.create_publisher(BeliefMsg, "belief", STATE_QOS)
        self.create_subscription(JointState, "joint_states", self._on_state, STATE_QOS)

    def start(self) -> None:
        self._active = True

    def stop(self) -> None:
        self._active = False

    def diagnose(self) -> dict[str, str]:
        return {event.name.lower(): str(count) for event, count in self._events.items()} | {"unnamed": str(self._unnamed)}

    def _on_state(self, message: JointState) -> None:
        if not self._active:
            return
        try:
            sample = sample_from_joint_state(message, self._arm.joint_names)
        except JointNameError as error:
            self._unnamed += 1
            self.get_logger().error(str(error), throttle_duration_sec=1.0)
            return
        self._state, belief, event = self._filter.update(self._state, sample)
        self._events[event] += 1
        if belief is None:
            return
        self._published += 1
        outgoing = belief_to_msg(belief, self._arm.joint_names)
        outgoing.sequence = self._published
        outgoing.gaps = self._state.gaps
        outgoing.dropped = self._state.dropped
        self._beliefs.publish(outgoing)


def main() -> None:
    run(StateEstimator)


if __name__ == "__main__":
    main()
