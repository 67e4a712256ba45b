"""The arm's own rigid-body dynamics against pin, in NumPy and torch, for every shipped arm."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mbrl_control.dynamics.prior import prior_step
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior
from mbrl_control.rigid_body import Constants, RigidBody, fields_of, inverse, mass_and_bias
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import CommandInterface
from sim.generate import ROBOTS

pinocchio = pytest.importorskip("pinocchio")
STATES = 50


@pytest.fixture(params=sorted(path.stem for path in ROBOTS.glob("*.yaml")))
def arm(request: pytest.FixtureRequest) -> Arm:
    return load_arm(ROBOTS / f"{request.param}.yaml", CommandInterface.EFFORT)


@pytest.fixture
def states(arm: Arm) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities [N, J], within the limits."""
    generator = np.random.default_rng(1)
    shape = (STATES, arm.joints)
    return generator.uniform(arm.lower, arm.upper, shape), generator.uniform(-arm.velocity, arm.velocity, shape)


class Pin:
    """The URDF read by pin, with the arm's armature."""

    def __init__(self, arm: Arm, gravity: bool) -> None:
        self.model = pinocchio.buildModelFromUrdf(str(ROBOTS / f"{arm.name}.urdf"))
        self.model.armature = arm.armature
        if not gravity:
            self.model.gravity.linear = np.zeros(3)
        self.data = self.model.createData()

    def mass(self, q: np.ndarray) -> np.ndarray:
        upper = np.triu(pinocchio.crba(self.model, self.data, q))
        return upper + np.triu(upper, 1).T

    def bias(self, q: np.ndarray, dq: np.ndarray) -> np.ndarray:
        return pinocchio.nonLinearEffects(self.model, self.data, q, dq).copy()


@pytest.mark.parametrize("gravity", [True, False])
def test_mass_matrix_and_bias_are_those_of_pin(arm: Arm, states: tuple[np.ndarray, np.ndarray], gravity: bool) -> None:
    oracle, (mass, bias) = Pin(arm, gravity), RigidBody(arm, gravity).terms(*states)
    for q, dq, m, b in zip(*states, mass, bias, strict=True):
        theirs = oracle.mass(q)
        np.testing.assert_allclose(m, theirs, atol=1e-11 * np.abs(theirs).max())
        expected = oracle.bias(q, dq)
        np.testing.assert_allclose(b, expected, atol=1e-11 * max(np.abs(expected).max(), 1.0))


@pytest.mark.parametrize("gravity", [True, False])
def test_forward_and_inverse_dynamics_are_those_of_pin(
    arm: Arm, states: tuple[np.ndarray, np.ndarray], gravity: bool
) -> None:
    oracle, body = Pin(arm, gravity), RigidBody(arm, gravity)
    effort = np.random.default_rng(2).uniform(-arm.effort, arm.effort, (STATES, arm.joints))
    acceleration = body.acceleration(*states, effort)
    for q, dq, tau, ours in zip(*states, effort, acceleration, strict=True):
        theirs = pinocchio.aba(oracle.model, oracle.data, q, dq, tau)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())
    np.testing.assert_allclose(body.effort(*states, acceleration), effort, atol=1e-9)


def test_gravity_is_in_the_command_only_where_the_drives_do_not_add_it(arm: Arm) -> None:
    assert arm.effort_mode is not None
    oracle = Pin(arm, gravity=True)
    weight = pinocchio.computeGeneralizedGravity(oracle.model, oracle.data, arm.home + 0.3)
    expected = np.zeros(arm.joints) if arm.effort_mode.gravity_compensated else weight
    assert np.abs(weight).max() > 1.0
    np.testing.assert_allclose(RigidBody(arm).gravity(arm.home + 0.3), expected, atol=1e-10)


def test_torch_computes_what_numpy_does_and_inverts_it(arm: Arm, states: tuple[np.ndarray, np.ndarray]) -> None:
    body = RigidBody(arm, gravity=True)
    constants = Constants(**{name: torch.from_numpy(value) for name, value in fields_of(body.constants).items()})
    q, dq = (torch.from_numpy(value.T.copy()) for value in states)
    mass, bias = mass_and_bias(constants, q, dq, torch)
    ours, ours_bias = body.terms(*states)
    np.testing.assert_allclose(mass.permute(2, 0, 1), ours, atol=1e-13 * np.abs(ours).max())
    np.testing.assert_allclose(bias.T, ours_bias, atol=1e-11)
    for found in (
        inverse(constants, mass, torch).permute(2, 0, 1).numpy(),
        inverse(body.constants, ours.transpose(1, 2, 0), np).transpose(2, 0, 1),
    ):
        theirs = np.linalg.inv(ours)
        np.testing.assert_allclose(found, theirs, atol=1e-10 * np.abs(theirs).max())


def test_the_prior_without_torque_keeps_the_energy_of_pin(arm: Arm) -> None:
    """A tenth of a second of free motion: the error is of the order of the step, and small."""
    oracle = Pin(arm, gravity=arm.effort_mode is not None and not arm.effort_mode.gravity_compensated)

    def energy(q: np.ndarray, dq: np.ndarray) -> float:
        potential = pinocchio.computePotentialEnergy(oracle.model, oracle.data, q)
        return float(0.5 * dq @ oracle.mass(q) @ dq + potential)

    def change(dt: float) -> float:
        prior = RigidBodyPrior.of(arm, dt)
        q, dq = arm.home.copy(), 0.2 * arm.velocity * np.resize([1.0, -1.0], arm.joints)
        begin, kinetic = energy(q, dq), 0.5 * dq @ oracle.mass(q) @ dq
        position, velocity = (torch.from_numpy(value[None]) for value in (q, dq))
        for _ in range(round(0.1 / dt)):
            position, velocity = prior_step(prior, position, velocity, torch.zeros_like(position))
        return abs(energy(position[0].numpy(), velocity[0].numpy()) - begin) / float(kinetic)

    coarse, fine = change(2e-3), change(1e-3)
    assert fine < 0.005
    assert fine < 0.6 * coarse
