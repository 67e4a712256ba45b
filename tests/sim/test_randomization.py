"""Drawn plants: within their ranges, reproducible from a seed or a truth file, the same plant in both engines."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from mbrl_control.robot import Arm, ArmError, load_arm
from mbrl_control.signals import CommandInterface
from sim.arm_sim import ArmSim
from sim.engines import Simulator, open_arm, simulation_facts
from sim.generate import ROBOTS, TIMESTEP_S
from sim.mujoco_arm import MujocoArm
from sim.randomization import SimParameters, draw_parameters, load_randomization, randomized_plant
from sim.truth_file import TruthWriter, read_truth
from tests.sim.variants import variant, without_friction

SHIPPED = sorted(path.stem for path in ROBOTS.glob("*.yaml"))
LOUDER = ("position_std", "velocity_std", "effort_std")


@pytest.fixture(params=SHIPPED)
def path(request: pytest.FixtureRequest) -> Path:
    return ROBOTS / f"{request.param}.yaml"


def motion(sim: ArmSim, steps: int = 200) -> np.ndarray:
    """[steps, 3J] true position, velocity and effort under commands that reverse; the payload comes and goes."""
    rows = []
    for step in range(steps):
        if step % 50 == 0:
            sim.command(0.3 * sim.arm.velocity * (1.0 - 2.0 * (step // 50 % 2)))
        if step in (60, 140):
            sim.attach_payload(0.5 if step == 60 else 0.0, np.array([0.0, 0.0, 0.05]))
        sim.step()
        truth = sim.truth()
        rows.append(np.concatenate([truth.position, truth.velocity, truth.effort]))
    return np.array(rows)


def test_every_draw_lies_in_its_ranges_and_the_ranges_are_used(path: Path) -> None:
    arm, ranges, generator = load_arm(path), load_randomization(path), np.random.default_rng(0)
    drawn = [draw_parameters(ranges, arm, generator) for _ in range(300)]
    factors = {
        "mass": np.array([p.mass_scale for p in drawn]),
        "friction_coulomb": np.array([p.friction_coulomb / arm.friction_coulomb for p in drawn]),
        "friction_viscous": np.array([p.friction_viscous / arm.friction_viscous for p in drawn]),
        "servo_gain": np.array([p.servo_gain / arm.servo_gain for p in drawn]),
        "servo_lag": np.array([p.servo_lag_s / arm.servo_lag_s for p in drawn]),
        "noise": np.array([[getattr(p.noise, n) / getattr(arm.noise, n) for n in LOUDER] for p in drawn]),
        "command_delay_steps": np.array([[(p.command_delay_s - arm.command_delay_s) / TIMESTEP_S] for p in drawn]),
    }
    assert set(factors) == {field.name for field in fields(ranges)}
    for name, values in factors.items():
        low, high = getattr(ranges, name)
        assert (values >= low - 1e-9).all(), name
        assert (values <= high + 1e-9).all(), name
        # Each column fills its range, and no two columns are one draw.
        assert (values.min(axis=0) < low + 0.05 * (high - low)).all(), name
        assert (values.max(axis=0) > high - 0.05 * (high - low)).all(), name
        assert values.shape[1] == 1 or np.abs(np.corrcoef(values.T) - np.eye(values.shape[1])).max() < 0.3, name
    steps = factors["command_delay_steps"]
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    assert {p.noise.position_quantum for p in drawn} == {arm.noise.position_quantum}


def test_one_seed_is_one_plant(path: Path) -> None:
    first, again, other = (randomized_plant(path, seed) for seed in (3, 3, 4))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.facts() == again.facts()
    assert first.facts() != other.facts()
    assert randomized_plant(path, -1) is None


def test_nominal_parameters_are_what_the_generated_model_holds_exactly(path: Path) -> None:
    """So a plant that is not drawn is the model as compiled, bit for bit."""
    compiled = MujocoArm(path, 0)._model
    read = mujoco.MjModel.from_xml_path(str(path.with_suffix(".mjcf.xml")))
    for name in ("body_mass", "body_inertia", "dof_damping", "dof_frictionloss", "actuator_gainprm"):
        np.testing.assert_array_equal(getattr(compiled, name), getattr(read, name), err_msg=name)
    for name in ("actuator_dynprm", "actuator_biasprm", "body_gravcomp", "dof_invweight0"):
        np.testing.assert_array_equal(getattr(compiled, name), getattr(read, name), err_msg=name)


@pytest.mark.parametrize("simulator", list(Simulator))
def test_the_arm_itself_is_the_default(path: Path, simulator: Simulator) -> None:
    nominal = SimParameters.nominal(load_arm(path))
    default = motion(open_arm(simulator, path, 0))
    np.testing.assert_array_equal(motion(open_arm(simulator, path, 0, parameters=nominal)), default)


Change = Callable[[SimParameters], SimParameters]
CHANGES: dict[str, Change] = {
    "mass_scale": lambda p: replace(p, mass_scale=1.05 * p.mass_scale),
    "friction_coulomb": lambda p: replace(p, friction_coulomb=1.5 * p.friction_coulomb),
    "friction_viscous": lambda p: replace(p, friction_viscous=1.5 * p.friction_viscous),
    "servo_gain": lambda p: replace(p, servo_gain=1.2 * p.servo_gain),
    "servo_lag_s": lambda p: replace(p, servo_lag_s=1.2 * p.servo_lag_s),
    "command_delay_s": lambda p: replace(p, command_delay_s=p.command_delay_s + 2 * TIMESTEP_S),
}


@pytest.mark.parametrize("simulator", list(Simulator))
@pytest.mark.parametrize("name", CHANGES)
def test_each_parameter_changes_the_motion_of_every_joint(path: Path, simulator: Simulator, name: str) -> None:
    nominal = SimParameters.nominal(load_arm(path))
    sims = [open_arm(simulator, path, 0, parameters=p) for p in (nominal, CHANGES[name](nominal))]
    away = np.abs(motion(sims[0]) - motion(sims[1])).max(axis=0)
    assert (away[: nominal.mass_scale.size] > 1e-7).all()


@pytest.mark.parametrize("simulator", list(Simulator))
def test_the_noise_changes_what_is_measured_and_not_what_is(path: Path, simulator: Simulator) -> None:
    nominal = SimParameters.nominal(load_arm(path))
    loud = replace(nominal, noise=replace(nominal.noise, velocity_std=3.0 * nominal.noise.velocity_std))
    spread, truths = [], []
    for parameters in (nominal, loud):
        sim = open_arm(simulator, path, 0, parameters=parameters)
        measured = []
        for _ in range(400):
            sim.step()
            sample = sim.sensor()
            assert sample is not None
            measured.append(sample.velocity)
        spread.append(np.std(measured[50:]))
        truths.append(sim.truth().position)
    assert spread[1] == pytest.approx(3.0 * spread[0], rel=0.1)
    np.testing.assert_array_equal(truths[0], truths[1])


@pytest.mark.parametrize("simulator", list(Simulator))
def test_the_drives_carry_the_described_masses_so_a_heavier_arm_sags_and_a_lighter_one_rises(
    path: Path, simulator: Simulator
) -> None:
    nominal, heights = SimParameters.nominal(load_arm(path)), {}
    for scale in (0.9, 1.0, 1.1):
        parameters = replace(nominal, mass_scale=scale * nominal.mass_scale)
        sim = open_arm(simulator, path, 0, parameters=parameters)
        start = sim.truth().tool[2]
        for _ in range(250):
            sim.step()
        heights[scale] = sim.truth().tool[2] - start
    assert heights[1.1] < -1e-3
    assert abs(heights[1.0]) < 1e-6
    assert heights[0.9] > 1e-3


@pytest.mark.parametrize("interface", list(CommandInterface))
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SHIPPED)
def test_both_engines_are_the_same_drawn_plant(
    tmp_path: Path, name: str, seed: int, interface: CommandInterface
) -> None:
    """As tightly as undrawn, see test_engine_agreement.py; without dry friction, in which they differ anyway."""
    path = variant(tmp_path, name, without_friction)
    plant = randomized_plant(path, seed)
    motions = []
    for simulator in Simulator:
        sim = open_arm(simulator, path, 0, 0, interface, plant)
        generator, rows = np.random.default_rng(seed), []
        share = 0.3 * sim.arm.velocity if interface is CommandInterface.VELOCITY else 0.02 * sim.arm.effort
        for step in range(300):
            if step % 25 == 0:
                sim.command(share * generator.uniform(-1.0, 1.0, sim.arm.joints))
            if step == 100:
                sim.attach_payload(0.3, np.array([0.01, 0.02, 0.05]))
            sim.step()
            rows.append(sim.truth().position)
        motions.append(np.array(rows))
    np.testing.assert_allclose(motions[0], motions[1], atol=1e-7)
    assert np.abs(motions[0] - sim.arm.home).max() > 0.02


@pytest.mark.parametrize("simulator", list(Simulator))
def test_a_run_is_repeated_from_its_truth_file(tmp_path: Path, path: Path, simulator: Simulator) -> None:
    sim = open_arm(simulator, path, 0, parameters=randomized_plant(path, 11))
    with TruthWriter(tmp_path / "truth", sim.arm, simulation_facts(simulator, sim, 11)) as writer:
        writer.write(sim.truth())
    facts = read_truth(tmp_path / "truth").simulation
    assert facts["randomization_seed"] == 11
    again = open_arm(simulator, path, 0, parameters=SimParameters.of_facts(facts["plant"]))
    np.testing.assert_array_equal(motion(again), motion(sim))


def test_nominal_facts_name_no_seed_and_the_arms_own_numbers(path: Path) -> None:
    sim = open_arm(Simulator.MUJOCO, path, 0)
    facts = json.loads(json.dumps(simulation_facts(Simulator.MUJOCO, sim, -1)))
    assert facts["randomization_seed"] == -1
    assert facts["plant"] == nominal_facts(sim.arm)


def nominal_facts(arm: Arm) -> dict[str, Any]:
    return SimParameters.nominal(arm).facts()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mass", [1.1, 0.9]),
        ("mass", [0.0, 1.0]),
        ("servo_gain", [0.9]),
        ("noise", ["quiet", "loud"]),
        ("command_delay_steps", [0.5, 1.0]),
        ("command_delay_steps", [-4, 0]),
        ("command_delay_steps", [0, 99]),
        ("com_shift", [0.0, 0.1]),
    ],
)
def test_a_range_that_cannot_be_drawn_from_is_named(tmp_path: Path, field: str, value: Any) -> None:
    path = variant(tmp_path, "planar", lambda d: d["randomization"].update({field: value}))
    with pytest.raises(ArmError, match=rf"randomization.*{field}"):
        load_randomization(path)


def test_an_arm_without_ranges_can_be_simulated_but_not_drawn(tmp_path: Path) -> None:
    path = variant(tmp_path, "planar", lambda d: d.pop("randomization"))
    assert randomized_plant(path, -1) is None
    with pytest.raises(ArmError, match=r"planar\.yaml: randomization: missing"):
        randomized_plant(path, 0)
