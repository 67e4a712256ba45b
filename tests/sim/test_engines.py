"""Engines by name: each opens its own simulator, and loads nothing of the other one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mbrl_control.robot import ArmError
from mbrl_control.signals import CommandInterface
from sim.engines import Simulator, interface_named, open_arm, simulation_facts, simulator_named
from sim.generate import ROBOTS, generated_files
from tests.sim.variants import variant

FOREIGN = {Simulator.MUJOCO: "pybullet", Simulator.PYBULLET: "mujoco"}
OPENED = """
import sys
from sim.engines import Simulator, open_arm
sim = open_arm(Simulator(sys.argv[1]), sys.argv[2], 0)
sim.step()
assert sys.argv[3] not in sys.modules, f"{sys.argv[3]} is loaded"
print(type(sim).__name__)
"""


@pytest.mark.parametrize("simulator", list(Simulator))
def test_an_engine_is_opened_without_the_other_and_without_a_word(simulator: Simulator) -> None:
    arguments = [simulator.value, str(ROBOTS / "planar.yaml"), FOREIGN[simulator]]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", OPENED, *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().lower() == f"{simulator.value}arm"


@pytest.mark.parametrize("simulator", list(Simulator))
@pytest.mark.parametrize("interface", list(CommandInterface))
def test_what_was_asked_is_what_runs_and_what_is_said(simulator: Simulator, interface: CommandInterface) -> None:
    sim = open_arm(simulator, ROBOTS / "planar.yaml", 0, 7_000_000, interface)
    assert (sim.time_ns, sim.interface) == (7_000_000, interface)
    facts = simulation_facts(simulator, sim, 7)
    assert (facts["simulator"], facts["command_interface"]) == (simulator.value, interface.value)
    assert facts["randomization_seed"] == 7


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ArmError, match=r"simulator: 'gazebo'.*mujoco, pybullet"):
        simulator_named("gazebo")
    with pytest.raises(ArmError, match=r"command_interface: 'force'.*velocity, effort"):
        interface_named("force")
    assert (simulator_named("pybullet"), interface_named("effort")) == (Simulator.PYBULLET, CommandInterface.EFFORT)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (('timestep="0.002"', 'timestep="0.001"'), r"timestep is 0\.001 s.*sim\.generate"),
        (("elbow", "knee"), r"'knee'.*the YAML names.*'elbow'.*sim\.generate"),
    ],
)
def test_a_model_file_that_was_not_generated_from_the_arm_is_named(
    tmp_path: Path, edit: tuple[str, str], said: str
) -> None:
    source = variant(tmp_path, "planar", lambda description: None)
    model = source.with_suffix(".mjcf.xml")
    text = generated_files(source)[model]
    assert edit[0] in text
    model.write_text(text.replace(*edit))
    with pytest.raises(ArmError, match=said):
        open_arm(Simulator.MUJOCO, source, 0)
    model.unlink()
    with pytest.raises(ArmError, match=r"no such file; generate it"):
        open_arm(Simulator.MUJOCO, source, 0)
