"""Bundles: what is written can be loaded; whatever is broken is refused by name."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.deployment.bundle import load_weights, prior_bundle
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.evaluator import load_model
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.deployment.slot import ModelSlot
from mbrl_control.robot import Arm, forward_kinematics, load_arm

ROBOTS = Path(__file__).parents[2] / "sim" / "robots"
GRAPH = GraphShape(batch=4, horizon=5)


@pytest.fixture(scope="module")
def arm() -> Arm:
    return load_arm(ROBOTS / "planar.yaml")


@pytest.fixture(scope="module")
def models(arm: Arm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for _ in range(2):
        prior_bundle(arm, Registry(folder, arm.name), 0.02, 0.01, 3, 0, GRAPH)
    return folder


@pytest.fixture
def copy(arm: Arm, models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(models / arm.name / "1", tmp_path / "1"))


def _edit(field: str, value: object) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))

    return apply


def _link(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "outside.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "outside.onnx")


def _flip(folder: Path) -> None:
    data = bytearray((folder / "rollout.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "rollout.onnx").write_bytes(data)


BROKEN = {
    "flipped bit": (_flip, r"rollout\.onnx: sha256"),
    "missing file": (lambda folder: (folder / "golden.npz").unlink(), r"golden\.npz: cannot be read"),
    "external data": (lambda folder: (folder / "w.bin").write_bytes(b"x"), r"w\.bin: does not belong"),
    "link": (_link, r"model\.onnx: is a link"),
    "not json": (lambda folder: (folder / "manifest.json").write_text("{"), r"manifest\.json: json"),
    "unknown field": (_edit("surprise", 1), "surprise"),
    "non-finite": (_edit("delay_s", "nan"), "delay_s"),
    "other robot": (_edit("joint_names", ["a", "b"]), "joint_names"),
    "short scaling": (_edit("lag_s", [0.1]), "lag_s"),
    "other horizon": (_edit("horizon", 6), r"rollout\.onnx: inputs"),
    "oversized": (lambda folder: (folder / "card.md").write_bytes(b"x" * ((1 << 20) + 1)), r"card\.md: \d+ bytes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_bundle_is_refused_by_name(name: str, arm: Arm, copy: Path) -> None:
    break_it, message = BROKEN[name]
    break_it(copy)
    with pytest.raises(BundleError, match=message):
        load_model(copy, arm.joint_names)


def test_a_bundle_of_another_arm_is_refused(copy: Path) -> None:
    with pytest.raises(BundleError, match="joint_names"):
        verify_bundle(copy, load_arm(ROBOTS / "panda.yaml").joint_names)


def test_prior_rollout_is_the_prior_and_reaches_are_distances(arm: Arm, copy: Path) -> None:
    model = load_model(copy, arm.joint_names)
    assert not model.manifest.has_spread
    prior = load_weights(copy, arm.joint_names).prior
    alpha, gain = prior.alpha.numpy(), prior.gain.numpy()
    q, dq = arm.home.copy(), np.zeros(arm.joints)
    actions = np.random.default_rng(1).uniform(-0.5, 0.5, (4, 5, arm.joints))
    weights = np.array([float(name == "reach_terminal") for name in model.rollout.term_names])
    state = np.concatenate([q, dq, np.zeros(3 * arm.joints)])
    goal = np.array([0.1, 0.2, 0.3])
    scores = model.rollout.evaluate(state, actions, goal, q, weights)
    for step, action in enumerate(actions[2]):
        q, dq = q + 0.02 * action + gain * (dq - action), dq - alpha * (dq - action)
        np.testing.assert_allclose(scores.position[2, step], q, atol=1e-5)
        np.testing.assert_allclose(scores.velocity[2, step], dq, atol=1e-5)
    distance = np.linalg.norm(forward_kinematics(arm, q) - goal)
    assert scores.cost[0, 2] == pytest.approx(np.hypot(distance, 0.005) - 0.005, abs=1e-5)
    np.testing.assert_allclose(
        model.step_model.step(state, actions[2, 0])[: arm.joints], scores.position[2, 0], atol=1e-6
    )


def test_wrong_shape_is_an_error(arm: Arm, copy: Path) -> None:
    model = load_model(copy, arm.joint_names)
    with pytest.raises(ValueError, match="action"):
        model.step_model.step(np.zeros(5 * arm.joints), np.zeros(arm.joints + 1))


def test_versions_grow_and_activation_goes_back(arm: Arm, models: Path, tmp_path: Path) -> None:
    registry = Registry(Path(shutil.copytree(models, tmp_path / "models")), arm.name)
    assert registry.versions() == (1, 2)
    assert registry.active() is None
    registry.activate(1)
    registry.activate(2)
    assert registry.rollback() == 1 == registry.active()
    shutil.rmtree(registry.path(2))
    assert registry.next_version() == 3
    with pytest.raises(BundleError, match="no such bundle"):
        registry.activate(2)
    with pytest.raises(BundleError, match="nothing to go back to"):
        registry.rollback()


def test_slot_swaps_between_cycles_and_keeps_the_previous(arm: Arm, models: Path) -> None:
    first = load_model(models / arm.name / "1", arm.joint_names)
    slot = ModelSlot(first, arm.joint_names)
    assert slot.swap() is None
    slot.request(models / arm.name / "2").join()
    assert slot.current is first
    result = slot.swap()
    assert result is not None
    assert (result.model_id, result.refused) == (f"{arm.name}/2", "")
    assert slot.previous is first
    assert slot.rollback().model_id == first.model_id


def test_slot_keeps_serving_when_a_bundle_is_refused(arm: Arm, models: Path) -> None:
    first = load_model(models / arm.name / "1", arm.joint_names)
    slot = ModelSlot(first, arm.joint_names)
    slot.request(models / arm.name / "9").join()
    result = slot.swap()
    assert result is not None
    assert "9" in result.refused
    assert slot.current is first


def test_golden_of_another_function_is_refused(arm: Arm, copy: Path) -> None:
    from mbrl_control.deployment.check import read_bundle
    from mbrl_control.deployment.evaluator import OnnxEvaluator

    bundle = read_bundle(copy, arm.joint_names)
    with np.load(copy / "golden.npz") as archive:
        arrays = dict(archive)
    arrays["rollout.cost"] = arrays["rollout.cost"] + 1.0
    np.savez(copy / "golden.npz", **arrays)
    forged = replace(bundle, content=bundle.content | {"golden.npz": (copy / "golden.npz").read_bytes()})
    with pytest.raises(BundleError, match="cost: differs"):
        OnnxEvaluator(forged)
