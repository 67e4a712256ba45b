"""A broken model with a good signature in the running graph: the guard holds, the registry goes back. About 60 s."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from mbrl_control.cli.locations import arm_file, launch_file
from mbrl_control.cli.session import Session
from mbrl_control.cli.task_client import TaskClient
from mbrl_control.deployment.lifecycle import promote
from mbrl_control.deployment.registry import Registry
from mbrl_control.episode_log import schema
from mbrl_control.episode_log.reader import LogReader, stamp_ns
from mbrl_control.graph import load_graph
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.robot import load_arm
from mbrl_control.signals import OperatorState
from tests.live_support import taught
from tests.patience import SLOW_S
from tests.ros.slowed import REAL_TIME_FACTOR, pause

pytestmark = [pytest.mark.ros, pytest.mark.timeout(SLOW_S)]
ARM = load_arm(arm_file("planar"))
ACTIVE, REJECTED = 1, 2
MODEL, BROKEN = f"{ARM.name}/1", f"{ARM.name}/2"


@dataclass(frozen=True)
class Run:
    session: Session
    registry: Registry


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two targets in turn; meanwhile a broken model is activated, left, and the operator goes on."""
    folder = tmp_path_factory.mktemp("rejection")
    session = Session(folder, arm_file("planar"), ARM.name, 1, 0.5, real_time_factor=REAL_TIME_FACTOR)
    registry, lesson = Registry(session.registry, ARM.model_name), taught()
    promote(registry, lesson.store(registry), ARM)
    broken = lesson.store(registry, velocity_off=0.5)
    with session.graph(load_graph(launch_file("graph.yaml"))) as graph:
        graph.start()
        session.await_log()
        with TaskClient(graph, session.arm) as task:
            task.run(do="reach", phase="nominal", targets=places(3), window=1.0)
            mover = threading.Thread(target=keep_moving, args=(task,))
            mover.start()
            pause(1.0)
            promote(registry, broken, ARM)
            mover.join()
            task.run(do="reach", phase="relearned", targets=places(2), window=1.0)
    return Run(session, registry)


def places(count: int) -> list[list[float]]:
    """As far apart as the arm never rests."""
    return [forward_kinematics(ARM, ARM.home + (-1) ** number * 0.5).tolist() for number in range(count)]


def keep_moving(task: TaskClient) -> None:
    """Each new target starts the arm again where the guard holds: an operator who insists."""
    task.run(do="reach", phase="payload", targets=places(16), window=0.6)


def test_the_model_is_called_rejected_and_the_one_before_active_again(run: Run) -> None:
    said = [m for _, _, m in LogReader(run.session.log).messages((schema.MODEL_STATUS,))]
    assert [(m.status, m.model_id) for m in said] == [
        (ACTIVE, MODEL),
        (ACTIVE, BROKEN),
        (REJECTED, BROKEN),
        (ACTIVE, MODEL),
    ]
    assert said[3].reason == f"rolled back from {BROKEN}: {said[2].reason}"
    assert run.registry.active() == 1
    assert run.registry.rejected() == {2: said[2].reason}


def test_the_guard_holds_at_once_and_goes_on_with_the_model_before(run: Run) -> None:
    log = LogReader(run.session.log)
    rejected_ns = next(stamp_ns(m.stamp) for _, _, m in log.messages((schema.MODEL_STATUS,)) if m.status == REJECTED)
    after = [m for _, _, m in log.messages((schema.SAFETY_STATUS,)) if stamp_ns(m.stamp) > rejected_ns]
    entered = [m for before, m in pairwise(after) if m.state != before.state]
    told = [(OperatorState(m.state).name, list(m.reasons)) for m in (after[0], *entered)]
    held = next((m for m in after if m.state == OperatorState.OPERATOR_HOLD), None)
    assert held is not None, told
    assert held.reasons[0].startswith(f"model {BROKEN} was rejected: ")
    running = [m for m in after if stamp_ns(m.stamp) > stamp_ns(held.stamp) and m.state == OperatorState.RUNNING]
    assert running
    assert {m.model_id for m in running} == {MODEL}


def test_windows_of_motion_are_in_the_log_with_what_was_promised(run: Run) -> None:
    found = [m for _, _, m in LogReader(run.session.log).messages((schema.MODEL_RESIDUAL,))]
    ours = [m for m in found if m.model_id == MODEL]
    assert len(ours) > 5
    assert all(len(m.innovation) == 3 and np.isfinite(m.innovation).all() and m.promised > 0.0 for m in ours)
    lengths = {stamp_ns(m.stamp) - stamp_ns(m.window) for m in found}
    assert lengths == {500_000_000}
