"""What the operator's terminal makes the arm do. A guard's own stop is reset and the arm sent on; a person's is not.

One command runs at a time, in a thread of its own. Before each step `check` is passed: a hold or stop that somebody
has asked for since the command was given, here or by the guard's services, ends it with `Halted`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from mbrl_msgs.msg import Goal as GoalMsg
from mbrl_msgs.msg import SafetyStatus
from std_msgs.msg import String

from mbrl_control.planning.figure_eight import figure_eight
from mbrl_control.planning.goals import goal_refusal, renewed
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, Goal, GoalKind
from mbrl_nodes.command_line import CommandError, number, points, text, whole
from mbrl_nodes.convert import goal_to_msg
from mbrl_nodes.operator_client import NoAnswer, OperatorClient
from mbrl_nodes.runtime import LATCHED_QOS, GraphNode

SETTLE_S = 2.0
"""To go home before a motion that counts."""


class Halted(RuntimeError):
    """Somebody wants the arm to rest: nothing but a new command moves it again."""


class Motions:
    """Speaks to the guard through ``operator``, to the planner by goals, to the reader of the events by ``tell``."""

    def __init__(self, node: GraphNode, arm: Arm, operator: OperatorClient, tell: Callable[..., None]) -> None:
        self.operator = operator
        self.halts = 0
        """How often `hold` or `stop` was asked for here, at once and from another thread."""
        self._node, self._arm, self._tell = node, arm, tell
        self._begun = 0
        """``halts`` when the running command was asked for."""
        self._requests: int | None = None
        """What the guard had counted when it began; None: the guard had not been heard."""
        self._sequence = 0
        self._goal: Goal | None = None
        """To be asked for again after a stop."""
        self._goals = node.create_publisher(GoalMsg, "goal", LATCHED_QOS)
        self._phases = node.create_publisher(String, "phase", LATCHED_QOS)

    def begin(self, halts: int) -> None:
        """A command that was asked for after so many halts; Halted where there was one since."""
        self._begun, self._requests = halts, self.operator.requests
        self.check()

    def hold(self) -> None:
        """At once: brake and hold, and end what is running."""
        self.halts += 1
        self.operator.hold()

    def stop(self) -> None:
        """At once: protective stop, and end what is running."""
        self.halts += 1
        self.operator.stop()

    def reach(self, phase: str, targets: Any, window: float) -> None:
        """One window per target, whatever happens in it: a stopped arm is re-armed, sent on, and the target counts."""
        phase, rows, seconds = text("phase", phase), points("targets", targets), number("window", window, "s")
        self._start(phase)
        for index, target in enumerate(rows):
            self._go_on()
            self._send(self._pose(target), f"{phase}/{index}")
            self._tell(event="target", phase=phase, index=index, stops=self._watch(seconds))

    def track(self, phase: str, amplitude: float, period: float, laps: int) -> None:
        """A figure eight from home to home; the arm goes home first, and that does not count."""
        size, lap_s = number("amplitude", amplitude, "m"), number("period", period, "s")
        times, way = figure_eight(self._arm, size, lap_s, whole("laps", laps), speed_scale=1.0)
        self._start(text("phase", phase))
        self._send(Goal(self._now(), GoalKind.JOINT, np.zeros(3), self._arm.home, self._next()), "")
        self._watch(SETTLE_S)
        start = self._now()
        goal = Goal(start, GoalKind.TRAJECTORY, np.zeros(3), self._arm.home, self._next(), times, way)
        self._send(goal, f"{phase}/0")
        self._spend(float(times[-1]), start)

    def excite(self, seconds: float) -> None:
        """Planner and collector never publish beside each other: hold, exchange, start; reversed, however it ends."""
        duration = number("seconds", seconds, "s")
        self._phases.publish(String(data="excitation"))
        with ExitStack() as reversed_:
            self._hold_first()
            self._switch("mpc_planner", False)
            reversed_.callback(self.operator.activate, "mpc_planner", True)
            self._switch("collector", True)
            reversed_.callback(self.operator.activate, "collector", False)
            reversed_.callback(self.operator.hold)
            self._goal = None
            self.operator.run(check=self.check)
            self._spend(duration, self._now())

    def payload(self, mass: float) -> None:
        """Declared to the guard, fixed to the simulated tool."""
        self.operator.payload(number("mass", mass, "kg", zero=True))

    def _hold_first(self) -> None:
        """The one hold that does not end the running command."""
        self.check()
        self.operator.hold()
        self._requests = None if self._requests is None else self._requests + 1

    def _switch(self, name: str, active: bool) -> None:
        try:
            self.operator.activate(name, active)
        except NoAnswer:  # it may have been granted all the same
            self.operator.activate(name, not active)
            raise

    def _start(self, phase: str) -> None:
        """From whatever state: who types a command wants the arm to move."""
        self._phases.publish(String(data=phase))
        self._go_on()

    def _go_on(self) -> None:
        self.check()
        self.operator.run(check=self.check)

    def check(self) -> None:
        """Halted after a hold or stop since the running command was asked for."""
        if self.halts != self._begun:
            raise Halted("hold or stop was asked for here; a new command starts the arm again")
        if self._requests is None:
            self._requests = self.operator.requests
        elif self._requests != self.operator.requests:
            self.halts += 1  # what waits was asked for before, too
            reasons = ", ".join(self.operator.status.reasons)
            raise Halted(f"somebody wants the arm to rest ({reasons}); a new command starts it again")

    def _spend(self, seconds: float, start_ns: int) -> None:
        while (elapsed := (self._now() - start_ns) * 1e-9) < seconds:
            self._watch(min(1.0, seconds - elapsed))
            self._tell(event="excited", seconds=min(seconds, (self._now() - start_ns) * 1e-9))

    def _watch(self, seconds: float) -> int:
        """Number of stops within that time."""
        deadline_ns, stops = self._now() + round(seconds * 1e9), 0
        while self._now() < deadline_ns:
            self.check()
            if self.operator.status.state == SafetyStatus.PROTECTIVE_STOP:
                stops += 1
                self._tell(event="stop", reasons=list(self.operator.status.reasons))
                self._go_on()
                self._send_again()
            time.sleep(0.02)
        return stops

    def _send_again(self) -> None:
        """An arming discards the goal. Without a label: what is judged is the goal as it was first sent."""
        if self._goal is not None:
            self._send(renewed(self._goal, self._now(), self._next()), "")

    def _send(self, goal: Goal, label: str) -> None:
        if refusal := goal_refusal(goal, self._now(), self._arm):
            raise CommandError(refusal)
        self._goal = goal
        self._goals.publish(goal_to_msg(goal, self._arm.joint_names, self._arm.base_frame, label))

    def _pose(self, target: Array) -> Goal:
        return Goal(self._now(), GoalKind.POSE, target, self._arm.home, self._next())

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _now(self) -> int:
        return self._node.now_ns()
