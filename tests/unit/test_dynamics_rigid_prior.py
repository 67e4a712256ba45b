"""The two priors: what `targets` takes off, `compose` puts back; the rigid body's own step and noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_control.dynamics.prior import prior_of
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import CommandInterface
from sim.generate import ROBOTS

DT = 0.02
SHIPPED = sorted(path.stem for path in ROBOTS.glob("*.yaml"))
ARMS = {
    (name, interface): load_arm(ROBOTS / f"{name}.yaml", interface)
    for name in SHIPPED
    for interface in CommandInterface
}


def state_of(arm: Arm, count: int, generator: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Positions, velocities and actions [N, J] within the limits."""
    shape = (count, arm.joints)
    rows = (
        generator.uniform(arm.lower, arm.upper, shape),
        generator.uniform(-arm.velocity, arm.velocity, shape),
        generator.uniform(-arm.command_limit, arm.command_limit, shape),
    )
    return tuple(torch.from_numpy(row) for row in rows)  # type: ignore[return-value]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(ARMS)), st.integers(0, 2**32 - 1))
def test_compose_undoes_targets(which: tuple[str, CommandInterface], seed: int) -> None:
    """With members that agree on the state."""
    arm, generator = ARMS[which], np.random.default_rng(seed)
    prior = prior_of(arm, DT)
    position, velocity, action = state_of(arm, 6, generator)
    outputs = torch.from_numpy(generator.normal(size=(6, 3 * arm.joints)))
    residual = prior.targets(position, velocity, action, outputs)
    members = (value.expand(3, -1, -1) for value in (position, velocity))
    mean, _ = prior.compose(*members, action, residual.expand(3, -1, -1), torch.zeros(3, 6, 3 * arm.joints).double())
    torch.testing.assert_close(mean, outputs.expand(3, -1, -1), atol=1e-7, rtol=1e-9)


def test_a_residual_torque_acts_like_a_torque_commanded() -> None:
    arm = ARMS["panda", CommandInterface.EFFORT]
    prior = prior_of(arm, DT)
    position, velocity, action = state_of(arm, 5, np.random.default_rng(0))
    extra = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 7)))
    nothing = torch.zeros(1, 5, 21, dtype=torch.float64)
    learned = nothing.clone()
    learned[0, :, 7:14] = extra
    one, _ = prior.compose(position[None], velocity[None], action, learned, nothing)
    other, _ = prior.compose(position[None], velocity[None], action + extra, nothing, nothing)
    torch.testing.assert_close(one[..., :14], other[..., :14])
    torch.testing.assert_close(one[0, :, 14:], action)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_effort_prior_is_forward_dynamics_held_over_a_step(name: str) -> None:
    arm = ARMS[name, CommandInterface.EFFORT]
    position, velocity, action = state_of(arm, 5, np.random.default_rng(2))
    nothing = torch.zeros(1, 5, 3 * arm.joints, dtype=torch.float64)
    mean, _ = prior_of(arm, DT).compose(position[None], velocity[None], action, nothing, nothing)
    acceleration = torch.from_numpy(RigidBody(arm).acceleration(position.numpy(), velocity.numpy(), action.numpy()))
    expected = [position + DT * velocity + 0.5 * DT**2 * acceleration, velocity + DT * acceleration, action]
    np.testing.assert_allclose(mean[0], torch.cat(expected, dim=1), rtol=1e-9)


def test_members_share_the_mass_matrix_of_their_mean_state_and_keep_their_own_motion() -> None:
    arm = ARMS["planar", CommandInterface.EFFORT]
    generator = np.random.default_rng(3)
    position, velocity, action = state_of(arm, 4, generator)
    apart = torch.from_numpy(generator.normal(size=(3, 4, 2))) * 0.1
    apart = apart - apart.mean(0)
    nothing = torch.zeros(3, 4, 6, dtype=torch.float64)
    mean, _ = prior_of(arm, DT).compose(position + apart, velocity - 2.0 * apart, action, nothing, nothing)
    shared = torch.from_numpy(RigidBody(arm).acceleration(*(v.numpy() for v in (position, velocity, action))))
    torch.testing.assert_close(mean[..., 2:4], velocity - 2.0 * apart + DT * shared)
    moved = position + apart + DT * (velocity - 2.0 * apart) + 0.5 * DT**2 * shared
    torch.testing.assert_close(mean[..., :2], moved)


def test_the_variance_of_a_step_is_that_of_sampled_residuals() -> None:
    arm = ARMS["planar", CommandInterface.EFFORT]
    prior = prior_of(arm, DT)
    position, velocity, action = (row.repeat(200_000, 1) for row in state_of(arm, 1, np.random.default_rng(4)))
    variance = torch.tensor([1e-6, 4e-6, 2.0, 0.3, 1.0, 4.0], dtype=torch.float64)
    noise = torch.randn(len(action), 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sampled, _ = prior.compose(position[None], velocity[None], action, (noise * variance.sqrt())[None], noise[None])
    one = (position[None, :1], velocity[None, :1], action[:1])
    _, stated = prior.compose(*one, torch.zeros(1, 1, 6).double(), variance.expand(1, 1, -1))
    found = sampled[0].var(0)
    torch.testing.assert_close(stated[0, 0, 2:], found[2:], rtol=0.02, atol=0.0)
    # Of the position only its own residual counts: what the torque's noise moves within its own step is left out.
    torch.testing.assert_close(stated[0, 0, :2], variance[:2])


def test_noise_adds_up_as_in_a_double_integrator() -> None:
    prior = prior_of(ARMS["planar", CommandInterface.EFFORT], DT)
    assert isinstance(prior, RigidBodyPrior)
    matrix, covariance, noise = np.array([[1.0, DT], [0.0, 1.0]]), np.zeros((2, 2)), np.diag([0.2, 0.7])
    to_velocity, to_position, direct = (value.numpy() for value in prior.noise_propagation(6))
    assert to_velocity.shape == to_position.shape == (2, 6, 6)
    for step in range(6):
        covariance = matrix @ covariance @ matrix.T + noise
        ones = np.ones(6)
        assert covariance[1, 1] == pytest.approx(0.7 * to_velocity[0, step] @ ones)
        assert covariance[0, 0] == pytest.approx(0.2 * direct[step] @ ones + 0.7 * to_position[1, step] @ ones)
