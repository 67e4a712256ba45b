"""What the operator's terminal makes the arm do: nothing before its arguments are good, nothing against a person's
stop, and nothing left behind. Guard, planner and collector are played by one record of what was asked of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy")

from mbrl_msgs.msg import SafetyStatus

from mbrl_control.cli.locations import arm_file
from mbrl_control.robot import load_arm
from mbrl_nodes.command_line import CommandError
from mbrl_nodes.motions import Halted, Motions
from mbrl_nodes.operator_client import NoAnswer, OperatorError

ARM = load_arm(arm_file("panda"))
TARGET = [[0.45, 0.1, 0.5]]
BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "seconds is a text": ("excite", {"seconds": "60"}),
    "seconds without end": ("excite", {"seconds": float("inf")}),
    "window is a text": ("reach", {"phase": "x", "targets": TARGET, "window": "3"}),
    "targets are a text": ("reach", {"phase": "x", "targets": "abc", "window": 3.0}),
    "target is not finite": ("reach", {"phase": "x", "targets": [[float("nan"), 0, 0]], "window": 3.0}),
    "phase is a number": ("reach", {"phase": 5, "targets": TARGET, "window": 3.0}),
    "laps are a text": ("track", {"phase": "x", "amplitude": 0.1, "period": 6.0, "laps": "2"}),
    "amplitude is beyond the arm": ("track", {"phase": "x", "amplitude": 5.0, "period": 6.0, "laps": 2}),
    "mass is negative": ("payload", {"mass": -1}),
}


class Graph:
    """Node and operator in one; ``at`` are things that happen when the clock is read for the n-th time."""

    def __init__(self, at: dict[int, Callable[[Graph], None]] | None = None) -> None:
        self.at = at or {}
        self.status = SafetyStatus(state=SafetyStatus.IDLE)
        self.while_arming: Callable[[Graph], None] = lambda _: None
        self.asked: list[Any] = []
        self.sent: list[Any] = []
        self.told: list[dict[str, Any]] = []
        self.fails: dict[Any, OperatorError] = {}
        self.read = 0
        self.requests: int | None = 7

    def now_ns(self) -> int:
        self.read += 1
        if action := self.at.pop(self.read, None):
            action(self)
        return self.read * 50_000_000

    def create_publisher(self, *_: Any) -> Any:
        return self

    def publish(self, message: Any) -> None:
        self.sent.append(message)

    def run(self, check: Callable[[], None]) -> None:
        if self.status.state != SafetyStatus.RUNNING:
            check()
            self.while_arming(self)
            check()
            self._ask("run")
            self.status = SafetyStatus(state=SafetyStatus.RUNNING)

    def hold(self) -> None:
        self._ask("hold")
        held_by_somebody(self)

    def activate(self, name: str, active: bool) -> None:
        self._ask((name, active))

    def payload(self, mass: float) -> None:
        self._ask(("payload", mass))

    def _ask(self, what: Any) -> None:
        self.asked.append(what)
        if what in self.fails:
            raise self.fails[what]

    def goals(self) -> list[Any]:
        return [message for message in self.sent if hasattr(message, "sequence")]


def motions_of(graph: Graph) -> Motions:
    stand_in: Any = graph
    motions = Motions(stand_in, ARM, stand_in, lambda **event: graph.told.append(event))
    motions.begin(0)
    return motions


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)


def stopped_by_guard(graph: Graph) -> None:
    graph.status = SafetyStatus(state=SafetyStatus.PROTECTIVE_STOP, reasons=["state is old"])


def stopped_by_somebody(graph: Graph) -> None:
    graph.status = SafetyStatus(state=SafetyStatus.PROTECTIVE_STOP, reasons=["stop requested"])
    graph.requests = (graph.requests or 0) + 1


def held_by_somebody(graph: Graph) -> None:
    graph.status = SafetyStatus(state=SafetyStatus.OPERATOR_HOLD, reasons=["hold requested"])
    graph.requests = (graph.requests or 0) + 1


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_argument_is_refused_before_anything_is_asked_of_the_graph(bad: str) -> None:
    graph = Graph()
    name, arguments = BAD[bad]
    with pytest.raises((CommandError, ValueError)):
        getattr(motions_of(graph), name)(**arguments)
    assert graph.asked == []
    assert graph.sent == []


def test_a_guards_own_stop_is_reset_and_the_arm_sent_on_to_the_same_goal() -> None:
    graph = Graph({12: stopped_by_guard})
    motions_of(graph).reach("x", TARGET, 1.0)
    assert graph.asked == ["run", "run"]
    first, again = graph.goals()
    assert (first.label, again.label) == ("x/0", "")
    assert again.stamp != first.stamp
    assert graph.told[-1] == {"event": "target", "phase": "x", "index": 0, "stops": 1}


@pytest.mark.parametrize("action", [stopped_by_somebody, held_by_somebody])
@pytest.mark.parametrize("read", [6, 12, 20])
def test_what_a_person_stops_or_holds_stays_so_until_the_next_command(action: Any, read: int) -> None:
    graph = Graph({read: action})
    motions = motions_of(graph)
    with pytest.raises(Halted, match="requested"):
        motions.reach("x", TARGET * 3, 0.5)
    assert graph.asked == ["run"]
    with pytest.raises(Halted):
        motions.begin(0)
    motions.begin(motions.halts)
    motions.reach("x", TARGET, 0.5)
    assert graph.asked == ["run", "run"]


def test_a_person_who_stops_an_arm_that_the_guard_has_stopped_is_obeyed_too() -> None:
    graph = Graph({12: stopped_by_guard})

    def person_first(graph: Graph) -> None:
        if graph.status.state == SafetyStatus.PROTECTIVE_STOP:
            stopped_by_somebody(graph)

    graph.while_arming = person_first
    with pytest.raises(Halted):
        motions_of(graph).reach("x", TARGET, 1.0)
    assert graph.asked == ["run"]


@pytest.mark.parametrize("name", ["reach", "track", "excite"])
@pytest.mark.parametrize("action", [stopped_by_somebody, held_by_somebody])
def test_a_person_who_stops_an_arm_that_is_about_to_start_is_obeyed_too(name: str, action: Any) -> None:
    graph = Graph()
    graph.while_arming = action
    arguments: dict[str, dict[str, Any]] = {
        "reach": {"phase": "x", "targets": TARGET, "window": 1.0},
        "track": {"phase": "x", "amplitude": 0.12, "period": 8.0, "laps": 1},
        "excite": {"seconds": 1.0},
    }
    with pytest.raises(Halted, match="requested"):
        getattr(motions_of(graph), name)(**arguments[name])
    assert "run" not in graph.asked


def test_a_guard_that_is_heard_late_counts_from_where_it_is_heard() -> None:
    graph = Graph()
    graph.requests = None
    motions = motions_of(graph)
    graph.at[3] = lambda graph: setattr(graph, "requests", 5)
    graph.at[20] = stopped_by_somebody
    with pytest.raises(Halted, match="somebody"):
        motions.reach("x", TARGET, 3.0)


def test_an_arm_that_somebody_stopped_before_goes_on_with_a_new_command() -> None:
    graph = Graph()
    stopped_by_somebody(graph)
    motions_of(graph).reach("x", TARGET, 0.5)
    assert graph.asked == ["run"]


def test_hold_typed_here_ends_the_running_command_and_those_asked_for_before() -> None:
    graph = Graph()
    motions = motions_of(graph)
    graph.at[12] = lambda _: motions.hold()
    with pytest.raises(Halted, match="asked for here"):
        motions.reach("x", TARGET, 1.0)
    assert graph.asked == ["run", "hold"]
    with pytest.raises(Halted):
        motions.begin(0)
    motions.begin(1)


def test_excitation_exchanges_planner_and_collector_and_exchanges_them_back() -> None:
    graph = Graph()
    motions_of(graph).excite(1.0)
    there = ["hold", ("mpc_planner", False), ("collector", True), "run"]
    assert graph.asked == [*there, "hold", ("collector", False), ("mpc_planner", True)]


@pytest.mark.parametrize("action", [stopped_by_somebody, held_by_somebody])
def test_excitation_that_is_ended_leaves_no_collector_behind(action: Any) -> None:
    graph = Graph({8: action})
    with pytest.raises(Halted):
        motions_of(graph).excite(5.0)
    assert graph.asked[-3:] == ["hold", ("collector", False), ("mpc_planner", True)]


@pytest.mark.parametrize(
    ("failing", "error", "rest"),
    [
        ("run", OperatorError("refused"), ["hold", ("collector", False), ("mpc_planner", True)]),
        (("collector", True), OperatorError("refused"), [("mpc_planner", True)]),
        (("collector", True), NoAnswer("lost"), [("collector", False), ("mpc_planner", True)]),
        (("mpc_planner", False), OperatorError("refused"), []),
        (("mpc_planner", False), NoAnswer("lost"), [("mpc_planner", True)]),
    ],
)
def test_excitation_undoes_what_it_has_done_whatever_fails(failing: Any, error: OperatorError, rest: list[Any]) -> None:
    graph = Graph()
    graph.fails[failing] = error
    with pytest.raises(type(error)):
        motions_of(graph).excite(1.0)
    assert graph.asked[graph.asked.index(failing) + 1 :] == rest


def test_a_hold_that_fails_at_its_end_still_exchanges_them_back() -> None:
    graph = Graph({6: lambda graph: graph.fails.update(hold=OperatorError("guard is gone"))})
    with pytest.raises(OperatorError, match="guard is gone"):
        motions_of(graph).excite(1.0)
    assert graph.asked[-2:] == [("collector", False), ("mpc_planner", True)]


def test_a_mass_without_decimals_is_one_all_the_same() -> None:
    graph = Graph()
    motions_of(graph).payload(2)
    assert graph.asked == [("payload", 2.0)]
    assert type(graph.asked[0][1]) is float
