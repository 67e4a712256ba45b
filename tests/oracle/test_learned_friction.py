"""The learned residual torque of an arm under torques whose friction nobody told the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mbrl_control.dynamics.prior import prior_of
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior
from mbrl_control.learning.fit_ensemble import FitResult, FitSettings, fit
from mbrl_control.learning.score import k_step_errors
from mbrl_control.rigid_body import RigidBody
from mbrl_control.rigid_load import MOMENTS
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface, Transitions
from sim.generate import ROBOTS
from tests.patience import UNCUT_S

DT, SUB = 0.02, 20
ARM = load_arm(ROBOTS / "planar.yaml", CommandInterface.EFFORT)
BODY = RigidBody(ARM)
VISCOUS, COULOMB = np.array([2.0, 0.2]), np.array([4.0, 0.5])
"""N m s/rad and N m: neither is the description's."""
RUNS, LENGTH = 24, 200
SETTINGS = FitSettings(trained_members=3, elites=2, width=32, epochs=60, max_seconds=UNCUT_S)
SHORT = replace(SETTINGS, epochs=2)


def friction(velocity: np.ndarray) -> np.ndarray:
    """[..., J] N m."""
    return VISCOUS * velocity + COULOMB * np.tanh(velocity / 0.02)


def simulated(generator: np.random.Generator) -> Transitions:
    """Runs from home under held torques that carry the arm, pull it home and shake it; integrated at 1 ms."""
    q, dq, shake = np.tile(ARM.home, (RUNS, 1)), np.zeros((RUNS, 2)), np.zeros((RUNS, 2))
    steps = []
    for step in range(LENGTH):
        if step % 10 == 0:
            shake = generator.normal(size=(RUNS, 2)) * [18.0, 2.0]
        torque = BODY.terms(q, 0.0 * q)[1] - [40.0, 4.0] * (q - ARM.home) - [6.0, 0.8] * dq + shake
        steps.append(np.stack([q, dq, torque]))
        for _ in range(SUB):
            dq = dq + DT / SUB * BODY.acceleration(q, dq, torque - friction(dq))
            q = q + DT / SUB * dq
    # [RUNS, 3, LENGTH, J]; a row needs the command before it and the state after it.
    every = np.stack(steps).transpose(2, 1, 0, 3)
    past, now, after = (every[:, :, part] for part in (slice(0, -2), slice(1, -1), slice(2, None)))
    q, dq, torque, next_q, next_dq, before = (
        part.reshape(-1, 2) for part in (now[:, 0], now[:, 1], now[:, 2], after[:, 0], after[:, 1], past[:, 2])
    )
    segment = np.repeat(np.arange(RUNS), LENGTH - 2)
    stamps = np.arange(len(q)) * 20_000_000
    return Transitions(q, dq, before[:, None], torque, next_q, next_dq, torque, stamps, 0 * segment, segment)


@pytest.fixture(scope="module")
def rows() -> Transitions:
    return simulated(np.random.default_rng(0))


@pytest.fixture(scope="module")
def result(rows: Transitions) -> FitResult:
    return fit(rows, prior_of(ARM, DT), torch.Generator().manual_seed(0), SETTINGS)


def learned_torque(result: FitResult, velocity: np.ndarray) -> np.ndarray:
    """[N, J] N m that the mean of the members puts on the joints at home, under the torque that keeps ``velocity``."""
    mass, _ = BODY.terms(np.tile(ARM.home, (len(velocity), 1)), velocity)
    return (mass @ accelerated(result, velocity, friction(velocity))[..., None])[..., 0] - friction(velocity)


def accelerated(result: FitResult, velocity: np.ndarray, torque: np.ndarray) -> np.ndarray:
    """[N, J] rad/s^2 of the mean of the members at home, under ``torque`` besides what the rigid body needs there."""
    q = np.tile(ARM.home, (len(velocity), 1))
    torque = BODY.terms(q, velocity)[1] + torque
    state = np.concatenate([q, velocity, torque], axis=1)
    members = torch.from_numpy(state).float().expand(result.ensemble.shape.members, -1, -1)
    with torch.no_grad():
        _, mean, _ = result.ensemble(members, torch.from_numpy(torque).float())
    return (mean.double().mean(0).numpy()[:, 2:4] - velocity) / DT


def test_the_residual_torque_is_minus_the_friction_at_every_speed(result: FitResult) -> None:
    """RMS within a tenth of the friction, joint by joint, forwards and backwards, alone and together."""
    speeds = np.array([-1.0, -0.6, -0.3, 0.3, 0.6, 1.0])
    velocity = np.stack(np.meshgrid(speeds, speeds), axis=-1).reshape(-1, 2)
    wanted = friction(velocity)
    error = np.abs(learned_torque(result, velocity) + wanted) / np.abs(wanted)
    assert np.sqrt(np.square(error).mean(axis=0)).max() < 0.1
    assert error.max() < 0.2


def test_a_torque_moves_a_sliding_joint_as_its_mass_says(result: FitResult) -> None:
    """Friction and torque are nearly the same in rows of sliding: a model may explain one by the other unseen."""
    for joint, torque in ((0, 40.0), (0, -40.0), (1, 6.0), (1, -6.0)):
        push = torque * np.eye(2)[joint]
        # Along with the motion: against it the joint would stop and turn within the step.
        velocity = np.sign(torque) * np.array([[0.6, 0.6], [0.6, -0.6], [-0.6, 0.6]])[[0, 1 + joint]]
        gained = accelerated(result, velocity, push) - accelerated(result, velocity, 0.0 * push)
        wanted = BODY.acceleration(np.tile(ARM.home, (2, 1)), velocity, push[None])
        still = BODY.acceleration(np.tile(ARM.home, (2, 1)), velocity, 0.0 * push[None])
        np.testing.assert_allclose(gained[:, joint], (wanted - still)[:, joint], rtol=0.05)


def test_a_load_leaves_the_friction_that_was_identified_without_it(result: FitResult, rows: Transitions) -> None:
    """Also where it is so heavy that the parent's weights are no start."""
    loaded = replace(rows, action=rows.action + 100.0 * COULOMB * np.sin(rows.position))
    fitted = fit(loaded, prior_of(ARM, DT), torch.Generator().manual_seed(0), SHORT, warm_start=result.ensemble)
    assert not torch.equal(fitted.ensemble.target_std, result.ensemble.target_std)
    assert torch.equal(fitted.ensemble.friction, result.ensemble.friction)


def test_a_joint_whose_friction_the_parent_does_not_know_has_it_identified(
    result: FitResult, rows: Transitions
) -> None:
    """It did not move in the parent's rows, or the parent is the description alone."""
    known, parent = prior_of(ARM, DT), result.ensemble.select([0, 1])
    assert isinstance(known, RigidBodyPrior)
    parent.prior = known.with_found(np.array([[7.0, 0.0], [0.0, 0.0]]), np.zeros(MOMENTS))
    parent.friction = parent.prior.friction.clone()
    parent.target_std = 1e-3 * parent.target_std  # its weights are no start
    fitted = fit(rows, known, torch.Generator().manual_seed(0), SHORT, warm_start=parent)
    np.testing.assert_allclose(fitted.ensemble.friction[:, 0].numpy(), [7.0, 0.0])
    np.testing.assert_allclose(fitted.ensemble.friction[:, 1].numpy(), [COULOMB[1], VISCOUS[1]], rtol=0.15)


def test_friction_is_identified(result: FitResult) -> None:
    np.testing.assert_allclose(result.ensemble.friction.numpy(), [COULOMB, VISCOUS], rtol=0.15)


def test_k_step_errors_fall_well_below_those_of_the_rigid_body_alone(result: FitResult, rows: Transitions) -> None:
    for error in k_step_errors(result.ensemble, rows, result.holdout_rows, (1, 5, 15)):
        assert error.velocity < 0.3 * error.nominal_velocity, error
        assert error.position < 0.3 * error.nominal_position, error
