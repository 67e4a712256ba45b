"""A session with arrays of its own answers as one that allocates them: to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mbrl_control.deployment.bundle import Origin, write_bundle
from mbrl_control.deployment.check import STEP, CheckedBundle, read_bundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.evaluator import OnnxStepModel
from mbrl_control.deployment.export import export_rollout
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape, RolloutGraph
from mbrl_control.deployment.session import Resident, Session
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.replay.transitions import history_of
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface

ROBOTS = Path(__file__).parents[2] / "sim/robots"


@pytest.fixture(scope="module", params=list(CommandInterface))
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CheckedBundle:
    arm = load_arm(ROBOTS / "planar.yaml", request.param)
    shape = EnsembleShape(3, arm.joints, history_of(arm), 16)
    ensemble = ProbabilisticEnsemble(shape, prior_of(arm, 0.02), torch.Generator().manual_seed(0))
    registry = Registry(tmp_path_factory.mktemp("models"), arm.model_name)
    path, _ = write_bundle(ensemble, arm, registry, Origin(0, 0.01), GraphShape(5))
    return read_bundle(path, arm)


def asked(model: OnnxStepModel, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator, joints = np.random.default_rng(seed), len(model.manifest.joint_names)
    return generator.normal(size=(2 + model.manifest.history) * joints), generator.normal(size=joints)


def test_a_step_is_that_of_a_session_that_allocates(bundle: CheckedBundle) -> None:
    model, plain = OnnxStepModel(bundle), Session(bundle.content[STEP], "model.onnx")
    for seed in range(20):
        state, action = asked(model, seed)
        each = np.broadcast_to(state, (model.members, 1, len(state)))
        expected = plain.run({"state": each, "action": action[None]})
        found = model.predict(each, action[None])
        for name, value in (("next_state", found.state), ("mean", found.mean), ("variance", found.variance)):
            np.testing.assert_array_equal(value, expected[name].astype(np.float64))
        mean = expected["next_state"].astype(np.float64)[:, 0].mean(axis=0)
        np.testing.assert_array_equal(model.step(state, action), mean)


def test_what_a_caller_keeps_is_not_overwritten(bundle: CheckedBundle) -> None:
    """A start state outlives the cycle, a window of live scores its predictions."""
    model = OnnxStepModel(bundle)
    state, action = asked(model, 0)
    each = np.broadcast_to(state, (model.members, 1, len(state)))
    stepped, predicted = model.step(state, action), model.predict(each, action[None])
    kept = [values.copy() for values in (stepped, predicted.state, predicted.mean, predicted.variance)]
    model.step(*asked(model, 1))
    for values, before in zip((stepped, predicted.state, predicted.mean, predicted.variance), kept, strict=True):
        np.testing.assert_array_equal(values, before)


def test_outputs_stay_where_they_are_and_another_shape_is_refused(bundle: CheckedBundle) -> None:
    resident = Resident(Session(bundle.content[STEP], "model.onnx"), "model.onnx")
    given = {name: np.ones(shape) for name, shape in resident.inputs.items()}
    first = dict(resident.run(given))
    again = resident.run({name: 2.0 * value for name, value in given.items()})
    assert all(again[name] is first[name] for name in resident.outputs)
    with pytest.raises(ValueError, match="action: shape"):
        resident.run(given | {"action": np.ones(given["action"].shape[1:])})


def test_a_graph_that_leaves_a_size_open_is_refused_by_name() -> None:
    arm = load_arm(ROBOTS / "planar.yaml")
    ensemble = ProbabilisticEnsemble(EnsembleShape(2, arm.joints, 2, 8), prior_of(arm, 0.02), torch.Generator())
    graph = export_rollout(RolloutGraph(ensemble, arm, GraphShape(horizon=3)).eval())
    with pytest.raises(BundleError, match=r"rollout\.onnx: actions: .*open axis"):
        Resident(Session(graph, "rollout.onnx"), "rollout.onnx")
