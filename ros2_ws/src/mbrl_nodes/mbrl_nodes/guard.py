"""The guard's process: 200 Hz on the steady clock, one safe_command per tick in every state."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from mbrl_msgs.msg import ModelStatus, RelayStatus, SafetyStatus
from mbrl_msgs.msg import Plan as PlanMsg
from mbrl_msgs.msg import SafeCommand as SafeCommandMsg
from mbrl_msgs.srv import DeclarePayload, OperatorRequest
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from mbrl_control.cadence import Tick
from mbrl_control.safety.config import GuardConfig
from mbrl_control.safety.guard_for_arm import guard_of
from mbrl_control.safety.state_machine import Event
from mbrl_control.signals import OperatorState, SensorSample
from mbrl_nodes.arm_parameters import arm_of, declare_arm
from mbrl_nodes.convert import (
    JointNameError,
    ns_from_stamp,
    plan_from_msg,
    safe_command_to_msg,
    sample_from_joint_state,
)
from mbrl_nodes.guard_messages import answer, status_to_msg
from mbrl_nodes.polled import Polled
from mbrl_nodes.robot_speed import RobotSpeed
from mbrl_nodes.runtime import COMMAND_QOS, EVERY_MESSAGE_QOS, LATCHED_QOS, MODEL_QOS, STATE_QOS, GraphNode, run

STATUS_TICKS = 10
"""20 Hz."""
REQUESTS = {"arm": Event.ARM, "start": Event.START, "reset": Event.RESET}
ANYONE = {"hold": Event.REQUEST_HOLD, "stop": Event.REQUEST_STOP}


class Guard(GraphNode):
    """Thin: every decision is GuardCore's; calls into it hold ``_lock``."""

    def __init__(self) -> None:
        super().__init__("guard")
        declare_arm(self)
        self.declare("speed_scale", 1.0, "part of the rated joint velocities allowed", (0.05, 1.0))
        self.declare("plan_period", 0.02, "s, period of the planner", (0.01, 0.02))
        self.declare("state_period", 0.004, "s, nominal period of joint_states", (0.0005, 0.013))
        self.declare("operators", ["operator"], "operator ids that may arm, start, reset and declare a payload")
        self.declare(
            "state_topic", "joint_states", "measured state of the arm; Franka's fast one is franka/joint_states"
        )
        self.declare(
            "speed_scaling_topic", "", "std_msgs/Float64 in percent, of the robot itself; empty: there is none"
        )
        self._lock = threading.Lock()
        self._measured: tuple[SensorSample | None, int] = (None, 0)
        self._missed, self._requests, self._has_spread = 0, 0, False
        self._shown: tuple[OperatorState, int] | None = None

    def setup(self) -> None:
        arm = arm_of(self)
        self._names = arm.joint_names
        config = GuardConfig(
            plan_period_s=self.get_parameter("plan_period").value,
            state_period_s=self.get_parameter("state_period").value,
            command_delay_s=arm.sensor_delay_s + arm.command_delay_s,
            operators=tuple(self.get_parameter("operators").value),
        )
        self._period_ns = round(config.tick_s * 1e9)
        # Seconds as the first epoch: a restarted guard never repeats one the relay has latched at.
        epoch = self.now_ns() // 1_000_000_000
        # An unseeded generator: the challenges must not be predictable.
        self._core = guard_of(arm, config, np.random.default_rng(), epoch)
        scale, topic = (self.get_parameter(name).value for name in ("speed_scale", "speed_scaling_topic"))
        self._core.set_speed_scale(scale)
        self._robot_speed = RobotSpeed(self, topic, scale)
        self._commands = self.create_publisher(SafeCommandMsg, "safe_command", COMMAND_QOS)
        self._statuses = self.create_publisher(SafetyStatus, "safety_status", LATCHED_QOS)
        self._connect()

    def _connect(self) -> None:
        self._states = Polled(self, JointState, self.get_parameter("state_topic").value, STATE_QOS)
        self._plans = Polled(self, PlanMsg, "plan", EVERY_MESSAGE_QOS)
        self._relay = Polled(self, RelayStatus, "relay_status", LATCHED_QOS)
        self.create_subscription(ModelStatus, "model_status", self._on_model, MODEL_QOS)
        for name, event in REQUESTS.items():
            self.create_service(OperatorRequest, f"guard/{name}", lambda q, r, e=event: self._on_request(e, q, r))
        for name, event in ANYONE.items():
            self.create_service(Trigger, f"guard/{name}", lambda q, r, e=event: self._on_anyone(e, r))
        self.create_service(DeclarePayload, "guard/declare_payload", self._on_payload)

    def start(self) -> None:
        self.run_control(self._period_ns, self._tick)

    def diagnose(self) -> dict[str, str]:
        return {"missed_ticks": str(self._missed)}

    def _tick(self, tick: Tick) -> None:
        self._read_state()
        with self._lock:
            for message in self._plans.drain():
                self._read_plan(message)
            for message in self._relay.drain():
                self._core.relay_report(message.latched, ns_from_stamp(message.stamp), self.now_ns())
            self._robot_speed.apply(self._core, self.now_ns())
            command = self._core.tick(self.now_ns(), *self._measured)
            status = self._core.status()
        self._missed += tick.skipped
        self._commands.publish(safe_command_to_msg(command, self._names, tick.index, int(status.state)))
        shown = (status.state, status.challenge, self._requests)
        if shown != self._shown or tick.index % STATUS_TICKS == 0:
            self._shown = shown
            self._statuses.publish(status_to_msg(status, self.now_ns(), self._missed, self._has_spread, self._requests))

    def _read_state(self) -> None:
        message = self._states.newest()
        if message is None:
            return
        try:
            self._measured = (sample_from_joint_state(message, self._names), self.now_ns())
        except JointNameError as error:
            # Not taken in: the state grows old, which holds and then stops.
            self.get_logger().error(str(error), throttle_duration_sec=1.0)

    def _read_plan(self, message: PlanMsg) -> None:
        try:
            verdict = self._core.receive_plan(plan_from_msg(message), self.now_ns())
        except ValueError as error:
            verdict = self._core.refuse_plan(str(error), self.now_ns())
        if not verdict.ok:
            self.get_logger().warning(f"plan refused: {verdict.reason}", throttle_duration_sec=1.0)

    def _on_model(self, message: ModelStatus) -> None:
        with self._lock:
            if message.status == ModelStatus.ACTIVE:
                self._has_spread = message.has_spread
                # What is no mass lifts no cap.
                payload = message.payload if 0.0 <= message.payload < 1e3 else 0.0
                self._core.bundle_announced(message.model_id, payload)
            elif message.status == ModelStatus.REJECTED:
                self._core.model_rejected(message.model_id, message.reason, self.now_ns())

    def _on_request(self, event: Event, request: Any, response: Any) -> Any:
        with self._lock:
            reply = self._core.request(event, request.operator_id, request.challenge, self.now_ns())
        return answer(reply, response)

    def _on_anyone(self, event: Event, response: Any) -> Any:
        with self._lock:
            self._requests += 1
            reply = self._core.raise_severity(event, event.value, self.now_ns())
        return answer(reply, response)

    def _on_payload(self, request: Any, response: Any) -> Any:
        with self._lock:
            reply = self._core.declare_payload(request.mass, request.operator_id, request.challenge)
        return answer(reply, response)


def main() -> None:
    run(Guard)


if __name__ == "__main__":
    main()
