"""What an operator does, as blocking calls from a thread beside the executor: arm, start, hold, payload, lifecycle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from mbrl_msgs.msg import SafetyStatus
from mbrl_msgs.srv import AttachPayload, DeclarePayload, OperatorRequest
from std_srvs.srv import Trigger

from mbrl_nodes.runtime import LATCHED_QOS, GraphNode

RESTING = (SafetyStatus.PROTECTIVE_STOP, SafetyStatus.IDLE)
ANSWER_S = 5.0
"""Real time, for a service to be there and to answer."""


class OperatorError(RuntimeError):
    """The graph did not do what the operator asked within the time allowed."""


class NoAnswer(OperatorError):
    """No answer came in time. The request may have been granted all the same: its answer can be what was lost."""


class OperatorClient:
    """Speaks to the guard, the simulator and the lifecycle of planner and collector."""

    def __init__(self, node: GraphNode, operator_id: str) -> None:
        self._node = node
        self._operator_id = operator_id
        self.status = SafetyStatus()
        node.create_subscription(SafetyStatus, "safety_status", self._on_status, LATCHED_QOS)
        self._requests = {
            name: node.create_client(OperatorRequest, f"guard/{name}") for name in ("arm", "start", "reset")
        }
        self._hold = node.create_client(Trigger, "guard/hold")
        self._stop = node.create_client(Trigger, "guard/stop")
        self._declare = node.create_client(DeclarePayload, "guard/declare_payload")
        self._attach = node.create_client(AttachPayload, "sim/attach_payload")
        self._lifecycle = {
            name: node.create_client(ChangeState, f"{name}/change_state") for name in ("mpc_planner", "collector")
        }

    def _seconds(self) -> float:
        """What the graph does takes the graph's time; only for services and their answers is real time waited."""
        return self._node.now_ns() * 1e-9

    def _on_status(self, status: SafetyStatus) -> None:
        self.status = status

    @property
    def requests(self) -> int | None:
        """Holds and stops that anybody has asked the guard for; None: it has not been heard yet."""
        return self.status.requests if self.status.stamp.sec else None

    @property
    def running(self) -> bool:
        # The automatic HOLD ends by itself (RUNNING again, or PROTECTIVE_STOP): it is not the operator's business.
        return self.status.state in (SafetyStatus.RUNNING, SafetyStatus.HOLD)

    def run(self, timeout_s: float = 12.0, check: Callable[[], None] = lambda: None) -> bool:
        """Bring the arm to RUNNING from whatever state; True when a stop had to be reset on the way.

        ``check`` is called before each request, and raises where the arm is to stay as it is.
        """
        deadline = self._seconds() + timeout_s
        was_stopped = self.status.state == SafetyStatus.PROTECTIVE_STOP
        message = ""
        while not self.running:
            check()
            state = self.status.state
            name = {SafetyStatus.IDLE: "arm", SafetyStatus.PROTECTIVE_STOP: "reset"}.get(state, "start")
            was_stopped |= name == "reset"
            success, message = self._ask(name)
            if self._seconds() > deadline:
                raise OperatorError(f"guard/{name} refused for {timeout_s:.0f} s in state {state}: {message}")
            if not success:
                time.sleep(0.1)
                continue
            self.wait(lambda before=state: self.status.state != before, 0.5, "", required=False)
        return was_stopped

    def _ask(self, name: str) -> tuple[bool, str]:
        """Whether it was granted, and the guard's words. Where no answer came, the state says whether to ask again.

        A server that has not discovered the client's reader yet drops its answer: the first request of a busy machine.
        """
        request = OperatorRequest.Request(operator_id=self._operator_id, challenge=self.status.challenge)
        try:
            reply = self.call(self._requests[name], request)
        except NoAnswer as error:
            return False, str(error)
        return reply.success, reply.message

    def hold(self) -> None:
        """Brake and hold (OPERATOR_HOLD), and wait for it; armed and not started the arm is held already."""
        self._rest(self._hold, (*RESTING, SafetyStatus.OPERATOR_HOLD, SafetyStatus.ARMED), "guard did not hold")

    def stop(self) -> None:
        """Protective stop, and wait for it."""
        self._rest(self._stop, RESTING, "guard did not stop")

    def _rest(self, service: Any, states: tuple[int, ...], message: str) -> None:
        """Ask, and wait until the guard tells of this request and of one of the states."""
        before = self.requests
        self.call(service, Trigger.Request())
        self.wait(lambda: self.requests != before and self.status.state in states, 3.0, message)

    def payload(self, mass: float) -> None:
        """Declare to the guard, then fix to the simulated tool."""
        deadline = self._seconds() + 2.0
        while not (reply := self._declared(mass)).success:
            # The challenge may have changed since the status that was last read.
            if self._seconds() > deadline:
                raise OperatorError(f"payload of {mass} kg refused: {reply.message}")
            time.sleep(0.1)
        reply = self.call(self._attach, AttachPayload.Request(mass=mass))
        if not reply.success:
            raise OperatorError(f"payload of {mass} kg not attached: {reply.message}")

    def _declared(self, mass: float) -> Any:
        request = DeclarePayload.Request(operator_id=self._operator_id, challenge=self.status.challenge, mass=mass)
        return self.call(self._declare, request)

    def activate(self, name: str, active: bool) -> None:
        """Activate or deactivate a lifecycle node."""
        number = Transition.TRANSITION_ACTIVATE if active else Transition.TRANSITION_DEACTIVATE
        request = ChangeState.Request(transition=Transition(id=number))
        if not self.call(self._lifecycle[name], request).success:
            raise OperatorError(f"{name} refused to {'activate' if active else 'deactivate'}; see its log")

    def call(self, client: Any, request: Any) -> Any:
        """The answer; OperatorError where there is no such service, NoAnswer where it does not answer in time."""
        timeout_s = ANSWER_S
        if not client.wait_for_service(timeout_s):
            raise OperatorError(f"{client.srv_name}: no such service after {timeout_s:.0f} s; is the node running?")
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(timeout_s):
            client.remove_pending_request(future)
            raise NoAnswer(f"{client.srv_name}: no answer within {timeout_s:.0f} s")
        return future.result()

    def wait(self, condition: Callable[[], bool], timeout_s: float, message: str, required: bool = True) -> bool:
        """Whether ``condition`` came true within ``timeout_s``, graph time; OperatorError where ``required``."""
        deadline = self._seconds() + timeout_s
        while not condition():
            if self._seconds() > deadline:
                if required:
                    raise OperatorError(f"{message} within {timeout_s:.0f} s")
                return False
            time.sleep(0.01)
        return True
