"""What every node shares: lifecycle with visible errors, a fixed-rate control thread, clean start and end.

Main flow: ``main = lambda: run(MyNode)``. ``run`` configures the node, takes its real-time placement (see
`mbrl_control.scheduling`), activates it, spins one SingleThreadedExecutor in the main thread (services, timers, rare
messages), and leaves on SIGINT or SIGTERM through ``stop`` (while it can still publish) and ``release``. Control work
runs in one own thread with absolute deadlines, which polls the fast topics itself (see `polled`).
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from mbrl_control.cadence import SteadyClock, Tick, run_at
from mbrl_control.ending import ENDING
from mbrl_control.scheduling import keep_garbage_short, take_placement
from mbrl_nodes.convert import stamp_from_ns

STATE_QOS = QoSProfile(reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=1)
COMMAND_QOS = QoSProfile(reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=1)
EVERY_MESSAGE_QOS = QoSProfile(reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=50)
"""For readers that need each message; best effort matches any publisher."""
LATCHED_QOS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
)
MODEL_QOS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST,
    depth=10,
)
"""Latched announcements that follow each other at once, on both sides: none may displace one that is not read yet. Who
joins late gets the last ones in their order."""


class GraphNode(LifecycleNode):
    """A lifecycle node whose subclass fills in ``setup``, ``start``, ``stop``, ``release``.

    Exceptions in lifecycle callbacks would vanish in rclpy; here they are logged with their traceback
    and the transition fails. A node that cannot start itself (parameter ``autostart``) ends its process.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.graph_clock = SteadyClock()
        self._thread: threading.Thread | None = None
        self._running = threading.Event()
        self._control_failed = False
        self._trouble = self._warning = ""
        self.finished = Future()
        """Done: the executor leaves off, and the process ends in order."""
        self.declare("autostart", "activate", "how far the node goes by itself: none, configure or activate")
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(1.0, self._publish_diagnostics, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def setup(self) -> None:
        """Load, check, warm up (on configure)."""

    def start(self) -> None:
        """Begin (on activate)."""

    def stop(self) -> None:
        """Stop safely (on deactivate, and at the end of an active node's process)."""

    def release(self) -> None:
        """Close files and the like (on shutdown of the process)."""

    def diagnose(self) -> dict[str, str]:
        """Values shown in /diagnostics."""
        return {}

    def trouble(self) -> str:
        """What somebody has to do something about; asked once a second while active, logged when it changes."""
        return ""

    def warning(self) -> str:
        """The same of what works, but worse than it could."""
        return ""

    def declare(
        self,
        name: str,
        default: Any,
        description: str,
        bounds: tuple[float, float] | None = None,
        read_only: bool = True,
    ) -> Any:
        """Declare a described, bounded parameter and return its value."""
        descriptor = ParameterDescriptor(description=description, read_only=read_only)
        if bounds is not None and isinstance(default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=bounds[0], to_value=bounds[1])]
        elif bounds is not None:
            descriptor.integer_range = [IntegerRange(from_value=int(bounds[0]), to_value=int(bounds[1]), step=1)]
        return self.declare_parameter(name, default, descriptor).value

    def now_ns(self) -> int:
        return self.graph_clock.now_ns()

    def run_control(self, period_ns: int, step: Callable[[Tick], None]) -> None:
        """Call ``step`` at absolute deadlines in an own thread until ``stop_control``."""
        self._running.set()
        self._thread = threading.Thread(target=self._control, args=(period_ns, step), name="control", daemon=True)
        self._thread.start()

    def stop_control(self) -> None:
        self._running.clear()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=2.0)
        self._thread = None

    def _control(self, period_ns: int, step: Callable[[Tick], None]) -> None:
        try:
            run_at(period_ns, self.graph_clock, step, self._running.is_set)
        except Exception:
            self._control_failed = True
            self.get_logger().fatal("control thread failed:\n" + traceback.format_exc())
            self.finish()

    @property
    def active(self) -> bool:
        return bool(self._state_machine.current_state[1] == "active")

    @property
    def failed(self) -> bool:
        return self._control_failed

    def _guarded(self, step: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            step()
        except Exception as error:
            self.get_logger().error(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._guarded(self.setup)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        # Before the control thread runs: going through everything once holds the interpreter for some 15 ms.
        keep_garbage_short()
        result = self._guarded(self.start)
        gc.freeze()
        return super().on_activate(state) if result == TransitionCallbackReturn.SUCCESS else result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._guarded(self._halt)
        return super().on_deactivate(state) if result == TransitionCallbackReturn.SUCCESS else result

    def _halt(self) -> None:
        self.stop_control()
        self.stop()

    def finish(self) -> None:
        """End the process in order; from any thread. The context stays valid until everything is released."""
        if not self.finished.done():
            self.finished.set_result(None)

    def end(self) -> None:
        """Stop safely where active."""
        self._guarded(self._halt if self.active else self.stop_control)

    def autostart(self) -> bool:
        """Go as far as the parameter says; tell the parent process by one JSON line on standard output."""
        # A parameter file is free text to rclpy: a misspelt name would silently do nothing.
        unknown = sorted(set(self._parameter_overrides) - set(self._parameters))
        if unknown:
            self.get_logger().error(f"unknown parameters {unknown}; this node has {sorted(self._parameters)}")
        if self.get_parameter("use_sim_time").value:
            unknown.append("use_sim_time")
            self.get_logger().error("use_sim_time: deadlines and watchdogs count on a steady clock; set it to false")
        # The first call of the logger goes through this program's sources to find its caller: 10 to 20 ms, which a
        # control thread, whose first refused message it would be, does not have. Later ones take 0.2 ms.
        self.get_logger().info("starting", throttle_duration_sec=1.0)
        target = self.get_parameter("autostart").value if not unknown else ""
        ok = target == "none" or (
            target in ("configure", "activate") and self.trigger_configure() == TransitionCallbackReturn.SUCCESS
        )
        # After loading, which at real-time priority would starve the rest of the graph, and before the control thread
        # runs: locking the memory stops a process for some ten milliseconds.
        scheduling = take_placement()
        if ok and target == "activate":
            ok = self.trigger_activate() == TransitionCallbackReturn.SUCCESS
        states = {"none": "unconfigured", "configure": "inactive", "activate": "active"}
        state = states[target] if ok else "failed"
        # One write: a line of the operator's thread must not come between text and line end.
        line = json.dumps({"node": self.get_name(), "state": state, "scheduling": scheduling})
        print(line + "\n", end="", flush=True)
        return ok

    def _publish_diagnostics(self) -> None:
        values, trouble, warning = self.diagnose(), "", ""
        if self.active:
            trouble, warning = self.trouble(), self.warning()
        if trouble and trouble != self._trouble:
            self.get_logger().error(trouble)
        if warning and not self._warning:  # once: what it measures changes from second to second
            self.get_logger().warning(warning)
        self._trouble, self._warning = trouble, warning
        level = DiagnosticStatus.ERROR if trouble else DiagnosticStatus.WARN if warning else DiagnosticStatus.OK
        said = "; ".join(filter(None, (trouble, warning)))
        name = f"{self.get_name()}: node"
        status = DiagnosticStatus(level=level, name=name, message=said, hardware_id=self.get_namespace())
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = stamp_from_ns(self.now_ns())
        self._diagnostics.publish(message)


def run(factory: Callable[[], GraphNode]) -> None:
    """Process entry of a node: exit status 0 after a clean end, 1 when it could not start or failed."""
    # A thread that computes in Python hands over the interpreter after this time, not after 5 ms.
    sys.setswitchinterval(5e-4)
    ended = _ending_signals()
    # rclpy's own handler would take the context down at once, and nothing could be published any more.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = factory()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    threading.Thread(target=_end_on_signal, args=(node, ended), name="signals", daemon=True).start()
    started = False
    try:
        started = node.autostart()
        if started:
            executor.spin_until_future_complete(node.finished)
    finally:
        node.end()
        node.release()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
        # Else the middleware's shared memory stays behind: nothing else takes the participant down.
        rclpy.get_default_context().destroy()
        gc.unfreeze()
    sys.exit(0 if started and not node.failed else 1)


def _ending_signals() -> socket.socket:
    """A byte can be read from it for each signal that ends the node; the signals interrupt none of its threads.

    Blocking them and waiting for one is not enough: threads that numpy's libraries made at their import do not block
    them, and a signal that is delivered there would end the process at once, unless it has a handler.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.detach())
    for number in ENDING:
        signal.signal(number, lambda *_: None)
    # Before there are other threads, which inherit it.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    return receiver


def _end_on_signal(node: GraphNode, ended: socket.socket) -> None:
    """The first signal ends the node in order; where that hangs, the next SIGTERM ends the process."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    ended.recv(1)
    node.finish()
    while ended.recv(1)[0] != signal.SIGTERM:
        pass
    os._exit(128 + signal.SIGTERM)
