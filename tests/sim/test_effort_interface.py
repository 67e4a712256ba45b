"""Torque commands, in both engines: what the motors give is what was asked, and the arm moves by Newton's law."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mbrl_control.robot import ArmError
from mbrl_control.signals import CommandInterface
from sim.arm_sim import ArmSim
from sim.faults import FaultyArm
from sim.generate import ROBOTS
from sim.mujoco_arm import MujocoArm
from sim.pybullet_arm import PybulletArm
from tests.sim.variants import variant, without_friction

pinocchio = pytest.importorskip("pinocchio")
EFFORT = CommandInterface.EFFORT
SHIPPED = sorted(path.stem for path in ROBOTS.glob("*.yaml"))
Make = Callable[[Path | str], ArmSim]


@pytest.fixture(params=[MujocoArm, PybulletArm], ids=["mujoco", "pybullet"])
def make(request: pytest.FixtureRequest) -> Make:
    """An arm of a path, or of a shipped name, under torque commands."""
    return lambda arm: request.param(ROBOTS / f"{arm}.yaml" if isinstance(arm, str) else arm, 0, 0, EFFORT)


def delay_steps(sim: ArmSim) -> int:
    return round(sim.arm.command_delay_s * 1e9 / sim.period_ns)


def run(sim: ArmSim, steps: int) -> None:
    for _ in range(steps):
        sim.step()


def test_the_interface_is_known_from_outside(make: Make) -> None:
    assert make("panda").interface is EFFORT
    assert FaultyArm(make("panda")).interface is EFFORT
    assert MujocoArm(ROBOTS / "panda.yaml", 0).interface is CommandInterface.VELOCITY


def test_zero_torque_with_compensation_stays_at_rest(make: Make) -> None:
    """Even without friction to hold it."""
    sim = make("panda")
    start = sim.truth().position
    run(sim, 500)
    np.testing.assert_allclose(sim.truth().position, start, atol=1e-6)
    sim.attach_payload(1.0, np.zeros(3))
    run(sim, 250)
    assert np.abs(sim.truth().position - start).max() > 0.1


def test_zero_torque_without_compensation_falls(make: Make) -> None:
    sim = make("planar")
    height = sim.truth().tool[2]
    run(sim, 150)
    assert sim.truth().tool[2] < height - 0.05
    np.testing.assert_array_equal(sim.truth().effort, 0.0)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_torque_gives_the_acceleration_of_the_mass_matrix(make: Make, tmp_path: Path, name: str) -> None:
    """In the first step after the delay, against pin: armature included, gravity where nothing carries the arm."""
    sim = make(variant(tmp_path, name, without_friction))
    arm = sim.arm
    torque = 0.1 * arm.effort * np.resize([1.0, -0.5], arm.joints)
    sim.command(torque)
    run(sim, delay_steps(sim))
    before = sim.truth()
    sim.step()
    rigid = pinocchio.buildModelFromUrdf(str(tmp_path / f"{name}.urdf"))
    state = rigid.createData()
    upper = np.triu(pinocchio.crba(rigid, state, before.position))
    mass = upper + np.triu(upper, 1).T + np.diag(arm.armature)
    carried = 0.0
    if arm.effort_mode is not None and arm.effort_mode.gravity_compensated:
        carried = pinocchio.computeGeneralizedGravity(rigid, state, before.position)
    bias = pinocchio.nonLinearEffects(rigid, state, before.position, before.velocity)
    expected = np.linalg.solve(mass, torque + carried - bias)
    np.testing.assert_allclose((sim.truth().velocity - before.velocity) / 0.002, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sim.truth().effort, torque + carried, atol=1e-9)


def energies(sim: ArmSim, urdf: Path, steps: int) -> np.ndarray:
    """[steps] J, kinetic and potential energy of links, payload and motors."""
    rigid = pinocchio.buildModelFromUrdf(str(urdf))
    tool = rigid.frames[rigid.getFrameId(sim.arm.tool_frame)]
    load = pinocchio.Inertia(sim.truth().payload_mass, tool.placement.translation, np.zeros((3, 3)))
    rigid.appendBodyToJoint(tool.parentJoint, load, pinocchio.SE3.Identity())
    state, rows = rigid.createData(), []
    for _ in range(steps):
        sim.step()
        truth = sim.truth()
        rotors = 0.5 * sim.arm.armature @ truth.velocity**2
        rows.append(pinocchio.computeMechanicalEnergy(rigid, state, truth.position, truth.velocity) + rotors)
    return np.array(rows)


@pytest.mark.parametrize("load_kg", [0.0, 1.5])
def test_a_free_pendulum_keeps_its_energy_and_loses_it_to_friction(make: Make, tmp_path: Path, load_kg: float) -> None:
    """Two seconds of a double pendulum from 1 rad, its stops out of the way, against what its swing turns over.

    2 %: the integration is of first order, its energy swings by about that at 2 ms and does not drift.
    """

    def free(description: dict[str, Any]) -> None:
        without_friction(description)
        endless(description)

    def endless(description: dict[str, Any]) -> None:
        for joint in description["joints"]:
            joint.update(lower=-50.0, upper=50.0)

    swing = {}
    for kind, edit in (("free", free), ("rubbing", endless)):
        sim = make(variant(tmp_path, "planar", edit))
        sim.attach_payload(load_kg, np.zeros(3))
        sim.reset(np.array([1.0, 0.5]))
        swing[kind] = energies(sim, tmp_path / "planar.urdf", 1000)
        sim.reset(np.zeros(2))
        turned_over = swing[kind][0] - energies(sim, tmp_path / "planar.urdf", 1)[0]
        assert turned_over > 10.0
    assert np.abs(swing["free"] - swing["free"][0]).max() < 0.02 * turned_over
    assert swing["rubbing"][-1] < swing["rubbing"][0] - 0.2 * turned_over
    assert np.diff(swing["rubbing"]).max() < 1e-3 * turned_over


@pytest.mark.parametrize("name", SHIPPED)
def test_the_motors_never_give_more_than_their_limit(make: Make, name: str) -> None:
    sim = make(name)
    for sign in (1.0, -1.0):
        sim.reset(sim.arm.home)
        sim.command(sign * 10.0 * sim.arm.effort)
        run(sim, delay_steps(sim))
        assert (np.abs(sim.truth().effort) < 0.99 * sim.arm.effort).any()
        for _ in range(5):
            sim.step()
            np.testing.assert_allclose(sim.truth().effort, sign * sim.arm.effort, rtol=1e-12)


def test_the_limit_holds_for_command_and_compensation_together(make: Make) -> None:
    """A command within the limit, on top of the gravity torque beyond it."""
    sim = make("panda")
    joint = int(np.argmax(np.abs(sim.truth().effort)))
    carried = sim.truth().effort[joint]
    command = np.zeros(7)
    command[joint] = np.sign(carried) * (sim.arm.effort[joint] - 0.5 * abs(carried))
    sim.command(command)
    run(sim, delay_steps(sim) + 1)
    assert sim.truth().effort[joint] == pytest.approx(np.sign(carried) * sim.arm.effort[joint], rel=1e-12)


def test_a_torque_acts_after_the_delay_without_lag(make: Make) -> None:
    sim = make("planar")
    torque = np.array([20.0, -3.0])
    sim.command(torque)
    efforts = []
    for _ in range(delay_steps(sim) + 2):
        sim.step()
        efforts.append(sim.truth().effort)
    np.testing.assert_array_equal(efforts[: delay_steps(sim)], np.zeros((delay_steps(sim), 2)))
    np.testing.assert_allclose(efforts[delay_steps(sim) :], [torque, torque], rtol=1e-12)


@pytest.mark.parametrize("name", SHIPPED)
def test_brakes_take_the_torque_and_hold_and_give_it_back_from_zero(make: Make, name: str) -> None:
    sim = make(name)
    sim.command(0.1 * sim.arm.effort)
    run(sim, 20)
    sim.brake(True)
    run(sim, 200)
    held = sim.truth().position
    sim.command(0.1 * sim.arm.effort)
    run(sim, 300)
    np.testing.assert_array_equal(sim.truth().effort, 0.0)
    np.testing.assert_allclose(sim.truth().position, held, atol=3e-4)
    sim.brake(False)
    sim.step()
    carried = sim.arm.effort_mode is not None and sim.arm.effort_mode.gravity_compensated
    assert (np.abs(sim.truth().effort).max() > 1.0) == carried
    sim.command(0.1 * sim.arm.effort)
    run(sim, 50)
    assert np.abs(sim.truth().velocity).max() > 0.05


def test_an_arm_that_does_not_say_how_it_takes_torques_is_refused(make: Make, tmp_path: Path) -> None:
    def edit(description: dict[str, Any]) -> None:
        description.pop("effort_mode")

    with pytest.raises(ArmError, match="effort_mode: missing"):
        make(variant(tmp_path, "planar", edit))
