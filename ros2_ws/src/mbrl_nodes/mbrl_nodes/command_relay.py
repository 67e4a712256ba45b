"""safe_command -> the controller topic, of which this node is the only writer. Has its own 20 ms watchdog."""

from __future__ import annotations

import numpy as np
from mbrl_msgs.msg import RelayStatus
from mbrl_msgs.msg import SafeCommand as SafeCommandMsg
from std_msgs.msg import Float64MultiArray

from mbrl_control.cadence import Tick
from mbrl_control.robot import load_arm
from mbrl_control.safety.config import limits_of
from mbrl_control.safety.relay_watchdog import RelayState, receive, watch
from mbrl_control.signals import Array
from mbrl_nodes.convert import JointNameError, doubles, safe_command_from_msg, stamp_from_ns
from mbrl_nodes.runtime import COMMAND_QOS, EVERY_MESSAGE_QOS, LATCHED_QOS, GraphNode, Polled, run

WATCH_NS = 2_000_000
STATUS_TICKS = 25
"""20 Hz."""


class CommandRelay(GraphNode):
    """Silence of the guard ends in a ramp to zero, then in silence towards the driver."""

    def __init__(self) -> None:
        super().__init__("command_relay")
        self.declare("arm", "", "arm description YAML, with its URDF beside it")
        self.declare("dry_run", False, "never publish a command; everything else as usual")
        self._state = RelayState()
        self._sent = 0
        self._shown = (False, False)

    def setup(self) -> None:
        arm = load_arm(self.get_parameter("arm").value)
        self._names, self._limits = arm.joint_names, limits_of(arm)
        self._dry_run = bool(self.get_parameter("dry_run").value)
        if not self._dry_run:
            topic = "forward_velocity_controller/commands"
            self._commands = self.create_publisher(Float64MultiArray, topic, COMMAND_QOS)
        self._statuses = self.create_publisher(RelayStatus, "relay_status", LATCHED_QOS)
        self._safe_commands = Polled(self, SafeCommandMsg, "safe_command", EVERY_MESSAGE_QOS)

    def start(self) -> None:
        self.run_control(WATCH_NS, self._tick)

    def diagnose(self) -> dict[str, str]:
        return {"sent": str(self._sent), "watchdog_trips": str(self._state.trips), "latched": str(self._state.latched)}

    def _tick(self, tick: Tick) -> None:
        # First the time since the last command: after a sleep of this process the newest one must not hide it.
        self._state, velocity = watch(self._state, self._limits, self.now_ns())
        self._send(velocity)
        for message in self._safe_commands.drain():
            self._relay(message)
        shown = (self._state.latched, self._state.publishing)
        if shown != self._shown or tick.index % STATUS_TICKS == 0:
            self._shown = shown
            self._publish_status(self._state)

    def _relay(self, message: SafeCommandMsg) -> None:
        try:
            command = safe_command_from_msg(message, self._names)
        except (JointNameError, IndexError, ValueError) as error:
            self.get_logger().error(f"safe_command: {error}", throttle_duration_sec=1.0)
            return
        self._state, velocity = receive(self._state, command, self._limits, self.now_ns())
        self._send(velocity)

    def _send(self, velocity: Array | None) -> None:
        if velocity is not None and not self._dry_run:
            self._commands.publish(Float64MultiArray(data=doubles(velocity)))
            self._sent += 1

    def _publish_status(self, state: RelayState) -> None:
        last = np.zeros(len(self._names)) if state.last is None else state.last
        message = RelayStatus(
            stamp=stamp_from_ns(self.now_ns()),
            last_sequence=state.sequence,
            sent=self._sent,
            latched=state.latched,
            watchdog_trips=state.trips,
            publishing=state.publishing,
            dry_run=self._dry_run,
        )
        message.last_sent = doubles(last)
        self._statuses.publish(message)


def main() -> None:
    run(CommandRelay)


if __name__ == "__main__":
    main()
