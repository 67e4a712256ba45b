"""The guard: 200 Hz, one `safe_command` per tick in every state. All judgement is in mbrl_control.safety.

The executor thread only stores messages and serves operators; the control thread takes everything over at the start
of its tick, so a burst of messages cannot delay one.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np
from mbrl_msgs.msg import ModelStatus, RelayStatus, SafetyStatus
from mbrl_msgs.msg import Plan as PlanMsg
from mbrl_msgs.msg import SafeCommand as SafeCommandMsg
from mbrl_msgs.srv import DeclarePayload, OperatorRequest
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from mbrl_control.cadence import Tick
from mbrl_control.robot import load_arm
from mbrl_control.safety.config import GuardConfig, limits_of
from mbrl_control.safety.guard_core import GuardCore
from mbrl_control.safety.state_machine import Event
from mbrl_control.signals import SensorSample
from mbrl_nodes.convert import (
    JointNameError,
    ns_from_stamp,
    plan_from_msg,
    safe_command_to_msg,
    sample_from_joint_state,
    stamp_from_ns,
)
from mbrl_nodes.runtime import COMMAND_QOS, LATCHED_QOS, STATE_QOS, GraphNode, run

STATUS_TICKS = 10
"""20 Hz of 200 Hz."""


class Guard(GraphNode):
    """Thin shell around GuardCore; ``_lock`` guards the core between the tick and the services."""

    def __init__(self) -> None:
        super().__init__("guard")
        self.declare("arm", "", "arm description YAML; the guard reads its own")
        self.declare("speed_scale", 1.0, "cap on the rated joint speeds", (0.01, 1.0))
        self.declare("operators", ["operator"], "who may arm, start, reset and declare a payload")
        self._lock = threading.Lock()
        self._newest: tuple[JointState, int] | None = None
        self._sample: tuple[SensorSample | None, int] = (None, 0)
        self._plans: deque[tuple[PlanMsg, int]] = deque(maxlen=16)
        self._missed = self._unnamed = 0
        self._has_spread = False
        self._told: Any = None

    def setup(self) -> None:
        self._arm = load_arm(self.get_parameter("arm").value)
        config = GuardConfig(operators=tuple(self.get_parameter("operators").value))
        # Epochs of a restarted guard are newer than those the relay has seen.
        first_epoch = self.now_ns() // 1_000_000_000
        self._core = GuardCore(limits_of(self._arm), config, np.random.default_rng(), first_epoch)
        self._core.set_speed_scale(self.get_parameter("speed_scale").value)
        self._tick_ns = round(config.tick_s * 1e9)
        self._commands = self.create_publisher(SafeCommandMsg, "safe_command", COMMAND_QOS)
        self._statuses = self.create_publisher(SafetyStatus, "safety_status", LATCHED_QOS)
        self.create_subscription(JointState, "joint_states", self._on_state, STATE_QOS)
        self.create_subscription(PlanMsg, "plan", self._on_plan, STATE_QOS)
        self.create_subscription(RelayStatus, "relay_status", self._on_relay, LATCHED_QOS)
        self.create_subscription(ModelStatus, "model_status", self._on_model, LATCHED_QOS)
        for event in (Event.ARM, Event.START, Event.RESET):
            self.create_service(OperatorRequest, f"guard/{event.value}", self._operator_service(event))
        for name, event in (("hold", Event.REQUEST_HOLD), ("stop", Event.REQUEST_STOP)):
            self.create_service(Trigger, f"guard/{name}", self._severity_service(event))
        self.create_service(DeclarePayload, "guard/declare_payload", self._on_payload)

    def start(self) -> None:
        self.run_control(self._tick_ns, self._tick)

    def diagnose(self) -> dict[str, str]:
        return {"state": self._core.state.name, "missed_ticks": str(self._missed), "unnamed": str(self._unnamed)}

    def _tick(self, tick: Tick) -> None:
        self._missed += tick.skipped
        self._read_state()
        with self._lock:
            while self._plans:
                message, received_ns = self._plans.popleft()
                self._core.receive_plan(plan_from_msg(message), received_ns)
            sample, received_ns = self._sample
            command = self._core.tick(self.now_ns(), sample, received_ns)
            status = self._core.status()
        self._commands.publish(safe_command_to_msg(command, self._arm.joint_names, tick.index, int(status.state)))
        told = (status.state, status.reasons, status.epoch, status.payload_kg, status.challenge)
        if told != self._told or tick.index % STATUS_TICKS == 0:
            self._told = told
            self._publish_status(status)

    def _read_state(self) -> None:
        newest, self._newest = self._newest, None
        if newest is None:
            return
        try:
            self._sample = (sample_from_joint_state(newest[0], self._arm.joint_names), newest[1])
        except JointNameError as error:
            # Unusable states show as age: hold, then protective stop.
            self._unnamed += 1
            self.get_logger().error(str(error), throttle_duration_sec=1.0)

    def _publish_status(self, status: Any) -> None:
        self._statuses.publish(
            SafetyStatus(
                stamp=stamp_from_ns(self.now_ns()),
                state=int(status.state),
                reasons=list(status.reasons),
                epoch=status.epoch,
                speed_scale=status.speed_scale,
                payload=status.payload_kg,
                model_id=status.model_id,
                has_spread=self._has_spread,
                challenge=status.challenge,
                missed_ticks=self._missed,
                rejected_plans=status.rejected_plans,
                holds=status.holds,
            )
        )

    def _on_state(self, message: JointState) -> None:
        self._newest = (message, self.now_ns())

    def _on_plan(self, message: PlanMsg) -> None:
        self._plans.append((message, self.now_ns()))

    def _on_relay(self, message: RelayStatus) -> None:
        with self._lock:
            self._core.relay_report(message.latched, ns_from_stamp(message.stamp), self.now_ns())

    def _on_model(self, message: ModelStatus) -> None:
        if message.status == ModelStatus.ACTIVE:
            with self._lock:
                self._has_spread = message.has_spread
                self._core.bundle_activated(message.payload)

    def _operator_service(self, event: Event) -> Any:
        def serve(request: OperatorRequest.Request, response: OperatorRequest.Response) -> OperatorRequest.Response:
            with self._lock:
                reply = self._core.request(event, request.operator_id, request.challenge, self.now_ns())
            response.success, response.message = reply.success, reply.message
            return response

        return serve

    def _severity_service(self, event: Event) -> Any:
        def serve(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            with self._lock:
                reply = self._core.raise_severity(event, event.value, self.now_ns())
            response.success, response.message = reply.success, reply.message
            return response

        return serve

    def _on_payload(self, request: DeclarePayload.Request, response: DeclarePayload.Response) -> Any:
        with self._lock:
            reply = self._core.declare_payload(request.mass, request.operator_id, request.challenge)
        response.success, response.message = reply.success, reply.message
        return response


def main() -> None:
    run(Guard)


if __name__ == "__main__":
    main()
