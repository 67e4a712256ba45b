"""The sole writer of the controller topic: passes safe commands on, and ramps to zero when the guard falls silent."""

from __future__ import annotations

import threading

import numpy as np
from mbrl_msgs.msg import RelayStatus
from mbrl_msgs.msg import SafeCommand as SafeCommandMsg
from std_msgs.msg import Float64MultiArray

from mbrl_control.cadence import Tick
from mbrl_control.robot import load_arm
from mbrl_control.safety.config import limits_of
from mbrl_control.safety.relay_watchdog import RelayState, receive, watch
from mbrl_control.signals import Array
from mbrl_nodes.convert import doubles, safe_command_from_msg, stamp_from_ns
from mbrl_nodes.runtime import COMMAND_QOS, LATCHED_QOS, GraphNode, run

WATCH_NS = 5_000_000
STATUS_TICKS = 10


class CommandRelay(GraphNode):
    """Commands go out in the callback that received them; the control thread only watches for silence."""

    def __init__(self) -> None:
        super().__init__("command_relay")
        self.declare("arm", "", "arm description YAML")
        self.declare("dry_run", False, "everything runs, nothing is published")
        self.declare("controller", "forward_velocity_controller", "ros2_control controller that takes the commands")
        self._lock = threading.Lock()
        self._state = RelayState()
        self._sent = 0
        self._told: tuple[bool, bool, int] | None = None

    def setup(self) -> None:
        self._arm = load_arm(self.get_parameter("arm").value)
        self._limits = limits_of(self._arm)
        self._dry_run = self.get_parameter("dry_run").value
        topic = f"{self.get_parameter('controller').value}/commands"
        self._commands = self.create_publisher(Float64MultiArray, topic, COMMAND_QOS)
        self._statuses = self.create_publisher(RelayStatus, "relay_status", LATCHED_QOS)
        self.create_subscription(SafeCommandMsg, "safe_command", self._on_command, COMMAND_QOS)

    def start(self) -> None:
        self.run_control(WATCH_NS, self._watch)

    def diagnose(self) -> dict[str, str]:
        return {"sent": str(self._sent), "latched": str(self._state.latched), "trips": str(self._state.trips)}

    def _on_command(self, message: SafeCommandMsg) -> None:
        command = safe_command_from_msg(message, self._arm.joint_names)
        with self._lock:
            self._state, velocity = receive(self._state, command, self._limits, self.now_ns())
            self._send(velocity)

    def _watch(self, tick: Tick) -> None:
        with self._lock:
            self._state, velocity = watch(self._state, self._limits, self.now_ns())
            self._send(velocity)
            state = self._state
        told = (state.latched, state.publishing, state.trips)
        if told != self._told or tick.index % STATUS_TICKS == 0:
            self._told = told
            self._publish_status(state)

    def _send(self, velocity: Array | None) -> None:
        if velocity is None or self._dry_run:
            return
        self._commands.publish(Float64MultiArray(data=doubles(velocity)))
        self._sent += 1

    def _publish_status(self, state: RelayState) -> None:
        last = np.zeros(self._arm.joints) if state.last is None else state.last
        self._statuses.publish(
            RelayStatus(
                stamp=stamp_from_ns(self.now_ns()),
                last_sent=doubles(last),
                last_sequence=state.sequence,
                sent=self._sent,
                latched=state.latched,
                watchdog_trips=state.trips,
                publishing=state.publishing and not self._dry_run,
                dry_run=self._dry_run,
            )
        )


def main() -> None:
    run(CommandRelay)


if __name__ == "__main__":
    main()
