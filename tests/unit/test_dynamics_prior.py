"""The prior against numeric integration, kinematics against the arm's own."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mbrl_control.dynamics.kinematics import ToolChain, tool_position
from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.dynamics.normalizer import mixing_matrix
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface

ROBOTS = Path(__file__).parents[2] / "sim" / "robots"


@pytest.mark.parametrize("lag", [0.0, 0.004, 0.03, 0.5])
def test_step_is_the_integral_of_the_servo_lag(lag: float) -> None:
    prior, position, velocity, command = NominalPrior(0.02, (lag,)), 0.3, -0.4, 0.7
    q, dq = prior.step(*(torch.tensor([value], dtype=torch.float64) for value in (position, velocity, command)))
    steps = 20_000
    for _ in range(steps if lag else 0):
        middle = velocity + (command - velocity) / lag * 0.01 / steps
        position += middle * 0.02 / steps
        velocity += (command - middle) / lag * 0.02 / steps
    expected = (position, velocity) if lag else (position + 0.02 * command, command)
    assert (q.item(), dq.item()) == pytest.approx(expected, abs=1e-9)


def test_matrices_are_the_step() -> None:
    prior = NominalPrior(0.02, (0.03, 0.0, 0.1))
    q, dq, a = torch.randn(3, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    product = torch.cat([q, dq], dim=1) @ prior.state_matrix() + a @ prior.action_matrix()
    torch.testing.assert_close(product, torch.cat(prior.step(q, dq, a), dim=1))


def test_noise_propagation_is_the_covariance_of_the_linear_system() -> None:
    prior = NominalPrior(0.02, (0.03,))
    matrix = prior.state_matrix().numpy().T
    covariance, noise = np.zeros((2, 2)), np.diag([0.2, 0.7])
    to_velocity, to_position, direct = (value.numpy() for value in prior.noise_propagation(6))
    for step in range(6):
        covariance = matrix @ covariance @ matrix.T + noise
        ones = np.ones(6)
        assert covariance[1, 1] == pytest.approx(0.7 * to_velocity[0, step] @ ones)
        assert covariance[0, 0] == pytest.approx(0.2 * direct[step] @ ones + 0.7 * to_position[0, step] @ ones)


@pytest.mark.parametrize("robot", ["panda", "planar", "ur5e"])
def test_tool_position_is_forward_kinematics(robot: str) -> None:
    arm = load_arm(ROBOTS / f"{robot}.yaml")
    q = np.random.default_rng(0).uniform(arm.lower, arm.upper, (50, arm.joints))
    found = torch.cat(tool_position(ToolChain.of(arm), torch.from_numpy(q)), dim=-1).numpy()
    expected = np.array([forward_kinematics(arm, row) for row in q])
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_mixing_subtracts_the_velocity_from_every_velocity_command_and_leaves_torques_out() -> None:
    row = torch.tensor([1.0, 2.0, 10.0, 20.0, 0.5, 0.6, 11.0, 22.0, 13.0, 24.0], dtype=torch.float64)
    motion = row @ mixing_matrix(2, 1, CommandInterface.EFFORT)
    assert motion.tolist() == row[:6].tolist()
    mixed = row @ mixing_matrix(2, 1, CommandInterface.VELOCITY)
    assert mixed.tolist() == [1.0, 2.0, 10.0, 20.0, 0.5, 0.6, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(("dt", "lag"), [(0.0, 0.1), (0.02, -1.0), (0.02, float("nan"))])
def test_bad_prior_is_refused(dt: float, lag: float) -> None:
    with pytest.raises(ValueError, match=r"give 0 or more|use 0\.02"):
        NominalPrior(dt, (lag,))
