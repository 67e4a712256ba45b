"""The command interfaces end to end over real DDS: relay, stand-in of the controller, simulated arm. About 100 s."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mbrl_control.cli.locations import arm_file, launch_file, params_file
from mbrl_control.cli.processes import Graph, GraphFailed
from mbrl_control.cli.session import Session, run_verb
from mbrl_control.cli.task_client import TaskClient, TaskError
from mbrl_control.cli.wiring import Wiring, checked_params_file
from mbrl_control.episode_log import schema
from mbrl_control.episode_log.reader import LogReader, stamp_ns
from mbrl_control.graph import load_graph
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.robot import load_arm
from mbrl_control.safety.config import limits_of
from mbrl_control.safety.controllers import ControllerInterface
from sim.truth_file import read_truth
from tests.patience import HUNG_S, SLOW_S
from tests.ros.slowed import REAL_TIME_FACTOR, pause

pytestmark = [pytest.mark.ros, pytest.mark.timeout(SLOW_S)]
ATTEMPTS = 3
WATCH_S = 0.002
"""The relay's period: a step of its ramp."""
ARM = load_arm(arm_file("planar"))
TARGET = forward_kinematics(ARM, ARM.home + 0.3)
AWAY = forward_kinematics(ARM, ARM.home - 0.4)


def session(folder: Path, interface: ControllerInterface) -> Session:
    """With the shipped parameter file, which the nodes themselves check: they refuse what they do not declare."""
    wiring = Wiring(params_file=checked_params_file(params_file("sim.yaml")), controller_interface=interface)
    made = Session(*(folder, arm_file("planar"), ARM.name, 1, 0.5), wiring=wiring, real_time_factor=REAL_TIME_FACTOR)
    run_verb(["models", "prior", "--robot", str(made.arm), "--registry", str(made.registry)])
    return made


@pytest.mark.parametrize("interface", [ControllerInterface.POSITION, ControllerInterface.JOINT_TRAJECTORY])
def test_the_arm_reaches_a_target_and_an_ending_relay_brings_it_to_rest(
    interface: ControllerInterface, tmp_path: Path
) -> None:
    for attempt in range(ATTEMPTS):
        (folder := tmp_path / str(attempt)).mkdir()
        run = session(folder, interface)
        move_and_end_the_relay(run)
        if moved_until_the_relay_ended(run):
            break
    else:
        pytest.fail(f"in {ATTEMPTS} runs the arm was slow or had stopped when the relay ended")
    reached(run)
    wound_down(run, interface)


def move_and_end_the_relay(run: Session) -> None:
    with run.graph(load_graph(launch_file("graph.yaml"))) as graph:
        graph.start()
        run.await_log()
        with TaskClient(graph, run.arm) as task:
            task.run(do="reach", phase="there", targets=[TARGET.tolist()] * 2, window=2.0)
            turned = threading.Event()
            mover = threading.Thread(target=keep_moving, args=(task, turned))
            mover.start()
            assert turned.wait(HUNG_S)
            # On the way back, by the graph's own progress: 0.3 s after the turn the arm is near its highest speed.
            pause(0.3)
            os.kill(graph.nodes["command_relay"].process.pid, signal.SIGINT)
            graph.nodes["command_relay"].process.wait(HUNG_S)
            pause(0.5)
        mover.join()


def moved_until_the_relay_ended(run: Session) -> bool:
    """A stop, or a target just reached or turned back from, leaves nothing to wind down: 20 steps are asked for."""
    before_the_last, last = [m for _, _, m in LogReader(run.log).messages((schema.RELAY_STATUS,))][-2:]
    fast = (np.abs(last.last_sent) > 20 * WATCH_S * limits_of(ARM).command_rate).any()
    return before_the_last.publishing and not before_the_last.latched and bool(fast)


def keep_moving(task: TaskClient, turned: threading.Event) -> None:
    """Two targets in turn, ``turned`` at the second; the relay ends meanwhile, so the command cannot end well."""

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "target":
            turned.set()

    with pytest.raises((TaskError, GraphFailed)):
        task.run(on_event, do="reach", phase="moving", targets=[AWAY.tolist(), TARGET.tolist()] * 4, window=0.6)


def reached(run: Session) -> None:
    """In the simulator's truth, at the end of one of two windows: a busy machine may stop the arm in the other."""
    goals = [m for _, _, m in LogReader(run.log).messages((schema.GOAL,)) if m.label.startswith("there/")]
    begins = [stamp_ns(goal.stamp) for goal in goals]
    truth = read_truth(run.truth)
    errors = np.linalg.norm(truth.tool - TARGET, axis=1)
    ends = [(truth.stamp_ns >= begin + 1.5e9) & (truth.stamp_ns < begin + 2.0e9) for begin in begins]
    assert all(end.sum() > 100 for end in ends)
    assert min(errors[end].mean() for end in ends) < 0.1 * errors[truth.stamp_ns >= begins[0]][0]


def wound_down(run: Session, interface: ControllerInterface) -> None:
    """The relay said that it was latched and sent a ramp: until it ended the arm was in motion, then it rested."""
    reader = LogReader(run.log)
    latched = [stamp_ns(m.stamp) for _, _, m in reader.messages((schema.RELAY_STATUS,)) if m.latched]
    commands = schema.Topic(interface.topic(), interface.message_type, schema.QosClass.STREAM)
    sent = [(published_ns, m) for _, published_ns, m in reader.messages((commands,))]
    ramp = [m for published_ns, m in sent if published_ns >= latched[-1]]
    assert len(ramp) > 5
    if interface is ControllerInterface.JOINT_TRAJECTORY:
        assert all(not any(m.points[0].velocities) for _, m in sent)
        return
    steps = np.abs(np.diff([m.data for m in ramp], axis=0)).max(axis=1)
    assert steps[-1] < 0.3 * steps[:3].max()
    truth = read_truth(run.truth)
    assert np.abs(truth.velocity[truth.stamp_ns <= latched[-1]][-1]).max() > 0.1
    assert np.abs(truth.velocity[truth.stamp_ns >= sent[-1][0] + 3e8]).max() < 2e-2


def test_where_no_controller_listens_the_relay_says_so_and_claims_no_motion(tmp_path: Path) -> None:
    run = session(tmp_path, ControllerInterface.VELOCITY)
    starts = [
        replace(start, parameters={**start.parameters, "controller_name": "absent_controller"})
        if start.name in ("command_relay", "data_logger")
        else start
        for start in run.starts(load_graph(launch_file("graph.yaml")))
    ]
    words = "no controller listens on /planar/absent_controller/commands: the arm does not move; start it: ros2 run"
    environment = run.graph(load_graph(launch_file("graph.yaml"))).environment
    with Graph(starts, run.nodes, environment) as graph:
        graph.start()
        run.await_log()
        while words not in (run.nodes / "command_relay.log").read_text():
            graph.check()
            time.sleep(0.2)
        with TaskClient(graph, run.arm) as task:
            task.run(do="reach", phase="there", targets=[TARGET.tolist()], window=1.0)
    statuses = [s for _, _, m in LogReader(run.log).messages((schema.DIAGNOSTICS,)) for s in m.status]
    levels = {s.name: bytes([s.level]) if isinstance(s.level, int) else s.level for s in statuses}
    assert levels["command_relay: node"] == b"\x02"
    assert levels["guard: node"] == b"\x00"
    relay = [m for _, _, m in LogReader(run.log).messages((schema.RELAY_STATUS,))]
    assert relay[-1].sent > 0
    assert not any(m.publishing for m in relay)
