"""The demo's operator and task in one node: reads one JSON command a line, does it, answers with JSON events.

Commands: {"do": "reach", "phase", "targets" [N][3], "window"} · {"do": "excite", "seconds"} · {"do": "hold"} ·
{"do": "track", "phase", "amplitude", "period", "laps"} · {"do": "payload", "mass"} ·
{"do": "await_model", "model_id"}. Every line ends with {"event": "done"} or {"event": "error", "reason"}, also one
that is no command. Standard input ending ends the node with {"event": "closed", "reason"}; it moves and stops nothing.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from mbrl_msgs.msg import Goal as GoalMsg
from mbrl_msgs.msg import PlannerReport, SafetyStatus
from std_msgs.msg import String

from mbrl_control.planning.figure_eight import figure_eight
from mbrl_control.planning.goals import renewed
from mbrl_control.signals import Goal, GoalKind
from mbrl_nodes.arm_parameters import arm_of, declare_arm
from mbrl_nodes.convert import goal_to_msg
from mbrl_nodes.operator_client import OperatorClient
from mbrl_nodes.runtime import LATCHED_QOS, STATE_QOS, GraphNode, run

SETTLE_S = 2.0
"""To go home before a motion that counts."""
CLOSED = (
    "standard input has ended: this operator leaves, the arm goes on as it was; to stop it, call the service guard/hold"
)


class CommandError(ValueError):
    """A line that is no command; says what one looks like."""


def read_command(line: bytes, known: Collection[str]) -> tuple[str, dict[str, Any]]:
    """What one line asks to do, and with which arguments."""
    try:
        command = json.loads(line)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested without end
        command = None
    remedy = f'write {{"do": NAME, ...}} with one of {", ".join(known)}'
    if not isinstance(command, dict):
        raise CommandError(f"{line.decode(errors='replace').strip()[:80]!r} is no JSON object; {remedy}")
    name = command.pop("do", None)
    if not isinstance(name, str) or name not in known:
        raise CommandError(f"do: {name!r}: no such command; {remedy}")
    return name, command


class DemoTask(GraphNode):
    """Runs the commands in an own thread; the executor in the main thread serves the answers."""

    def __init__(self) -> None:
        super().__init__("demo_task")
        declare_arm(self)
        self.arm = arm_of(self)
        self.operator = OperatorClient(self, "operator")
        self.sequence = 0
        self._goal: Goal | None = None
        """To be asked for again after a stop."""
        self.model_id = ""
        self.goals = self.create_publisher(GoalMsg, "goal", LATCHED_QOS)
        self.phases = self.create_publisher(String, "phase", LATCHED_QOS)
        self.create_subscription(PlannerReport, "planner_report", self._on_report, STATE_QOS)
        self.commands: dict[str, Callable[..., None]] = {
            "reach": self.reach,
            "track": self.track,
            "excite": self.excite,
            "hold": self.operator.hold,
            "payload": self.operator.payload,
            "await_model": self.await_model,
        }

    def start(self) -> None:
        threading.Thread(target=self._serve, name="task", daemon=True).start()

    def _on_report(self, report: PlannerReport) -> None:
        self.model_id = report.model_id

    def _serve(self) -> None:
        try:
            # Not sys.stdin: Python closes that at its end, and aborts where this thread is reading it.
            with open(0, "rb", closefd=False) as lines:
                for line in lines:
                    self._do(line)
            self.tell(event="closed", reason=CLOSED)
        finally:  # also when nobody reads the events any more: a process that obeys nobody must not look alive
            self.finish()

    def _do(self, line: bytes) -> None:
        try:
            name, arguments = read_command(line, self.commands)
            self.commands[name](**arguments)
        except Exception as error:  # a thread has no caller: whatever failed must reach the reader of the events
            self.tell(event="error", reason=f"{type(error).__name__}: {error}")
        else:
            self.tell(event="done")

    @staticmethod
    def tell(**event: Any) -> None:
        print(json.dumps(event) + "\n", end="", flush=True)

    def reach(self, phase: str, targets: list[list[float]], window: float) -> None:
        """One window per target, whatever happens in it: a stopped arm is re-armed, sent on, and the target counts."""
        self.phases.publish(String(data=phase))
        self.operator.run()
        for index, target in enumerate(targets):
            self.operator.run()
            self.publish_goal(target, f"{phase}/{index}")
            stops = self._watch(window)
            self.tell(event="target", phase=phase, index=index, stops=stops)

    def track(self, phase: str, amplitude: float, period: float, laps: int) -> None:
        """A figure eight from home to home; the arm goes home first, and that does not count."""
        times, way = figure_eight(self.arm, amplitude, period, laps, speed_scale=1.0)
        self.phases.publish(String(data=phase))
        self.operator.run()
        self._send(Goal(self.now_ns(), GoalKind.JOINT, np.zeros(3), self.arm.home, self._next()), "")
        self._watch(SETTLE_S)
        start = self.now_ns()
        goal = Goal(start, GoalKind.TRAJECTORY, np.zeros(3), self.arm.home, self._next(), times, way)
        self._send(goal, f"{phase}/0")
        while (elapsed := (self.now_ns() - start) * 1e-9) < times[-1]:
            self._watch(min(1.0, times[-1] - elapsed))
            self.tell(event="excited", seconds=(self.now_ns() - start) * 1e-9)

    def _watch(self, seconds: float) -> int:
        deadline_ns = self.now_ns() + round(seconds * 1e9)
        stops = 0
        while self.now_ns() < deadline_ns:
            if self.operator.status.state == SafetyStatus.PROTECTIVE_STOP:
                stops += 1
                self.tell(event="stop", reasons=list(self.operator.status.reasons))
                self.operator.run()
                self._send_again()
            time.sleep(0.02)
        return stops

    def publish_goal(self, target: list[float], label: str) -> None:
        self._send(Goal(self.now_ns(), GoalKind.POSE, np.array(target), self.arm.home, self._next()), label)

    def _send_again(self) -> None:
        """An arming discards the goal. Without a label: what is judged is the goal as it was first sent."""
        if self._goal is not None:
            self._send(renewed(self._goal, self.now_ns(), self._next()), "")

    def _next(self) -> int:
        self.sequence += 1
        return self.sequence

    def _send(self, goal: Goal, label: str) -> None:
        self._goal = goal
        self.goals.publish(goal_to_msg(goal, self.arm.joint_names, self.arm.base_frame, label))

    def excite(self, seconds: float) -> None:
        """Planner and collector never publish beside each other: hold, exchange, start; reversed afterwards."""
        self.phases.publish(String(data="excitation"))
        self._exchange(off="mpc_planner", on="collector")
        self._goal = None
        self.operator.run()
        begin = self.now_ns()
        while (elapsed := (self.now_ns() - begin) * 1e-9) < seconds:
            self._watch(min(1.0, seconds - elapsed))
            self.tell(event="excited", seconds=min(seconds, (self.now_ns() - begin) * 1e-9))
        self._exchange(off="collector", on="mpc_planner")

    def _exchange(self, off: str, on: str) -> None:
        self.operator.hold()
        self.operator.activate(off, False)
        self.operator.activate(on, True)

    def await_model(self, model_id: str) -> None:
        """Until the planner plans with that bundle."""
        self.operator.wait(lambda: self.model_id == model_id, 20.0, f"planner did not take {model_id}")


def main() -> None:
    run(DemoTask)


if __name__ == "__main__":
    main()
