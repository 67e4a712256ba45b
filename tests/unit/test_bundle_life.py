"""A bundle's life: whatever is changed, unsigned or hostile is refused with a reason, and what is active stays so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mbrl_control.deployment.bundle import prior_bundle
from mbrl_control.deployment.check import read_bundle
from mbrl_control.deployment.errors import ActiveChanged, BundleError, KeysError
from mbrl_control.deployment.keys import FOLDER_VARIABLE, Keys
from mbrl_control.deployment.lifecycle import promote, roll_back, sign_bundle
from mbrl_control.deployment.operators import OPSET
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.deployment.signing import SIGNATURE
from mbrl_control.deployment.trial import TrialLimits, try_bundle
from mbrl_control.robot import Arm, load_arm
from tests.unit.signing_support import rehash, sign_anew

ROBOTS = Path(__file__).parents[2] / "sim" / "robots"
FILES = ["manifest.json", SIGNATURE, "model.onnx", "rollout.onnx", "weights.safetensors", "golden.npz", "card.md"]


@pytest.fixture(scope="module")
def arm() -> Arm:
    return load_arm(ROBOTS / "planar.yaml")


@pytest.fixture(scope="module")
def original(arm: Arm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two signed versions, the first one active."""
    registry = Registry(tmp_path_factory.mktemp("models"), arm.model_name)
    for _ in range(2):
        prior_bundle(arm, registry, 0.02, 0.01, 3, 0, GraphShape(horizon=5))
    promote(registry, 1, arm)
    return registry.models


@pytest.fixture
def registry(arm: Arm, original: Path, tmp_path: Path) -> Registry:
    return Registry(Path(shutil.copytree(original, tmp_path / "models")), arm.model_name)


def refused(registry: Registry, arm: Arm, message: str, keys: Keys | None = None) -> None:
    """Version 2 is, for that reason, and version 1 stays active."""
    before = (registry.folder / "active.json").read_bytes()
    with pytest.raises(BundleError, match=message):
        promote(registry, 2, arm, keys)
    assert (registry.folder / "active.json").read_bytes() == before
    assert registry.active() == 1


def test_promoted_and_rolled_back(registry: Registry, arm: Arm) -> None:
    tried = promote(registry, 2, arm)
    assert registry.active() == 2
    assert 0.0 < tried.memory_mib < TrialLimits().memory_mib
    assert 0.0 < tried.cpu_s < TrialLimits().cpu_s
    assert roll_back(registry, arm) == 1 == registry.active()


def test_no_way_back_to_a_bundle_that_was_changed(registry: Registry, arm: Arm) -> None:
    promote(registry, 2, arm)
    (registry.path(1) / "card.md").write_text("better than it was")
    with pytest.raises(BundleError, match=r"card\.md: sha256"):
        roll_back(registry, arm)
    assert registry.active() == 2


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES), place=st.floats(0.0, 1.0, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused(name: str, place: float, bit: int, registry: Registry, arm: Arm) -> None:
    path = registry.path(2) / name
    whole = path.read_bytes()
    data = bytearray(whole)
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    try:
        refused(registry, arm, r"(manifest|signature)\.json|sha256 differs" if name == "manifest.json" else name)
    finally:
        path.write_bytes(whole)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES), share=st.floats(0.0, 1.0, exclude_max=True), tail=st.binary(max_size=3))
def test_anything_cut_off_or_lengthened_is_refused(
    name: str, share: float, tail: bytes, registry: Registry, arm: Arm
) -> None:
    path = registry.path(2) / name
    whole = path.read_bytes()
    path.write_bytes(whole + tail if tail else whole[: int(share * len(whole))])
    try:
        refused(registry, arm, r"(manifest|signature)\.json" if name == "manifest.json" else name)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", FILES)
def test_a_link_is_refused_though_it_leads_to_the_very_file(name: str, registry: Registry, arm: Arm) -> None:
    path = registry.path(2) / name
    path.rename(registry.models / "outside")
    path.symlink_to(registry.models / "outside")
    refused(registry, arm, f"{name}: is a link")


def test_the_signature_of_another_version_does_not_fit(registry: Registry, arm: Arm) -> None:
    shutil.copyfile(registry.path(1) / SIGNATURE, registry.path(2) / SIGNATURE)
    refused(registry, arm, r"signature: does not fit .*manifest\.json")


def test_what_another_key_signed_counts_when_it_is_trusted_and_until_it_is_revoked(
    registry: Registry, arm: Arm, tmp_path: Path
) -> None:
    stranger, here = Keys(tmp_path / "stranger"), Keys(tmp_path / "here")
    for version in (1, 2):
        sign_anew(registry.path(version), stranger)
    (file,) = stranger.trusted().values()
    refused(registry, arm, r"signature\.json: key_id: key .* is unknown", here)
    here.own()
    refused(registry, arm, r"is not among the trusted ones in .*keys trust FILE.*models sign", here)
    key_id = here.trust(file)
    promote(registry, 2, arm, here)
    assert roll_back(registry, arm, here) == 1
    here.revoke(key_id)
    refused(registry, arm, "was revoked", here)
    sign_bundle(registry, 2, arm, here)
    promote(registry, 2, arm, here)
    with pytest.raises(KeysError, match="was revoked"):
        roll_back(registry, arm, here)
    assert registry.active() == 2


def test_an_unsigned_bundle_is_refused_with_the_way_to_sign_it(registry: Registry, arm: Arm) -> None:
    (registry.path(2) / SIGNATURE).unlink()
    refused(registry, arm, rf"missing: .*models sign 2 --robot planar .*--registry {registry.models}$")
    assert sign_bundle(registry, 2, arm).signer == Keys().own_id()
    promote(registry, 2, arm)


def test_nobody_signs_what_does_not_hold(registry: Registry, arm: Arm) -> None:
    before = (registry.path(2) / SIGNATURE).read_bytes()
    graph(loop_forever)(registry.path(2))
    with pytest.raises(BundleError, match="operation Loop"):
        sign_bundle(registry, 2, arm)
    (registry.path(2) / "card.md").write_text("")
    with pytest.raises(BundleError, match=r"card\.md: sha256"):
        sign_bundle(registry, 2, arm)
    assert (registry.path(2) / SIGNATURE).read_bytes() == before


def graph(make: Callable[[onnx.ModelProto], None]) -> Callable[[Path], None]:
    """`rollout.onnx` changed so, its hash in the manifest with it."""

    def apply(folder: Path) -> None:
        model = onnx.load(folder / "rollout.onnx")
        make(model)
        (folder / "rollout.onnx").write_bytes(model.SerializeToString())
        rehash(folder, "rollout.onnx")

    return apply


def replaced(model: onnx.ModelProto, nodes: list[onnx.NodeProto], *tensors: onnx.TensorProto) -> None:
    """A small graph in its place, with the output "cost"."""
    del model.graph.node[:], model.graph.initializer[:], model.graph.input[:], model.graph.output[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(tensors)
    model.graph.output.append(helper.make_tensor_value_info("cost", TensorProto.FLOAT, None))


def bomb(model: onnx.ModelProto) -> None:
    """Some eighty bytes that ask for 582 MB."""
    shape = numpy_helper.from_array(np.array([145_500_000], np.int64), "s")
    replaced(model, [helper.make_node("ConstantOfShape", ["s"], ["cost"])], shape)


def loop_forever(model: onnx.ModelProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, [])],
    )
    replaced(model, [helper.make_node("Loop", ["", ""], ["cost"], body=body)])


def hidden_in_a_branch(model: onnx.ModelProto) -> None:
    branch = helper.make_graph(
        [helper.make_node("RandomNormal", [], ["x"], shape=[1])],
        "branch",
        [],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
    )
    condition = numpy_helper.from_array(np.array(True), "c")
    replaced(model, [helper.make_node("If", ["c"], ["cost"], then_branch=branch, else_branch=branch)], condition)


def external(name: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../outside.bin")
    return tensor


def elsewhere(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(external("w"))


def elsewhere_in_a_branch(model: onnx.ModelProto) -> None:
    """Of a branch that computes nothing: its output is the tensor itself."""
    said = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    branch = helper.make_graph([], "branch", [], [said], [external("x")])
    condition = numpy_helper.from_array(np.array(True), "c")
    replaced(model, [helper.make_node("If", ["c"], ["cost"], then_branch=branch, else_branch=branch)], condition)


def sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add(values=external("v"), dims=[4])


def sparse_in_a_constant(model: onnx.ModelProto) -> None:
    tensor = onnx.SparseTensorProto(values=external("v"), dims=[4])
    model.graph.node.append(helper.make_node("Constant", [], ["s"], sparse_value=tensor))


def other_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = OPSET - 1


def own_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "evil"
    model.opset_import.append(helper.make_opsetid("evil", 1))


def own_function(model: onnx.ModelProto) -> None:
    model.functions.append(helper.make_function("", "F", [], ["y"], [], [helper.make_opsetid("", OPSET)]))


def double(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


HOSTILE = {
    bomb: r"rollout\.onnx|trial: asks for more|its process ended",
    loop_forever: r"rollout\.onnx: operation Loop",
    hidden_in_a_branch: r"rollout\.onnx: operation RandomNormal",
    elsewhere: r"rollout\.onnx: w: lies in another file",
    elsewhere_in_a_branch: r"rollout\.onnx: x: lies in another file",
    sparse: r"rollout\.onnx: holds sparse tensors",
    sparse_in_a_constant: r"rollout\.onnx: holds sparse tensors",
    other_opset: r"rollout\.onnx: opset_import",
    own_domain: r"rollout\.onnx: opset_import",
    own_function: r"rollout\.onnx: brings functions",
    double: r"rollout\.onnx: state: is not of type float32",
}


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_a_hostile_graph_is_refused_though_a_trusted_key_signed_it(
    make: Callable[[onnx.ModelProto], None], registry: Registry, arm: Arm
) -> None:
    graph(make)(registry.path(2))
    sign_anew(registry.path(2))
    refused(registry, arm, HOSTILE[make])


def test_a_graph_of_bytes_that_are_none_is_refused(registry: Registry, arm: Arm) -> None:
    (registry.path(2) / "model.onnx").write_bytes(b"\xff" * 40)
    rehash(registry.path(2), "model.onnx")
    sign_anew(registry.path(2))
    refused(registry, arm, r"model\.onnx: is no ONNX model")


def bomb_in_disguise(model: onnx.ModelProto) -> None:
    """All that the graph was, and 582 MB on the way that change none of its outputs."""
    (last,) = (node for node in model.graph.node if "cost" in node.output)
    last.output[:] = ["honest" if name == "cost" else name for name in last.output]
    model.graph.initializer.append(numpy_helper.from_array(np.array([145_500_000], np.int64), "s"))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["s"], ["zeros"]))
    model.graph.node.append(helper.make_node("ReduceSum", ["zeros"], ["none"], keepdims=0))
    model.graph.node.append(helper.make_node("Add", ["honest", "none"], ["cost"]))


def test_what_the_limit_refuses_is_the_memory_that_a_bomb_asks_for(registry: Registry, arm: Arm) -> None:
    """With room for it, nothing is wrong with it: so it was the memory before."""
    graph(bomb_in_disguise)(registry.path(2))
    sign_anew(registry.path(2))
    refused(registry, arm, "trial: ")
    assert try_bundle(read_bundle(registry.path(2), arm), TrialLimits(memory_mib=2048)).memory_mib > 500.0


@pytest.mark.parametrize(
    ("limits", "message"),
    [(TrialLimits(wall_s=0.001), r"took longer than 0\.001 s"), (TrialLimits(memory_mib=0), "trial: ")],
    ids=["time", "memory"],
)
def test_an_honest_bundle_meets_the_limits_too(limits: TrialLimits, message: str, registry: Registry, arm: Arm) -> None:
    with pytest.raises(BundleError, match=message):
        try_bundle(read_bundle(registry.path(2), arm), limits)


def test_the_trial_is_of_the_bytes_that_were_checked(registry: Registry, arm: Arm) -> None:
    """What happens to the folder afterwards does not matter; what the bytes compute does."""
    bundle = read_bundle(registry.path(2), arm)
    shutil.rmtree(registry.path(2))
    try_bundle(bundle)
    forged = replace(bundle, content=bundle.content | {"golden.npz": b"PK"})
    with pytest.raises(BundleError, match=r"trial: .*export"):
        try_bundle(forged)


def test_a_manifest_that_agrees_with_a_changed_file_needs_the_key(registry: Registry, arm: Arm) -> None:
    path = registry.path(2) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"delay_s": 0.02}))
    refused(registry, arm, "signature: does not fit")


def test_a_successor_takes_the_place_of_what_it_was_compared_with_alone(registry: Registry, arm: Arm) -> None:
    with pytest.raises(ActiveChanged, match="is 1 by now, no more 2"):
        promote(registry, 2, arm, instead_of=2)
    assert registry.active() == 1
    promote(registry, 2, arm, instead_of=1)
    assert registry.active() == 2


def test_keys_in_the_registry_are_refused_before_anything_is_made(
    arm: Arm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    monkeypatch.setenv(FOLDER_VARIABLE, str(models / "keys"))
    with pytest.raises(KeysError, match=r"lies in the registry .*MBRL_KEYS"):
        prior_bundle(arm, Registry(models, arm.model_name), 0.02, 0.01, 3, 0, GraphShape(horizon=5))
    assert not models.exists()
