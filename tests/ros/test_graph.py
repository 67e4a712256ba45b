"""The real graph: separate processes over real DDS, driven like the demo drives it. About 80 s."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading

import numpy as np
import pytest

from mbrl_control.cli.locations import arm_file, launch_file
from mbrl_control.cli.processes import Graph, GraphFailed
from mbrl_control.cli.session import Session, run_verb
from mbrl_control.cli.task_client import TaskClient, TaskError
from mbrl_control.episode_log import schema
from mbrl_control.episode_log.reader import LogReader, stamp_ns
from mbrl_control.graph import load_graph
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.robot import load_arm
from mbrl_control.signals import OperatorState
from sim.truth_file import read_truth
from tests.patience import HUNG_S, SLOW_S
from tests.ros.slowed import REAL_TIME_FACTOR, pause

pytestmark = [pytest.mark.ros, pytest.mark.timeout(SLOW_S)]
ARM = load_arm(arm_file("planar"))
TARGET = forward_kinematics(ARM, ARM.home + 0.3)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("graph")
    session = Session(folder, arm_file("planar"), ARM.name, 1, 0.5, real_time_factor=REAL_TIME_FACTOR)
    run_verb(["models", "prior", "--robot", str(session.arm), "--registry", str(session.registry)])
    return session


@pytest.fixture(scope="module")
def finished(session: Session) -> tuple[Session, list[int]]:
    """One run: reach a target, exchange planner and collector, roll a model over; then a kill of the guard."""
    with session.graph(load_graph(launch_file("graph.yaml"))) as graph:
        graph.start()
        session.await_log()
        pids = [node.process.pid for node in graph.nodes.values()]
        with TaskClient(graph, session.arm) as task:
            task.run(do="reach", phase="nominal", targets=[TARGET.tolist()] * 2, window=2.0)
            task.run(do="excite", seconds=2.0)
            task.run(do="hold")
            run_verb(["models", "prior", "--robot", str(session.arm), "--registry", str(session.registry)])
            task.run(do="await_model", model_id=f"{ARM.name}/2")
            mover = threading.Thread(target=keep_moving, args=(task,))
            mover.start()
            pause(1.2)
            kill_guard(graph)
            # Long enough that what the graph's orderly end does comes clearly after what the kill does.
            pause(2.0)
        mover.join()
    return session, pids


def keep_moving(task: TaskClient) -> None:
    """Two targets in turn; the guard dies meanwhile, so the command cannot end well."""
    away = forward_kinematics(ARM, ARM.home - 0.4).tolist()
    with pytest.raises((TaskError, GraphFailed)):
        task.run(do="reach", phase="payload", targets=[away, TARGET.tolist()] * 4, window=0.6)


def kill_guard(graph: Graph) -> None:
    os.kill(graph.nodes["guard"].process.pid, signal.SIGKILL)
    graph.nodes["guard"].process.wait(HUNG_S)
    with pytest.raises(GraphFailed, match="guard ended with status -9"):
        graph.check()


def test_every_topic_of_the_graph_reaches_the_log(finished: tuple[Session, list[int]]) -> None:
    silent = {"operator_heartbeat", "estop"}
    seen = {topic.name for topic, _, _ in LogReader(finished[0].log).messages(schema.GRAPH_TOPICS)}
    assert seen >= {topic.name for topic in schema.GRAPH_TOPICS} - silent


def test_the_arm_reaches_the_target_in_the_simulators_truth(finished: tuple[Session, list[int]]) -> None:
    """The goal is given twice: a stall of a busy machine may stop the arm once, and it is re-armed."""
    session, _ = finished
    goals = [m for _, _, m in LogReader(session.log).messages((schema.GOAL,)) if m.label.startswith("nominal/")]
    begin, last_ns = stamp_ns(goals[0].stamp), stamp_ns(goals[-1].stamp)
    truth = read_truth(session.truth)
    last = (truth.stamp_ns >= last_ns + 1.5e9) & (truth.stamp_ns < last_ns + 2.0e9)
    assert last.sum() > 100
    error = np.linalg.norm(truth.tool[last] - TARGET, axis=1).mean()
    start = np.linalg.norm(truth.tool[truth.stamp_ns >= begin][0] - TARGET)
    assert error < 0.1 * start


def test_planner_and_collector_never_publish_beside_each_other(finished: tuple[Session, list[int]]) -> None:
    """By epoch: each activation publishes one unbroken run of plans."""
    epochs = [m.epoch for _, _, m in LogReader(finished[0].log).messages((schema.PLAN,))]
    runs = [epochs[0]] + [b for a, b in itertools.pairwise(epochs) if a != b]
    assert len(runs) == len(set(runs)) == 3


def test_the_model_changes_between_two_adjacent_plans(finished: tuple[Session, list[int]]) -> None:
    plans = [m for _, _, m in LogReader(finished[0].log).messages((schema.PLAN,))]
    change = next(i for i in range(1, len(plans)) if plans[i].model_id == f"{ARM.name}/2")
    assert plans[change - 1].sequence + 1 == plans[change].sequence
    assert plans[change - 1].epoch == plans[change].epoch


def test_the_states_the_guard_went_through(finished: tuple[Session, list[int]]) -> None:
    states = [m.state for _, _, m in LogReader(finished[0].log).messages((schema.SAFETY_STATUS,))]
    assert states[0] == OperatorState.IDLE
    assert {OperatorState.ARMED, OperatorState.RUNNING, OperatorState.OPERATOR_HOLD} <= set(states)


def test_a_dead_guard_stops_a_moving_arm(finished: tuple[Session, list[int]]) -> None:
    """The relay latches and goes silent, the driver clamps its brakes, long before the graph is ended."""
    session, _ = finished
    streams = LogReader(session.log).decoded((schema.SAFE_COMMAND, schema.RELAY_STATUS))
    died_ns = stamp_ns(streams[schema.SAFE_COMMAND][-1].stamp)
    latched_ns = min(
        stamp_ns(m.stamp) for m in streams[schema.RELAY_STATUS] if m.latched and stamp_ns(m.stamp) > died_ns
    )
    truth = read_truth(session.truth)
    before = (truth.stamp_ns > died_ns - 100_000_000) & (truth.stamp_ns <= died_ns)
    assert np.abs(truth.velocity[before]).max() > 0.05
    braked_ns = truth.stamp_ns[(truth.stamp_ns > died_ns) & truth.brakes][0]
    ended_ns = truth.stamp_ns[-1]
    assert latched_ns - died_ns < 0.25 * (ended_ns - died_ns)
    assert braked_ns - died_ns < 0.25 * (ended_ns - died_ns)
    assert np.abs(truth.velocity[-1]).max() < 1e-2


def test_nothing_is_left_running(finished: tuple[Session, list[int]]) -> None:
    for pid in finished[1]:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_the_run_says_what_scheduling_was_in_force(finished: tuple[Session, list[int]]) -> None:
    lines = (finished[0].nodes / "guard.log").read_text().splitlines()
    ready = next(line for line in lines if line.startswith('{"node"'))
    assert json.loads(ready)["scheduling"].startswith(("SCHED_FIFO", "SCHED_OTHER"))
