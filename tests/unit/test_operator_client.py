"""The operator's way to RUNNING where answers get lost. The middleware's part is played by clients of this test."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

pytest.importorskip("rclpy")

from mbrl_msgs.msg import SafetyStatus
from mbrl_msgs.srv import OperatorRequest

from mbrl_nodes import operator_client
from mbrl_nodes.operator_client import NoAnswer, OperatorClient, OperatorError

NEXT = {
    "guard/reset": (SafetyStatus.PROTECTIVE_STOP, SafetyStatus.IDLE),
    "guard/arm": (SafetyStatus.IDLE, SafetyStatus.ARMED),
    "guard/start": (SafetyStatus.ARMED, SafetyStatus.RUNNING),
}
"""Service: the state it is granted in, and the state after it."""


class Guard:
    """Node and services in one: grants what its state allows, and loses the answers it is told to."""

    def __init__(self, state: int, lost: list[str]) -> None:
        self.state, self.lost, self.asked = state, list(lost), list[str]()
        self.cancelled = 0
        self.seconds = 0.0

    def now_ns(self) -> int:
        self.seconds += 0.01
        return round(self.seconds * 1e9)

    def create_subscription(self, _: type, topic: str, on_status: Callable[[SafetyStatus], None], __: Any) -> None:
        self.publish = lambda: on_status(SafetyStatus(state=self.state))
        self.publish()

    def create_client(self, _: type, name: str) -> Client:
        return Client(self, name)


class Client:
    """Of one service of the guard."""

    def __init__(self, guard: Guard, name: str) -> None:
        self.guard, self.srv_name = guard, name

    def wait_for_service(self, _: float) -> bool:
        return True

    def call_async(self, _: OperatorRequest.Request) -> Future[OperatorRequest.Response]:
        guard, name = self.guard, self.srv_name
        guard.asked.append(name)
        before, after = NEXT[name]
        granted = guard.state == before
        if granted:
            guard.state = after
            guard.publish()
        future: Future[OperatorRequest.Response] = Future()
        if name in guard.lost:
            guard.lost.remove(name)
        else:
            future.set_result(OperatorRequest.Response(success=granted, message="" if granted else "not now"))
        return future

    def remove_pending_request(self, _: object) -> None:
        self.guard.cancelled += 1


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_client, "ANSWER_S", 0.02)


def operator(guard: Guard) -> OperatorClient:
    stand_in: Any = guard
    return OperatorClient(stand_in, "operator")


@pytest.mark.parametrize("lost", [[], ["guard/arm"], ["guard/start"], ["guard/arm", "guard/start"]])
def test_the_arm_runs_also_where_answers_are_lost(lost: list[str]) -> None:
    guard = Guard(SafetyStatus.IDLE, lost)
    assert operator(guard).run() is False
    assert guard.state == SafetyStatus.RUNNING
    assert guard.cancelled == len(lost)
    # What was granted is not asked for again: the state says so.
    assert guard.asked == ["guard/arm", "guard/start"]


def test_a_stop_that_was_reset_is_told_also_where_that_answer_was_lost() -> None:
    assert operator(Guard(SafetyStatus.PROTECTIVE_STOP, ["guard/reset"])).run() is True


def test_a_guard_that_never_answers_is_told_after_the_time_allowed() -> None:
    guard = Guard(SafetyStatus.OPERATOR_HOLD, ["guard/start"] * 1000)
    with pytest.raises(OperatorError, match="no answer within"):
        operator(guard).run(timeout_s=0.1)
    assert len(guard.asked) > 1


def test_one_call_without_an_answer_is_an_error_of_its_own() -> None:
    guard = Guard(SafetyStatus.IDLE, ["guard/arm"])
    with pytest.raises(NoAnswer, match="guard/arm: no answer within"):
        operator(guard).call(Client(guard, "guard/arm"), OperatorRequest.Request())
