"""The truth file survives a kill, and says what the simulator was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.robot import load_arm
from sim.generate import ROBOTS
from sim.mujoco_arm import MujocoArm
from sim.truth_file import FLUSH_NS, TruthFileError, TruthWriter, read_truth

FACTS = {"simulator": "mujoco", "command_interface": "velocity", "further": [1.5, None]}
KILLED = """
import os, signal, sys
from sim.mujoco_arm import MujocoArm
from sim.truth_file import TruthWriter
sim = MujocoArm(sys.argv[1], 0)
writer = TruthWriter(sys.argv[2], sim.arm, {})
for _ in range(220):
    writer.write(sim.truth())
    sim.step()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_is_written_is_read_back_exactly(tmp_path: Path) -> None:
    sim = MujocoArm(ROBOTS / "panda.yaml", 0, start_ns=1_800_000_000_000_000_001)
    states = []
    with TruthWriter(tmp_path / "truth", sim.arm, FACTS) as writer:
        sim.command(0.2 * sim.arm.velocity)
        for index in range(130):
            if index == 60:
                sim.attach_payload(0.7, np.zeros(3))
                sim.brake(True)
            sim.step()
            states.append(sim.truth())
            writer.write(states[-1])
    log = read_truth(tmp_path / "truth")
    assert (log.robot, log.joint_names, len(log)) == ("panda", sim.arm.joint_names, 130)
    assert log.simulation == FACTS
    for name in ("stamp_ns", "step", "position", "velocity", "effort", "tool", "payload_mass", "brakes"):
        np.testing.assert_array_equal(getattr(log, name), np.array([getattr(state, name) for state in states]))


def test_a_killed_writer_loses_at_most_the_flush_interval(tmp_path: Path) -> None:
    path = tmp_path / "truth"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, str(ROBOTS / "planar.yaml"), str(path)], cwd=root, check=False)
    assert done.returncode < 0
    log = read_truth(path)
    assert 220 - len(log) <= FLUSH_NS // 2_000_000
    np.testing.assert_array_equal(log.step, np.arange(len(log)))


@pytest.mark.parametrize("cut", [1, 7, 100])
def test_a_partial_last_record_is_ignored(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "truth"
    sim = MujocoArm(ROBOTS / "planar.yaml", 0)
    with TruthWriter(path, sim.arm, FACTS) as writer:
        for _ in range(10):
            writer.write(sim.truth())
            sim.step()
    path.write_bytes(path.read_bytes()[:-cut])
    assert len(read_truth(path)) == 9


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TruthFileError, match="no such file"):
        read_truth(tmp_path / "none")
    for content in (b"\x89MCAP", b'{"format": "other"}\n', b""):
        (tmp_path / "foreign").write_bytes(content)
        with pytest.raises(TruthFileError, match="header"):
            read_truth(tmp_path / "foreign")


def test_an_older_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "truth").write_text("older")
    with pytest.raises(FileExistsError):
        TruthWriter(tmp_path / "truth", load_arm(ROBOTS / "planar.yaml"), FACTS)
