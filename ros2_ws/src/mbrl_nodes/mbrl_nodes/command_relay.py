"""safe_command -> the controller's topic, of which this node is the only writer. Has its own 20 ms watchdog."""

from __future__ import annotations

import numpy as np
from mbrl_msgs.msg import RelayStatus
from mbrl_msgs.msg import SafeCommand as SafeCommandMsg

from mbrl_control.cadence import Tick
from mbrl_control.safety.config import limits_of
from mbrl_control.safety.controllers import mismatch
from mbrl_control.safety.relay_watchdog import RelayState, receive, watch, wind_down
from mbrl_control.signals import Array
from mbrl_nodes.arm_parameters import arm_of, declare_arm
from mbrl_nodes.controller_listeners import ControllerListeners
from mbrl_nodes.controller_output import ControllerOutput
from mbrl_nodes.controller_parameters import controller_of, declare_controller
from mbrl_nodes.convert import JointNameError, doubles, safe_command_from_msg, stamp_from_ns
from mbrl_nodes.polled import Polled
from mbrl_nodes.runtime import EVERY_MESSAGE_QOS, LATCHED_QOS, GraphNode, run

WATCH_NS = 2_000_000
STATUS_TICKS = 25
"""20 Hz."""


class CommandRelay(GraphNode):
    """Silence of the guard, drives off, and the end of this node are a ramp to zero, then silence to the controller."""

    def __init__(self) -> None:
        super().__init__("command_relay")
        declare_arm(self)
        # On, because who starts a node by hand has not said that an arm may move.
        self.declare("dry_run", True, "never publish a command; everything else as usual")
        declare_controller(self)
        self.declare("state_topic", "joint_states", "measured positions, for position and joint_trajectory controllers")
        self._state = RelayState()
        self._listeners: ControllerListeners | None = None
        self._output: ControllerOutput | None = None
        """None: a dry run."""
        self._sent = 0
        self._shown = (False, False)

    def setup(self) -> None:
        arm = arm_of(self)
        self._names, self._limits = arm.joint_names, limits_of(arm)
        self._interface = controller_of(self, arm)
        name, state = (self.get_parameter(key).value for key in ("controller_name", "state_topic"))
        self._listeners = ControllerListeners(self, self._interface, name)
        if not self.get_parameter("dry_run").value:
            self._output = ControllerOutput(self, arm, self._interface, name, state)
        self._statuses = self.create_publisher(RelayStatus, "relay_status", LATCHED_QOS)
        self._safe_commands = Polled(self, SafeCommandMsg, "safe_command", EVERY_MESSAGE_QOS)

    def start(self) -> None:
        self.run_control(WATCH_NS, self._tick)

    def stop(self) -> None:
        """A forward controller keeps the last command for ever: the arm is brought to rest before this node goes."""
        self._state = wind_down(self._state, self.now_ns())
        # Before the ramp: what is published just before a process ends may never be delivered.
        self._publish_status(self._state)
        while self._state.publishing:
            self._watch()
            self.graph_clock.sleep_until_ns(self.now_ns() + WATCH_NS)

    def trouble(self) -> str:
        return "" if self._listeners is None else self._listeners.look()

    def diagnose(self) -> dict[str, str]:
        return {
            "sent": str(self._sent),
            "watchdog_trips": str(self._state.trips),
            "latched": str(self._state.latched),
            "listeners": ", ".join(self._listening()),
        }

    def _listening(self) -> tuple[str, ...]:
        return () if self._listeners is None else self._listeners.names

    def _tick(self, tick: Tick) -> None:
        # First the time since the last command: after a sleep of this process the newest one must not hide it.
        self._watch()
        for message in self._safe_commands.drain():
            self._relay(message)
        shown = (self._state.latched, self._state.publishing)
        if shown != self._shown or tick.index % STATUS_TICKS == 0:
            self._shown = shown
            self._publish_status(self._state)

    def _watch(self) -> None:
        self._state, velocity = watch(self._state, self._limits, self.now_ns())
        self._send(velocity)

    def _relay(self, message: SafeCommandMsg) -> None:
        try:
            command = safe_command_from_msg(message, self._names)
        except (JointNameError, IndexError, ValueError) as error:
            self.get_logger().error(f"safe_command: {error}", throttle_duration_sec=1.0)
            return
        if refusal := mismatch(command.interface, self._interface):
            self.get_logger().error(f"safe_command: {refusal}", throttle_duration_sec=1.0)
            return
        self._state, velocity = receive(self._state, command, self._limits, self.now_ns())
        self._send(velocity)

    def _send(self, velocity: Array | None) -> None:
        if self._output is None:
            return
        if velocity is not None:
            self._sent += self._output.send(velocity, self.now_ns())
        elif not self._state.publishing:
            self._output.forget()

    def _publish_status(self, state: RelayState) -> None:
        last = np.zeros(len(self._names)) if state.last is None else state.last
        message = RelayStatus(
            stamp=stamp_from_ns(self.now_ns()),
            last_sequence=state.sequence,
            sent=self._sent,
            latched=state.latched,
            watchdog_trips=state.trips,
            # Where nobody listens, nothing moves an arm: what is logged then is no motion to learn from.
            publishing=state.publishing and (self._output is None or bool(self._listening())),
            dry_run=self._output is None,
        )
        message.last_sent = doubles(last)
        self._statuses.publish(message)


def main() -> None:
    run(CommandRelay)


if __name__ == "__main__":
    main()
