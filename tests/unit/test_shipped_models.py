"""Shipped bundles hold what their cards say; a run copies the one that fits, and begins with the prior otherwise."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.cli import shipped
from mbrl_control.cli.locations import arm_file, shipped_models
from mbrl_control.cli.session import Session
from mbrl_control.cli.shipped import copy_shipped, prepare
from mbrl_control.cli.wiring import Wiring
from mbrl_control.deployment import pins
from mbrl_control.deployment.bundle import prior_bundle
from mbrl_control.deployment.check import CARD, MANIFEST, read_bundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.evaluator import OnnxEvaluator, OnnxStepModel
from mbrl_control.deployment.pins import PINNED, PINS
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.signing import SIGNATURE
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface
from sim.generate import ROBOTS

LARGEST_BYTES = 2_000_000
FOLDERS = sorted(path.parent.name for path in shipped_models().glob("*/active.json"))


def test_every_shipped_arm_has_a_bundle_for_velocities_and_one_for_torques() -> None:
    arms = sorted(path.stem for path in ROBOTS.glob("*.yaml"))
    assert sorted(FOLDERS) == sorted([*arms, *(f"{arm}_effort" for arm in arms)])


@pytest.mark.parametrize("name", FOLDERS)
def test_it_is_whole_meets_its_golden_outputs_and_beats_the_prior(name: str) -> None:
    interface = CommandInterface.EFFORT if name.endswith("_effort") else CommandInterface.VELOCITY
    arm = load_arm(arm_file(name.removesuffix("_effort")), interface)
    registry = Registry(shipped_models(), name)
    version = registry.active()
    assert version is not None
    assert registry.versions() == (version,)
    bundle = read_bundle(registry.path(version), arm)
    assert bundle.signer == PINNED, "who makes them anew pins them: make models"
    OnnxEvaluator(bundle)
    OnnxStepModel(bundle)
    training = bundle.manifest.training
    assert training is not None
    assert training.payload_kg == 0.0
    for row in training.k_step:
        assert row.velocity < row.nominal_velocity, row
        assert row.position < row.nominal_position or row.steps == 1, row
    card = bundle.content[CARD].decode()
    assert f"`mbrl-control bench make_bundle --robot {arm.name} --command {interface.value} " in card
    assert "/" not in card.partition("made by:")[2].splitlines()[0], "no path of one machine"
    if not card.partition("made by:")[2].splitlines()[0].endswith(" --seed 0`"):
        assert f"`{name}`, which has seed" in (shipped_models() / "README.md").read_text(), "who chose a seed says why"
    assert sum(path.stat().st_size for path in bundle.path.iterdir()) <= LARGEST_BYTES


def test_nothing_is_pinned_that_is_not_shipped() -> None:
    manifests = {f"{name}/1": shipped_models() / name / "1" / MANIFEST for name in FOLDERS}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in manifests.items()}
    assert json.loads(PINS.read_text()) == digests


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry as it would be shipped; what its bundle has learned does not matter here."""
    folder, arm = tmp_path_factory.mktemp("models"), load_arm(arm_file("planar"))
    registry = Registry(folder, arm.model_name)
    registry.activate(int(prior_bundle(arm, registry, 0.02, 0.006, 3, 0).name))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_is_active_and_the_original_is_left_alone(models: Path, tmp_path: Path) -> None:
    before = files(models)
    own = Registry(tmp_path, "planar")
    manifest = copy_shipped(models, load_arm(arm_file("planar")), own)
    assert (own.active(), own.next_version()) == (manifest.version, manifest.version + 1)
    assert files(own.path(manifest.version)) == files(models / "planar" / str(manifest.version))
    assert files(models) == before


def test_what_is_pinned_needs_no_signature_until_it_is_pinned_no_more(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pins, "PINS", tmp_path / "shipped.json")
    bare = shutil.copytree(models, tmp_path / "bare", ignore=shutil.ignore_patterns(SIGNATURE))
    arm, own = load_arm(arm_file("planar")), Registry(tmp_path / "own", "planar")
    assert list(pins.pin(bare)) == ["planar/1"]
    copy_shipped(bare, arm, own)
    assert read_bundle(own.path(1), arm).signer == PINNED
    pins.pin(tmp_path / "none")
    with pytest.raises(BundleError, match=r"signature\.json: missing"):
        read_bundle(own.path(1), arm)
    with pytest.raises(BundleError, match=r"signature\.json: missing"):
        copy_shipped(bare, arm, Registry(tmp_path / "other", "planar"))
    assert not (tmp_path / "other").exists()
    pins.installed.cache_clear()


def test_an_installation_made_of_links_is_copied_too(models: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    for name in files(models):
        (linked / name).parent.mkdir(parents=True, exist_ok=True)
        (linked / name).symlink_to(models / name)
    copy_shipped(linked, load_arm(arm_file("planar")), Registry(tmp_path / "own", "planar"))
    assert not any(path.is_symlink() for path in (tmp_path / "own").rglob("*"))


def session(folder: Path, real: bool = False) -> Session:
    return Session(folder, arm_file("planar"), "planar", 0, 0.5, wiring=Wiring(real=real))


@pytest.fixture
def verbs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Verbs that were run; none is."""
    run: list[str] = []
    monkeypatch.setattr(shipped, "run_verb", lambda arguments: run.append(" ".join(arguments[:2])))
    return run


def test_a_run_takes_the_shipped_bundle_and_says_so(
    models: Path, tmp_path: Path, verbs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "shipped_models", lambda: models)
    said = prepare(session(tmp_path))
    assert said.startswith("model: planar/1 of ")
    assert Registry(tmp_path / "registry", "planar").active() == 1
    assert verbs == []


def damaged(models: Path, folder: Path) -> Path:
    copy = shutil.copytree(models, folder / "damaged")
    with (copy / "planar" / "1" / "rollout.onnx").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    return copy


def test_what_does_not_fit_is_named_and_the_prior_is_used(
    models: Path, tmp_path: Path, verbs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = load_arm(arm_file("planar"))
    longer = replace(other, tool_translation=other.tool_translation + np.array([0.0, 0.0, 0.01]))
    with pytest.raises(BundleError, match="geometry_sha256"):
        copy_shipped(models, longer, Registry(tmp_path / "longer", "planar"))
    assert not (tmp_path / "longer").exists()
    for number, (place, real, words) in enumerate(
        [
            (tmp_path / "none", False, "no bundle is shipped"),
            (damaged(models, tmp_path), False, r"rollout.onnx: sha256"),
            (models, True, "learned a simulated arm"),
        ]
    ):
        monkeypatch.setattr(shipped, "shipped_models", lambda place=place: place)
        said = prepare(session(tmp_path / str(number), real))
        assert said.startswith("model: the prior alone")
        assert words in said
        assert not (tmp_path / str(number) / "registry").exists()
    assert verbs == ["models prior"] * 3
