"""Bundles: what is written can be loaded; whatever is broken is refused by name."""

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from mbrl_control.cadence import SteadyClock
from mbrl_control.deployment.bundle import load_weights, prior_bundle
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.evaluator import Opening, load_model
from mbrl_control.deployment.export import export_step
from mbrl_control.deployment.exports import export_bare
from mbrl_control.deployment.layout_choice import load_measured
from mbrl_control.deployment.parity import ParityError, check_parity
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape, RolloutGraph
from mbrl_control.deployment.session import Session
from mbrl_control.deployment.slot import ModelSlot
from mbrl_control.deployment.step_graph import StepGraph
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.planning.protocol import Objective
from mbrl_control.robot import Arm, load_arm
from tests.unit.signing_support import sign_anew

ROBOTS = Path(__file__).parents[2] / "sim" / "robots"
GRAPH = GraphShape(horizon=5)


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
        sign_anew(folder)

    return apply


def _link(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "outside.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "outside.onnx")


def _flip(folder: Path) -> None:
    data = bytearray((folder / "rollout.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "rollout.onnx").write_bytes(data)


def _rehash(folder: Path, name: str) -> None:
    """As someone who knows the format and has a trusted key would: the manifest agrees with the changed file."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    path.write_text(json.dumps(manifest))
    sign_anew(folder)


def _no_json(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")
    sign_anew(folder)


def _golden(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / "golden.npz").write_bytes(change((folder / "golden.npz").read_bytes()))
        _rehash(folder, "golden.npz")

    return apply


def _flat(data: bytes) -> bytes:
    with np.load(io.BytesIO(data)) as archive:
        arrays = {name: archive[name].ravel() for name in archive.files}
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _rename_output(folder: Path) -> None:
    model = onnx.load(folder / "rollout.onnx")
    for node in model.graph.node:
        node.output[:] = ["price" if name == "cost" else name for name in node.output]
    next(value for value in model.graph.output if value.name == "cost").name = "price"
    onnx.save(model, folder / "rollout.onnx")
    _rehash(folder, "rollout.onnx")


BROKEN = {
    "flipped bit": (_flip, r"rollout\.onnx: sha256"),
    "missing file": (lambda folder: (folder / "golden.npz").unlink(), r"golden\.npz: cannot be read"),
    "external data": (lambda folder: (folder / "w.bin").write_bytes(b"x"), r"w\.bin: does not belong"),
    "link": (_link, r"model\.onnx: is a link"),
    "not json": (_no_json, r"manifest\.json: json"),
    "unknown field": (_edit("surprise", 1), "surprise"),
    "non-finite": (_edit("delay_s", "nan"), "delay_s"),
    "other robot": (_edit("joint_names", ["a", "b"]), "joint_names"),
    "short scaling": (_edit("lag_s", [0.1]), "lag_s"),
    "other horizon": (_edit("horizon", 6), r"rollout\.onnx: inputs"),
    "robot renamed": (_edit("robot", "ur5e"), "robot: 'ur5e' is not 'planar'"),
    "other geometry": (_edit("geometry_sha256", "0" * 64), "geometry_sha256"),
    "other terms": (_edit("term_names", ["a"]), "term_names"),
    "endless delay": (_edit("delay_s", 0.9), "delay_s: 0.9 s is more than"),
    "golden cut off": (_golden(lambda data: data[: len(data) // 2]), "BadZipFile"),
    "golden of another shape": (_golden(_flat), "differs|shape"),
    "outputs renamed": (_rename_output, "outputs:"),
    "oversized": (lambda folder: (folder / "card.md").write_bytes(b"x" * ((1 << 20) + 1)), r"card\.md: \d+ bytes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_bundle_is_refused_by_name(name: str, arm: Arm, copy: Path) -> None:
    break_it, message = BROKEN[name]
    break_it(copy)
    with pytest.raises(BundleError, match=message):
        load_model(copy, arm)


def _fix_sequences(folder: Path) -> None:
    """As an export would that forgot to leave their number open."""
    model = onnx.load(folder / "rollout.onnx")
    next(value for value in model.graph.input if value.name == "actions").type.tensor_type.shape.dim[0].dim_value = 8
    onnx.save(model, folder / "rollout.onnx")
    _rehash(folder, "rollout.onnx")


@pytest.mark.parametrize("break_it", [_fix_sequences, _flip, _rename_output])
def test_what_a_planner_opens_first_is_refused_by_name_too(
    break_it: Callable[[Path], None], arm: Arm, copy: Path
) -> None:
    """Measuring comes after checking: nothing but BundleError leaves it, whatever the bytes are."""
    load_measured(copy, arm, None, Opening(16), SteadyClock())
    break_it(copy)
    with pytest.raises(BundleError):
        load_measured(copy, arm, None, Opening(16), SteadyClock())


def test_a_bundle_exchanged_after_its_announcement_is_refused(arm: Arm, copy: Path) -> None:
    announced = hashlib.sha256((copy / "manifest.json").read_bytes()).hexdigest()
    assert load_model(copy, arm, announced).manifest_sha256 == announced
    _edit("created", "2020-01-01T00:00:00+00:00")(copy)
    with pytest.raises(BundleError, match="changed since it was announced"):
        load_model(copy, arm, announced)


def test_a_changed_tool_frame_makes_the_bundle_another_arms(arm: Arm, copy: Path) -> None:
    longer = replace(arm, tool_translation=arm.tool_translation + np.array([0.0, 0.0, 0.01]))
    with pytest.raises(BundleError, match="tool frame"):
        load_model(copy, longer)
    load_model(copy, replace(arm, sha256=("0" * 64, "1" * 64)))


@pytest.mark.parametrize("graph", ["model.onnx", "rollout.onnx"])
def test_an_export_that_computes_something_else_is_refused(graph: str, arm: Arm) -> None:
    """One weight of the deployed graph changed by a thousandth."""
    shape = EnsembleShape(members=2, joints=arm.joints, history=3, width=8)
    ensemble = ProbabilisticEnsemble(shape, NominalPrior.of(arm, 0.02), torch.Generator().manual_seed(0)).eval()
    rollout = RolloutGraph(ensemble, arm, GRAPH).eval()
    exported, rng = export_bare(ensemble, rollout), np.random.default_rng(0)
    check_parity(exported, rollout, arm, rng)
    model = onnx.load_from_string(exported[graph].content)
    largest = max(model.graph.initializer, key=lambda one: onnx.numpy_helper.to_array(one).size)
    changed = onnx.numpy_helper.to_array(largest) * np.float32(1.001)
    largest.CopyFrom(onnx.numpy_helper.from_array(changed, largest.name))
    exported[graph] = replace(exported[graph], content=model.SerializeToString())
    with pytest.raises(ParityError, match=f"{graph}: .* differs by"):
        check_parity(exported, rollout, arm, rng)


@pytest.mark.parametrize("raw", [-14.0, -11.0, -6.0, 0.0, 6.0])
def test_small_variances_keep_float32s_accuracy_in_the_deployed_graph(raw: float, arm: Arm) -> None:
    """ONNX Runtime's own sigmoid would be off by 3e-5 of them, more than parity allows where they are large in SI."""
    shape = EnsembleShape(2, arm.joints, 3, 8)
    graph = StepGraph(ProbabilisticEnsemble(shape, NominalPrior.of(arm, 0.02), torch.Generator().manual_seed(0)))
    last = graph.networks.get_buffer(f"layer_{graph.networks.depth}")
    for weights in (last, graph.variance_floor):
        weights.zero_()
    last[:, -3 * arm.joints :, -1] = raw  # the biases
    state, action = np.zeros((2, 1, 5 * arm.joints), np.float32), np.zeros((1, arm.joints), np.float32)
    deployed = Session(export_step(graph), "model.onnx").run({"state": state, "action": action})["variance"]
    exact = graph.variance_scale.double() * torch.sigmoid(torch.tensor(raw, dtype=torch.float64))
    np.testing.assert_allclose(deployed[:, 0], np.tile(exact.numpy()[:, 0], (2, 1)), rtol=2e-6)


def test_a_bundle_of_another_arm_is_refused(copy: Path) -> None:
    with pytest.raises(BundleError, match="joint_names"):
        verify_bundle(copy, load_arm(ROBOTS / "panda.yaml"))


def test_prior_rollout_is_the_prior_and_reaches_are_distances(arm: Arm, copy: Path) -> None:
    model = load_model(copy, arm, opening=Opening(4))
    assert not model.manifest.has_spread
    prior = load_weights(copy, arm).prior
    alpha, gain = prior.alpha.numpy(), prior.gain.numpy()
    q, dq = arm.home.copy(), np.zeros(arm.joints)
    actions = np.random.default_rng(1).uniform(-0.5, 0.5, (4, 5, arm.joints))
    weights = np.array([float(name == "reach_terminal") for name in model.rollout.term_names])
    state = np.concatenate([q, dq, np.zeros(3 * arm.joints)])
    goal = np.array([0.1, 0.2, 0.3])
    goals = np.vstack([np.ones((4, 3)), goal])
    objective = Objective.plain(goals, np.tile(q, (5, 1)), weights)
    scores = model.rollout.evaluate(state, actions, objective)
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
    model = load_model(copy, arm)
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


def test_slot_swaps_between_cycles_and_keeps_the_previous(
    arm: Arm, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_model(models / arm.name / "1", arm)
    slot = ModelSlot(first, arm)
    standing_back: list[bool] = []
    monkeypatch.setattr("mbrl_control.deployment.slot.stand_back", lambda: standing_back.append(True))
    assert slot.swap() is None
    slot.request(models / arm.name / "2").join()
    assert slot.current is first
    result = slot.swap()
    assert result is not None
    assert (result.model_id, result.refused) == (f"{arm.name}/2", "")
    assert slot.previous is first
    assert standing_back == [True]
    assert slot.rollback().model_id == first.model_id


def test_slot_keeps_serving_when_a_bundle_is_refused(arm: Arm, models: Path) -> None:
    first = load_model(models / arm.name / "1", arm)
    slot = ModelSlot(first, arm)
    slot.request(models / arm.name / "9").join()
    result = slot.swap()
    assert result is not None
    assert "9" in result.refused
    assert slot.current is first


def test_golden_of_another_function_is_refused(arm: Arm, copy: Path) -> None:
    from mbrl_control.deployment.check import read_bundle
    from mbrl_control.deployment.evaluator import OnnxEvaluator

    bundle = read_bundle(copy, arm)
    with np.load(copy / "golden.npz") as archive:
        arrays = dict(archive)
    arrays["rollout.cost"] = arrays["rollout.cost"] + 1.0
    np.savez(copy / "golden.npz", **arrays)
    forged = replace(bundle, content=bundle.content | {"golden.npz": (copy / "golden.npz").read_bytes()})
    with pytest.raises(BundleError, match="cost: differs"):
        OnnxEvaluator(forged)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: b"no tensors",
        lambda tensors: save_tensors({}),
        lambda tensors: save_tensors(tensors | {"w0": tensors["w0"][:, :1].clone()}),
        lambda tensors: save_tensors(tensors | {"b0": tensors["b0"] * float("nan")}),
    ],
    ids=["bytes", "none", "shape", "not finite"],
)
def test_weights_that_are_not_the_networks_are_refused_by_name(
    change: Callable[[dict[str, torch.Tensor]], bytes], arm: Arm, copy: Path
) -> None:
    """No graph is made of them, so a trial says nothing: the next training would begin with them."""
    place = copy / "weights.safetensors"
    load_weights(copy, arm)
    place.write_bytes(change(load_tensors(place.read_bytes())))
    _rehash(copy, place.name)
    with pytest.raises(BundleError, match=r"weights\.safetensors: .*export the bundle again"):
        load_weights(copy, arm)
