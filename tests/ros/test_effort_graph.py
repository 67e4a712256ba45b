"""The real graph under torques, planar arm: it is held, goes to a pose and follows a figure eight. About 70 s."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_control.cli.locations import arm_file, launch_file
from mbrl_control.cli.session import Session, run_verb
from mbrl_control.cli.task_client import TaskClient
from mbrl_control.cli.wiring import Wiring
from mbrl_control.episode_log import schema
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.graph import load_graph
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.report.limits import limit_violations
from mbrl_control.report.reach import tool_error_mm
from mbrl_control.report.run_data import RunData, read_run
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface
from sim.truth_file import TruthLog, read_truth
from tests.patience import SLOW_S
from tests.ros.slowed import REAL_TIME_FACTOR

pytestmark = [pytest.mark.ros, pytest.mark.timeout(SLOW_S)]
ARM = load_arm(arm_file("planar"), CommandInterface.EFFORT)
WINDOW_S = 2.0
LAPS = ("fresh", "payload", "relearned")
"""One in each phase, so that the log tells which of them the guard stopped."""
TARGET = forward_kinematics(ARM, ARM.home + 0.2)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A pose given twice and three laps, as a stall of a busy machine may stop the arm meanwhile; then held."""
    folder, wiring = tmp_path_factory.mktemp("effort"), Wiring(command=CommandInterface.EFFORT)
    session = Session(*(folder, arm_file("planar"), ARM.name, 1, 0.5), wiring=wiring, real_time_factor=REAL_TIME_FACTOR)
    run_verb(["models", "prior", *session.model_options])
    with session.graph(load_graph(launch_file("graph.yaml"))) as graph:
        graph.start()
        session.await_log()
        with TaskClient(graph, session.arm) as task:
            task.run(do="reach", phase="nominal", targets=[TARGET.tolist()] * 2, window=WINDOW_S)
            for phase in LAPS:
                task.run(do="track", phase=phase, amplitude=0.1, period=5.0, laps=1)
            task.run(do="hold")
    return session


@pytest.fixture(scope="module")
def run(session: Session) -> tuple[RunData, TruthLog]:
    return read_run(session.log, ARM), read_truth(session.truth)


def test_every_command_of_the_log_is_a_torque_within_the_limits(
    session: Session, run: tuple[RunData, TruthLog]
) -> None:
    numbers = {m.interface for _, _, m in LogReader(session.log).messages((schema.SAFE_COMMAND, schema.PLAN))}
    assert numbers == {1}
    data, truth = run
    assert sum(limit_violations(truth, data.ticks, ARM).values()) == 0


def test_the_pose_is_reached(run: tuple[RunData, TruthLog]) -> None:
    data, truth = run
    goal = [goal for goal in data.goals if goal.phase == "nominal"][-1]
    elapsed, error = tool_error_mm(goal, truth)
    # Friction that the prior does not know is left: millimetres, not the decimetres of an arm that falls.
    assert error[(elapsed > 1.5) & (elapsed < WINDOW_S)].mean() < 30.0


def test_the_figure_eight_is_followed(run: tuple[RunData, TruthLog]) -> None:
    data, truth = run
    laps = {goal.phase: goal for goal in data.goals if goal.phase in LAPS}
    assert tuple(laps) == LAPS
    assert all(goal.window_s == pytest.approx(6.0) for goal in laps.values())
    unstopped = [goal for phase, goal in laps.items() if phase not in data.stops]
    assert unstopped, f"the guard stopped every lap: {data.stops}"
    for goal in unstopped:
        _, error = tool_error_mm(goal, truth)
        assert np.sqrt(np.mean(error**2)) < 30.0
