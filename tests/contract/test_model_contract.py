"""Every dynamics model answers alike: torch and ONNX, of velocities and of torques."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mbrl_control.deployment.bundle import Origin, load_weights, write_bundle
from mbrl_control.deployment.evaluator import DeployedModel, Opening, load_model
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.dynamics.adapters import TorchDynamics
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.dynamics.protocol import DynamicsModel
from mbrl_control.planning.protocol import Objective
from mbrl_control.replay.transitions import history_of
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import CommandInterface

ARM = Path(__file__).parents[2] / "sim" / "robots" / "planar.yaml"


@pytest.fixture(scope="module", params=list(CommandInterface))
def arm(request: pytest.FixtureRequest) -> Arm:
    return load_arm(ARM, request.param)


@pytest.fixture(scope="module", params=[(16, 2), (160, 3)], ids=["narrow", "wide and deep"])
def folder(request: pytest.FixtureRequest, arm: Arm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator, (width, depth) = torch.Generator().manual_seed(3), request.param
    shape = EnsembleShape(3, arm.joints, history_of(arm), width, depth)
    ensemble = ProbabilisticEnsemble(shape, prior_of(arm, 0.02), generator)
    # The residual of torques is a torque: one of 1 N m moves the light elbow as much as its own command does.
    middle = 0.02 if arm.interface is CommandInterface.VELOCITY else 1.0
    ensemble.target_std = torch.tensor([0.001, middle, 2.0]).repeat_interleave(arm.joints)
    ensemble.feature_mean = torch.randn(ensemble.feature_mean.shape, generator=generator) * 0.1
    ensemble.feature_std = torch.rand(ensemble.feature_std.shape, generator=generator) + 0.5
    registry = Registry(tmp_path_factory.mktemp("models"), arm.name)
    path, _ = write_bundle(ensemble, arm, registry, Origin(0, 0.01), GraphShape(6))
    return path


@pytest.fixture
def deployed(arm: Arm, folder: Path) -> DeployedModel:
    return load_model(folder, arm, opening=Opening(4))


@pytest.fixture(params=["torch", "onnx"])
def model(request: pytest.FixtureRequest, arm: Arm, folder: Path, deployed: DeployedModel) -> DynamicsModel:
    return TorchDynamics(load_weights(folder, arm)) if request.param == "torch" else deployed.step_model


def _state(arm: Arm, members: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    motion = generator.normal(size=2 * arm.joints) * 0.3
    past = generator.normal(size=(history_of(arm), arm.joints)) * 0.1 * arm.command_limit
    state = np.concatenate([motion, past.ravel()])
    return np.tile(state, (members, 1, 1)), generator.normal(size=(1, arm.joints)) * 0.1 * arm.command_limit


def test_carried_state_holds_the_mean_and_the_shifted_history(model: DynamicsModel, arm: Arm) -> None:
    state, action = _state(arm, model.members)
    out, joints = model.predict(state, action), arm.joints
    assert out.mean.shape == out.variance.shape == (model.members, 1, 3 * joints)
    np.testing.assert_allclose(out.state[..., : 2 * joints], out.mean[..., : 2 * joints])
    assert out.state.shape == state.shape
    np.testing.assert_allclose(out.state[..., 2 * joints : -joints], state[..., 3 * joints :], atol=1e-6)
    np.testing.assert_allclose(out.state[:, 0, -joints:], np.tile(action, (model.members, 1)), rtol=1e-6, atol=1e-6)
    assert (out.variance > 0).all()


def test_wrong_shape_is_refused(model: DynamicsModel, arm: Arm) -> None:
    state, action = _state(arm, model.members)
    with pytest.raises(ValueError, match=r"shape|fit"):
        model.predict(state[..., 1:], action)


def test_rollout_is_repeated_steps_of_the_torch_model(arm: Arm, folder: Path, deployed: DeployedModel) -> None:
    model, joints = TorchDynamics(load_weights(folder, arm)), arm.joints
    state, _ = _state(arm, 1)
    actions = np.random.default_rng(1).normal(size=(4, 6, joints)) * 0.1 * arm.command_limit
    weights = np.ones(len(deployed.rollout.term_names))
    objective = Objective.plain(np.zeros((6, 3)), np.tile(arm.home, (6, 1)), weights)
    scores = deployed.rollout.evaluate(state[0, 0], actions, objective)
    carried = np.tile(state, (model.members, 4, 1))
    # A rollout of torques holds the rigid body's terms for some steps, the model has them fresh in each.
    exact = 1 if arm.interface is CommandInterface.EFFORT else 6
    for step in range(exact):
        out = model.predict(carried, actions[:, step])
        carried = out.state
        mean = np.concatenate([scores.position[:, step], scores.velocity[:, step], scores.effort[:, step]], axis=1)
        np.testing.assert_allclose(mean, out.mean.mean(0), atol=1e-5)
        spread = np.sqrt(out.mean[..., joints : 2 * joints].var(0).mean(-1))
        np.testing.assert_allclose(scores.epistemic[:, step], spread, atol=2e-6)
        noise = np.sqrt(out.variance[..., joints : 2 * joints].mean((0, 2)))
        np.testing.assert_allclose(scores.aleatoric[:, step], noise, atol=2e-6)
    np.testing.assert_allclose(scores.terms.sum(0), scores.cost.mean(0), rtol=1e-5)


def test_run_side_imports_no_torch() -> None:
    code = "import sys, mbrl_control.deployment.slot; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
