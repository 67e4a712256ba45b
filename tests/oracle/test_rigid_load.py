"""A load on the last link against pin's appended body, for every shipped arm."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mbrl_control.rigid_body import Constants, RigidBody, energy, fields_of, mass_and_bias
from mbrl_control.rigid_load import MOMENTS, carrying, load_regressor, point_moments
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import CommandInterface
from sim.generate import ROBOTS

pinocchio = pytest.importorskip("pinocchio")
STATES = 20
PLACES = np.random.default_rng(5).uniform(-0.1, 0.2, (8, 3))
MASSES = np.random.default_rng(6).uniform(0.05, 0.5, 8)
LOAD = MASSES @ point_moments(PLACES)


@pytest.fixture(params=sorted(path.stem for path in ROBOTS.glob("*.yaml")))
def arm(request: pytest.FixtureRequest) -> Arm:
    return load_arm(ROBOTS / f"{request.param}.yaml", CommandInterface.EFFORT)


@pytest.fixture
def states(arm: Arm) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities [N, J], within the limits."""
    generator, shape = np.random.default_rng(1), (STATES, arm.joints)
    return generator.uniform(arm.lower, arm.upper, shape), generator.uniform(-arm.velocity, arm.velocity, shape)


class Pin:
    """The URDF read by pin with the arm's armature, with or without the load."""

    def __init__(self, arm: Arm, loaded: bool) -> None:
        self.model = pinocchio.buildModelFromUrdf(str(ROBOTS / f"{arm.name}.urdf"))
        self.model.armature = arm.armature
        for mass, place in zip(MASSES if loaded else (), PLACES, strict=False):
            point = pinocchio.Inertia(float(mass), place, np.zeros((3, 3)))
            self.model.appendBodyToJoint(arm.joints, point, pinocchio.SE3.Identity())
        self.data = self.model.createData()

    def inverse(self, q: np.ndarray, dq: np.ndarray, acceleration: np.ndarray) -> np.ndarray:
        return pinocchio.rnea(self.model, self.data, q, dq, acceleration).copy()

    def energy(self, q: np.ndarray, dq: np.ndarray) -> float:
        upper = np.triu(pinocchio.crba(self.model, self.data, q))
        kinetic = 0.5 * dq @ (upper + np.triu(upper, 1).T) @ dq
        return float(kinetic + pinocchio.computePotentialEnergy(self.model, self.data, q))


@pytest.mark.parametrize("drives_carry", [True, False])
def test_a_loaded_arm_is_pins_and_drives_do_not_carry_its_load(
    arm: Arm, states: tuple[np.ndarray, np.ndarray], drives_carry: bool
) -> None:
    described = RigidBody(arm, gravity=not drives_carry).constants
    loaded, bare, rest = Pin(arm, loaded=True), Pin(arm, loaded=False), np.zeros(arm.joints)
    accelerations = np.random.default_rng(2).uniform(-5.0, 5.0, (STATES, arm.joints))
    mass, bias = mass_and_bias(carrying(described, LOAD), states[0].T, states[1].T, np)
    ours = ((mass * accelerations.T[None]).sum(1) + bias).T
    only_load = load_regressor(described, *states, accelerations) @ LOAD
    for q, dq, ddq, torque, of_load in zip(*states, accelerations, ours, only_load, strict=True):
        theirs = loaded.inverse(q, dq, ddq)
        carried = bare.inverse(q, rest, rest) if drives_carry else 0.0
        np.testing.assert_allclose(torque, theirs - carried, atol=1e-9 * np.abs(theirs).max())
        np.testing.assert_allclose(of_load, theirs - bare.inverse(q, dq, ddq), atol=1e-9 * np.abs(theirs).max())


@pytest.mark.parametrize("drives_carry", [True, False])
def test_its_energy_is_pins(arm: Arm, states: tuple[np.ndarray, np.ndarray], drives_carry: bool) -> None:
    """Up to a constant, the height at which the potential is 0."""
    described = RigidBody(arm, gravity=not drives_carry).constants
    loaded, bare, rest = Pin(arm, loaded=True), Pin(arm, loaded=False), np.zeros(arm.joints)
    ours = energy(carrying(described, LOAD), states[0].T, states[1].T, np)
    theirs = [
        loaded.energy(q, dq) - (bare.energy(q, rest) if drives_carry else 0.0) for q, dq in zip(*states, strict=True)
    ]
    apart = ours - np.array(theirs)
    np.testing.assert_allclose(apart, apart[0], atol=1e-9 * np.abs(ours).max())


def test_torch_computes_what_numpy_does(arm: Arm, states: tuple[np.ndarray, np.ndarray]) -> None:
    constants = carrying(RigidBody(arm).constants, LOAD)
    tensors = Constants(**{name: torch.from_numpy(value) for name, value in fields_of(constants).items()})
    q, dq = (value.T.copy() for value in states)
    ours = mass_and_bias(constants, q, dq, np)
    for found, expected in zip(
        mass_and_bias(tensors, torch.from_numpy(q), torch.from_numpy(dq), torch), ours, strict=True
    ):
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12 * np.abs(expected).max())


def test_no_load_changes_nothing(arm: Arm) -> None:
    described = RigidBody(arm).constants
    assert carrying(described, np.zeros(MOMENTS)) is described
