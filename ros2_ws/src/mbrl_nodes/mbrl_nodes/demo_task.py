"""The demo's operator and task in one node: reads one JSON command a line, does it, answers with JSON events.

Commands: {"do": "reach", "phase", "targets" [N][3], "window"} · {"do": "excite", "seconds"} · {"do": "hold"} ·
{"do": "stop"} · {"do": "track", "phase", "amplitude", "period", "laps"} · {"do": "payload", "mass"} ·
{"do": "await_model", "model_id"}. One is done after the other, but `hold` and `stop` at once: they end the one that
runs and drop those that wait. Every line ends with {"event": "done", "do"} or {"event": "error", "reason"}, also one
that is no command. The last event is {"event": "closed", "reason"}: at the end of input, which moves and stops
nothing, or by a signal, which holds an arm that a command moves.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from mbrl_msgs.msg import PlannerReport

from mbrl_nodes.arm_parameters import arm_of, declare_arm
from mbrl_nodes.command_line import CommandError, read_command, text
from mbrl_nodes.motions import Motions
from mbrl_nodes.operator_client import OperatorClient
from mbrl_nodes.runtime import STATE_QOS, GraphNode, run

ENDED = "standard input has ended: this operator leaves, the arm goes on as it was; to stop it, call guard/hold"
IDLE_END = "ended by a signal while no command ran: the arm goes on as it was; to stop it, call guard/hold"
HELD_END = "ended by a signal: the arm was told to hold"
UNDO_S = 20.0
"""For a command that was ended to hold the arm and hand back to the planner."""


class DemoTask(GraphNode):
    """One thread reads, one does the commands; the executor in the main thread serves the answers."""

    def __init__(self) -> None:
        super().__init__("demo_task")
        declare_arm(self)
        self.operator = OperatorClient(self, "operator")
        self.motions = Motions(self, arm_of(self), self.operator, self.tell)
        self.model_id = ""
        self.create_subscription(PlannerReport, "planner_report", self._on_report, STATE_QOS)
        self._at_once = {"hold": self.motions.hold, "stop": self.motions.stop}
        self._in_turn: dict[str, Callable[..., None]] = {
            "reach": self.motions.reach,
            "track": self.motions.track,
            "excite": self.motions.excite,
            "payload": self.motions.payload,
            "await_model": self.await_model,
        }
        self._commands: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        """Of the two below."""
        self._unfinished = 0
        """Commands taken and not yet answered."""
        self._leaving = False
        self._all_done = threading.Event()
        """Set while there are none."""
        self._all_done.set()

    def start(self) -> None:
        for loop in (self._read, self._work):
            threading.Thread(target=loop, name=loop.__name__, daemon=True).start()

    def finish(self) -> None:
        """By a signal: whoever leaves in the middle of a command leaves no arm in motion and nothing undone behind."""
        try:
            if (unfinished := self._leave()) is not None:
                self._close(self._held() if unfinished else IDLE_END)
        finally:
            super().finish()

    def _leave(self) -> int | None:
        """Take no more commands; how many there are, or None where somebody is leaving already."""
        with self._lock:
            before, self._leaving = self._leaving, True
            return None if before else self._unfinished

    def _held(self) -> str:
        """While the executor still serves: hold, and let the command that ends by it undo what it began."""
        try:
            self.motions.hold()
        except Exception as error:  # whatever it is, this process is to end, and its user to know
            return f"ended by a signal, and the arm could not be told to hold: {error}"
        return HELD_END if self._all_done.wait(UNDO_S) else f"{HELD_END}; what the command began is not undone"

    def _on_report(self, report: PlannerReport) -> None:
        self.model_id = report.model_id

    def _read(self) -> None:
        # Not sys.stdin: Python closes that at its end, and aborts where this thread is reading it.
        try:
            with open(0, "rb", closefd=False) as lines:
                for line in lines:
                    self._answered(lambda line=line: self._take(line), "")
        finally:
            self._commands.put(None)

    def _work(self) -> None:
        try:
            while (command := self._commands.get()) is not None:
                command()
                with self._lock:
                    self._unfinished -= 1
                    if self._unfinished == 0:
                        self._all_done.set()
            if self._leave() is not None:
                self._close(ENDED)
                super().finish()
        except OSError:  # nobody reads the events any more: a process that obeys nobody must not look alive
            try:
                self.motions.hold()
            finally:
                super().finish()

    def _take(self, line: bytes) -> None:
        """Do it now, or in its turn."""
        name, arguments = read_command(line, (*self._in_turn, *self._at_once))
        if name in self._at_once:
            self._answered(self._at_once[name], name)  # whatever else stands in the line
            return
        halts = self.motions.halts

        def act() -> None:
            self.motions.begin(halts)
            self._in_turn[name](**arguments)

        with self._lock:
            if self._leaving:
                raise CommandError(f"{name}: this operator is leaving; nothing is begun any more")
            self._unfinished += 1
            self._all_done.clear()
        self._commands.put(lambda: self._answered(act, name))

    def _answered(self, act: Callable[[], None], name: str) -> None:
        """``name``: of the command whose end this is; empty: only a failure is told."""
        try:
            act()
        except Exception as error:  # a thread has no caller: whatever failed must reach the reader of the events
            self.tell(event="error", do=name, reason=f"{type(error).__name__}: {error}")
        else:
            if name:
                self.tell(event="done", do=name)

    def _close(self, reason: str) -> None:
        self.tell(event="closed", reason=reason)

    @staticmethod
    def tell(**event: Any) -> None:
        print(json.dumps(event) + "\n", end="", flush=True)

    def await_model(self, model_id: str) -> None:
        """Until the planner plans with that bundle."""
        wanted = text("model_id", model_id)

        def arrived() -> bool:
            self.motions.check()
            return self.model_id == wanted

        self.operator.wait(arrived, 20.0, f"planner did not take {wanted}")


def main() -> None:
    run(DemoTask)


if __name__ == "__main__":
    main()
