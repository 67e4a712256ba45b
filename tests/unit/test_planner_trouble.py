"""What the planner's node has somebody look at: a joint that is pushed too hard, a goal that cannot be followed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticStatus
from mbrl_msgs.msg import ModelStatus
from mbrl_msgs.msg import Plan as PlanMsg

from mbrl_control.cadence import Tick, VirtualClock
from mbrl_control.cli.locations import arm_file
from mbrl_control.deployment.evaluator import Opening
from mbrl_control.deployment.lanes import Layout
from mbrl_control.deployment.layout_choice import LayoutChoice
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.cycle import Cycle
from mbrl_control.planning.planner import Planner, PlanningModel
from mbrl_control.planning.watch import CycleWatch
from mbrl_control.robot import load_arm
from mbrl_control.signals import Array, BeliefState, Goal, GoalKind, PlanOutcome, SafeCommand, Stage
from mbrl_nodes import model_input, plan_inputs
from mbrl_nodes.convert import goal_to_msg, report_to_msg, safe_command_to_msg
from mbrl_nodes.goal_input import GoalInput
from mbrl_nodes.model_input import ModelInput
from mbrl_nodes.mpc_planner import MpcPlanner
from mbrl_nodes.runtime import GraphNode
from tests.contract.planner_bench import Bench, pose

ARM = load_arm(arm_file("planar"))
ARMED_NS = 5 * 10**9


class Listener:
    """A node as a goal's subscription needs it."""

    def __init__(self) -> None:
        self.now = 0
        self.said: list[str] = []
        self.receive: Callable[[Any], None] = lambda _: None

    def create_subscription(self, _: type, __: str, receive: Callable[[Any], None], ___: Any) -> None:
        self.receive = receive

    def now_ns(self) -> int:
        return self.now

    def get_logger(self) -> Any:
        return SimpleNamespace(error=lambda text, **_: self.said.append(text))

    def send(self, stamp_ns: int, at_ns: int) -> None:
        self.now = at_ns
        goal = Goal(stamp_ns, GoalKind.JOINT, np.zeros(3), ARM.home, 1)
        self.receive(goal_to_msg(goal, ARM.joint_names, ARM.base_frame, ""))


def trouble(goals: GoalInput, overloaded: tuple[str, ...], gap_m: float = 0.0) -> str:
    node: Any = SimpleNamespace(
        _planner=SimpleNamespace(overloaded=overloaded, goal_gap_m=gap_m),
        _watch=CycleWatch(),
        now_ns=lambda: ARMED_NS,
        _goals=goals,
        _inputs=SimpleNamespace(armed_ns=ARMED_NS),
    )
    return MpcPlanner.trouble(node)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A planner's node whose first model has steps of 50 ms, which fit no period of 20."""
    bench, node, watch = Bench(ARM), Listener(), CycleWatch()
    planner = Planner(ARM, PlannerConfig(), VirtualClock(), np.random.default_rng(0))
    other = PlanningModel(bench.evaluator, bench.evaluator.inner, "planar/1", 0.05, 0.008, 1)
    loaded = (SimpleNamespace(model_id="planar/1", without_cuda=""), None, LayoutChoice(Layout(), ()))
    monkeypatch.setattr(model_input, "load_measured", lambda *_: loaded)
    monkeypatch.setattr(model_input, "planning_model", lambda *_: other)
    listening: Any = SimpleNamespace(
        create_subscription=node.create_subscription, get_logger=node.get_logger, graph_clock=VirtualClock()
    )
    models = ModelInput(listening, ARM, PlannerConfig(), Opening(), planner, watch)
    node.receive(ModelStatus(status=ModelStatus.ACTIVE, model_id="planar/1", path="/models/planar/1"))
    published: list[tuple[Cycle, Tick]] = []
    mpc: Any = SimpleNamespace(
        _models=models,
        _watch=watch,
        _config=PlannerConfig(),
        _inputs=SimpleNamespace(take=lambda: belief(ARM.home)),
        _publish=lambda *given: published.append(given),
        now_ns=lambda: ARMED_NS,
        published=published,
        said=node.said,
    )
    for name in ("_due_ns", "_cycle", "_whatever_happens", "_without_plan", "_afterwards"):
        setattr(mpc, name, partial(getattr(MpcPlanner, name), mpc))
    return mpc


def test_a_first_model_of_another_rate_is_in_trouble_and_in_every_report(refusing: Any) -> None:
    """Else the arm would wait for a plan, and nothing would say that none will come."""
    MpcPlanner._tick(refusing, Tick(3, ARMED_NS, 1_000_000, 0))
    why = "no model is in use: planner settings: field 'period_s': 0.02 s fits no grid of planar/1; set it to 0.05"
    assert refusing._watch.trouble(ARMED_NS).startswith(why)
    assert "model refused: planner settings: field 'period_s'" in refusing.said[-1]
    assert refusing._models.facts()["model"] == "none"
    ((cycle, tick),) = refusing.published
    told = report_to_msg(cycle.report, cycle.plan, ARMED_NS, tick.skipped, cycle.reason)
    assert (told.cycle, told.plan_epoch, told.plan_sequence, told.model_id) == (3, 0, 0, "")
    assert told.outcome == PlanMsg.FAILED
    assert told.reason.startswith(why)


def broken(*_: Any) -> Any:
    raise KeyError("nobody foresaw")


def test_whatever_the_inputs_do_the_cycle_ends_with_a_report_and_the_next_one_comes(refusing: Any) -> None:
    refusing._inputs = SimpleNamespace(take=broken)
    for index in (3, 4):
        MpcPlanner._tick(refusing, Tick(index, ARMED_NS, 1_000_000, 0))
    assert [cycle.report.cycle for cycle, _ in refusing.published] == [3, 4]
    for cycle, _ in refusing.published:
        assert (cycle.plan, cycle.report.outcome) == (None, PlanOutcome.FAILED)
        assert "KeyError: 'nobody foresaw'" in cycle.reason


def test_whatever_the_inputs_do_the_last_plan_goes_on(refusing: Any) -> None:
    bench = Bench(ARM)
    assert bench.cycle(pose(ARM), 0).plan is not None
    refusing._planner, refusing._models = bench.planner, SimpleNamespace(ready=True, exchange=lambda: None)
    refusing._inputs = SimpleNamespace(take=broken)
    MpcPlanner._tick(refusing, Tick(3, bench.clock.now_ns(), 1_000_000, 0))
    ((cycle, _),) = refusing.published
    assert cycle.report.outcome == cycle.plan.outcome == PlanOutcome.SHIFTED
    assert cycle.failure.__traceback__ is None
    assert "KeyError: 'nobody foresaw'" in cycle.reason


def test_a_plan_that_cannot_be_sent_ends_nothing(refusing: Any) -> None:
    refusing._plans = refusing._reports = SimpleNamespace(publish=broken)
    refusing._publish = partial(MpcPlanner._publish, refusing)
    MpcPlanner._tick(refusing, Tick(3, ARMED_NS, 1_000_000, 0))
    (told,) = refusing._watch.untold()
    assert "nobody foresaw" in str(told)


def test_whatever_goes_wrong_after_a_cycle_its_plan_is_out_and_the_trouble_told(refusing: Any) -> None:
    refusing._models = SimpleNamespace(ready=True, exchange=broken)
    refusing._cycle = lambda ready, tick: refusing._without_plan(KeyError("replaced"), tick)
    MpcPlanner._tick(refusing, Tick(3, ARMED_NS, 1_000_000, 0))
    assert len(refusing.published) == 1
    (told,) = refusing._watch.untold()
    assert "nobody foresaw" in str(told)


def heard(stamp_ns: int, at_ns: int) -> GoalInput:
    node: Any = Listener()
    goals = GoalInput(node, ARM)
    node.send(stamp_ns, at_ns)
    return goals


@pytest.mark.parametrize(("gap_m", "word"), [(0.004, ""), (0.035, "35 mm away")])
def test_a_goal_that_no_joints_meet_is_told_with_its_distance(gap_m: float, word: str) -> None:
    said = trouble(heard(ARMED_NS, ARMED_NS), (), gap_m)
    assert word in said
    assert bool(said) == bool(word)


def test_joints_that_are_pushed_too_hard_are_named() -> None:
    said = trouble(heard(ARMED_NS, ARMED_NS), ("elbow", "wrist"))
    assert said.startswith("elbow, wrist: more torque acts there")
    assert "stop and look" in said


@pytest.mark.parametrize(
    ("troubles", "warnings", "level", "message", "said"),
    [
        (("", ""), ("", ""), DiagnosticStatus.OK, "", []),
        (("", ""), ("70 ms late", "71 ms late"), DiagnosticStatus.WARN, "71 ms late", ["warning: 70 ms late"]),
        (("hot", "hot"), ("", "slow"), DiagnosticStatus.ERROR, "hot; slow", ["error: hot", "warning: slow"]),
    ],
)
def test_a_warning_is_logged_once_and_stands_behind_what_is_an_error(
    troubles: tuple[str, ...], warnings: tuple[str, ...], level: bytes, message: str, said: list[str]
) -> None:
    heard, published, asked = [], [], iter(zip(troubles, warnings, strict=True))
    node: Any = SimpleNamespace(active=True, _trouble="", _warning="", now_ns=lambda: ARMED_NS, diagnose=dict)
    node.get_name, node.get_namespace = (lambda: "mpc_planner"), (lambda: "/arm")
    node.get_logger = lambda: SimpleNamespace(
        error=lambda text: heard.append(f"error: {text}"), warning=lambda text: heard.append(f"warning: {text}")
    )
    node._diagnostics = SimpleNamespace(publish=published.append)
    for trouble, warning in asked:
        node.trouble, node.warning = (lambda text=trouble: text), (lambda text=warning: text)
        GraphNode._publish_diagnostics(node)
    (status,) = published[-1].status
    assert (status.level, status.message) == (level, message)
    assert heard == said


def test_the_planner_tells_both_delays_and_what_is_wrong_with_them() -> None:
    node: Any = SimpleNamespace(
        _config=PlannerConfig(),
        _goals=SimpleNamespace(refused=0, refusal=""),
        _inputs=SimpleNamespace(refused=0),
        _models=SimpleNamespace(facts=dict),
        _watch=CycleWatch(),
        _planner=Bench(ARM).planner,
    )
    facts = MpcPlanner.diagnose(node)
    assert (facts["delay_compensated_ms"], facts["delay_found_ms"]) == ("8.0", "8.0")
    assert MpcPlanner.warning(node) == ""
    node._planner.delay._apart_ns = 3 * 10**9
    node._goals.refusal = "the newest goal was refused"
    assert MpcPlanner.warning(node).startswith("the newest goal was refused; ")
    assert "delay_window_s" in MpcPlanner.warning(node)


def test_a_goal_that_cannot_be_read_is_counted_and_leaves_the_one_before() -> None:
    node: Any = Listener()
    goals = GoalInput(node, ARM)
    node.send(ARMED_NS, ARMED_NS)
    spoilt = goal_to_msg(Goal(ARMED_NS, GoalKind.POSE, np.zeros(3), ARM.home, 2), ARM.joint_names, ARM.base_frame, "")
    spoilt.joint = []
    node.receive(spoilt)
    assert goals.refused == 1
    assert "goal.joint: 0 values" in node.said[-1]
    assert goals.refusal.startswith("the newest goal was refused, the one before it is followed: goal.joint: 0 values")
    assert goals.in_force(ARMED_NS, belief(ARM.home)).sequence == 1
    node.send(ARMED_NS, ARMED_NS)
    assert goals.refusal == ""


def test_a_belief_that_is_no_number_is_not_where_the_arm_stays() -> None:
    node: Any = Listener()
    goals = GoalInput(node, ARM)
    goals.in_force(ARMED_NS, belief(np.full(ARM.joints, np.nan)))
    np.testing.assert_array_equal(goals.in_force(ARMED_NS, belief(ARM.home)).joint, ARM.home)
    np.testing.assert_array_equal(goals.in_force(ARMED_NS, belief(ARM.home + 0.1)).joint, ARM.home)


def test_a_command_that_is_no_number_or_has_no_place_is_counted_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan_inputs, "Polled", Queue)
    node: Any = Listener()
    inputs = plan_inputs.PlanInputs(node, ARM)
    for stamp_ns, value in ((1, 0.1), (2, np.nan), (3, 0.2), (3, 0.9), (2, 0.9), (plan_inputs.AHEAD_NS + 1, 0.9)):
        applied = np.full(ARM.joints, value)
        command = SafeCommand(stamp_ns, 1, stamp_ns, applied, applied, 0, Stage.NONE, "", True, ARM.interface)
        inputs._commands.messages.append(safe_command_to_msg(command, ARM.joint_names, 0, 0))
    inputs.take()
    assert inputs.refused == 4
    assert "0.050 s in the future" in node.said[-1]
    assert inputs.history.last_stamp_ns == 3
    np.testing.assert_array_equal(inputs.history.last_velocity, np.full(ARM.joints, 0.2))


class Queue:
    """In place of a polled subscription."""

    def __init__(self, *_: Any) -> None:
        self.messages: list[Any] = []

    def drain(self) -> list[Any]:
        return self.messages

    def newest(self) -> None:
        return None


def belief(position: Array) -> BeliefState:
    joints = ARM.joints
    return BeliefState(ARMED_NS, position, np.zeros(joints), np.zeros((joints, 2, 2)), np.zeros(joints))


@pytest.mark.parametrize(
    ("stamp_ns", "at_ns", "told"),
    [
        (0, ARMED_NS + 1, True),
        (ARMED_NS - 1, ARMED_NS + 1, True),
        (ARMED_NS, ARMED_NS + 1, False),
        (ARMED_NS - 2, ARMED_NS - 1, False),
    ],
    ids=["without a stamp", "stamped before", "in order", "of before the arming"],
)
def test_a_goal_that_came_after_the_arming_and_is_not_followed_is_told(stamp_ns: int, at_ns: int, told: bool) -> None:
    said = trouble(heard(stamp_ns, at_ns), ())
    assert ("stamped before the last arming" in said) is told
    assert bool(said) is told
