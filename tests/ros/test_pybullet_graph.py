"""The same graph over PyBullet: reaches a target, and the truth file says whose truth it is. About 35 s."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mbrl_control.cli.locations import arm_file, launch_file
from mbrl_control.cli.session import Session, run_verb
from mbrl_control.cli.task_client import TaskClient
from mbrl_control.graph import load_graph
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.robot import load_arm
from sim.truth_file import read_truth
from tests.patience import SLOW_S
from tests.ros.slowed import REAL_TIME_FACTOR

pytestmark = [pytest.mark.ros, pytest.mark.timeout(SLOW_S)]
ARM = load_arm(arm_file("planar"))
TARGET = forward_kinematics(ARM, ARM.home + 0.3)


def test_the_arm_reaches_a_target_in_pybullet(tmp_path: Path) -> None:
    """The target is given twice: a stall of a busy machine may stop the arm once, and it is re-armed."""
    session = Session(*(tmp_path, arm_file("planar"), ARM.name, 1, 0.5, "pybullet"), real_time_factor=REAL_TIME_FACTOR)
    run_verb(["models", "prior", "--robot", str(session.arm), "--registry", str(session.registry)])
    with session.graph(load_graph(launch_file("graph.yaml"))) as graph:
        graph.start()
        with TaskClient(graph, session.arm) as task:
            task.run(do="reach", phase="nominal", targets=[TARGET.tolist()] * 2, window=2.0)
    truth = read_truth(session.truth)
    assert truth.simulation["simulator"] == "pybullet"
    assert truth.simulation["randomization_seed"] == -1
    distance = np.linalg.norm(truth.tool - TARGET, axis=1)
    assert distance.min() < 0.1 * distance[0]
    np.testing.assert_array_equal(np.diff(truth.step), 1)
