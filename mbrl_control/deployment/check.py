"""Checks a bundle before anything of it runs: signature, names, sizes, hashes, the right arm. Torch-free."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from mbrl_control.deployment.errors import BundleError, KeysError
from mbrl_control.deployment.geometry import geometry_sha256
from mbrl_control.deployment.keys import Keys
from mbrl_control.deployment.manifest import Manifest
from mbrl_control.deployment.pins import PINNED, is_pinned
from mbrl_control.deployment.plain import NotPlain, read_plain
from mbrl_control.deployment.signing import SIGNATURE, require_signed
from mbrl_control.rewards.names import term_names
from mbrl_control.robot import Arm
from mbrl_control.signals import CommandInterface

MANIFEST, STEP, ROLLOUT, FULL, GRADIENT, JACOBIAN, WEIGHTS, GOLDEN, CARD, DATASET, DATASET_CARD = (
    "manifest.json",
    "model.onnx",
    "rollout.onnx",
    "rollout_full.onnx",
    "gradient.onnx",
    "jacobian.onnx",
    "weights.safetensors",
    "golden.npz",
    "card.md",
    "dataset.json",
    "dataset_card.md",
)
FILES = (STEP, ROLLOUT, WEIGHTS, GOLDEN, CARD)
FURTHER = (FULL, GRADIENT, JACOBIAN)
"""Only an extended bundle has them, and then all."""
DATASET_FILES = (DATASET, DATASET_CARD)
"""What was learned from, for programs and for people: of bundles that were retrained from logs."""
_LARGEST = {MANIFEST: 1 << 20, CARD: 1 << 20, SIGNATURE: 4096, DATASET: 16 << 20, DATASET_CARD: 1 << 20}
_LARGEST_BINARY = 64 << 20
LONGEST_DELAY_STEPS = 5
"""Beyond half of what the planner rolls forward at most, no belief would be fresh enough to plan from."""


@dataclass(frozen=True, slots=True)
class CheckedBundle:
    """The bytes that were hashed: users load these, never the path again."""

    path: Path
    manifest: Manifest
    manifest_sha256: str
    content: dict[str, bytes]
    """Of every file by its name, manifest and signature included."""
    signer: str
    """Id of the key that vouches for it; `PINNED` for a shipped bundle, empty where no signature was asked for."""


def golden_prefix(file: str) -> str:
    """Of the arrays of a graph in `GOLDEN`."""
    return "step" if file == STEP else file.removesuffix(".onnx")


def verify_bundle(path: Path, arm: Arm, keys: Keys | None = None) -> Manifest:
    """Check the bundle in folder ``path`` for this arm; BundleError names file, field and remedy.

    ``keys``: who is trusted; None: whom the user of this process trusts.
    """
    return read_bundle(path, arm, keys).manifest


def read_bundle(path: Path, arm: Arm, keys: Keys | None = None) -> CheckedBundle:
    """As `verify_bundle`, and hand over the checked bytes. Nothing is parsed before its signature holds."""
    raw = _manifest_bytes(path)
    if os.path.lexists(path / SIGNATURE):
        signature = _read(path, SIGNATURE)
        signer = require_signed(path / SIGNATURE, raw, signature, keys or Keys())
        return _checked(path, raw, arm, {SIGNATURE: signature}, signer)
    if is_pinned(raw):
        return _checked(path, raw, arm, {}, PINNED)
    raise KeysError(
        f"{path / SIGNATURE}: missing: nobody vouches for this bundle; if you know where it comes from, sign it: "
        f"mbrl-control models sign {path.name} --robot {arm.name} --command {arm.interface} "
        f"--registry {path.parent.parent}"
    )


def read_unsigned(path: Path, arm: Arm) -> CheckedBundle:
    """As `read_bundle`, without asking who vouches for it: only for whoever is about to sign it."""
    return _checked(path, _manifest_bytes(path), arm, {}, "")


def _checked(path: Path, raw: bytes, arm: Arm, signature: dict[str, bytes], signer: str) -> CheckedBundle:
    manifest = _parse(path, raw)
    if path.name != str(manifest.version):
        raise BundleError(f"{path / MANIFEST}: version: says {manifest.version}, lies in {path.name}; move it back")
    _check_arm(path, manifest, arm)
    _check_meaning(path, manifest, arm)
    files = (*FILES, *(FURTHER if manifest.extended else ()), *(DATASET_FILES if manifest.dataset else ()))
    extra = {entry.name for entry in path.iterdir()} - {MANIFEST, SIGNATURE, *files}
    if extra:
        raise BundleError(f"{path / min(extra)}: does not belong to a bundle (external data is refused); remove it")
    if set(manifest.files) != set(files):
        raise BundleError(
            f"{path / MANIFEST}: files: names {sorted(manifest.files)}, expected {sorted(files)}; export again"
        )
    content = {name: _read(path, name) for name in files}
    for name, data in content.items():
        if hashlib.sha256(data).hexdigest() != manifest.files[name]:
            raise BundleError(f"{path / name}: sha256 differs from files[{name}] of the manifest; export or copy again")
    sha256 = hashlib.sha256(raw).hexdigest()
    return CheckedBundle(path, manifest, sha256, {MANIFEST: raw, **signature, **content}, signer)


def _manifest_bytes(path: Path) -> bytes:
    if path.is_symlink() or not path.is_dir():
        raise BundleError(f"{path}: is not a folder; give models/<robot>/<version>")
    return _read(path, MANIFEST)


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        return read_plain(path, _LARGEST.get(name, _LARGEST_BINARY))[0]
    except NotPlain as error:
        raise BundleError(f"{path}: {error}; copy the file itself into the bundle, or export again") from error
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); export or copy the bundle again") from error


def _parse(folder: Path, raw: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "json"
        raise BundleError(f"{folder / MANIFEST}: {field}: {first['msg']}; export the bundle again") from error


def _check_meaning(folder: Path, manifest: Manifest, arm: Arm) -> None:
    """What the planner takes for granted of every bundle."""
    place = folder / MANIFEST
    known = term_names(arm)
    if manifest.term_names != known:
        raise BundleError(f"{place}: term_names: {list(manifest.term_names)}, this version has {list(known)}")
    if manifest.delay_s > LONGEST_DELAY_STEPS * manifest.dt_s:
        raise BundleError(
            f"{place}: delay_s: {manifest.delay_s} s is more than {LONGEST_DELAY_STEPS} steps of {manifest.dt_s} s; "
            "estimate it anew: retrain"
        )


def _check_arm(folder: Path, manifest: Manifest, arm: Arm) -> None:
    place, joint_names = folder / MANIFEST, arm.joint_names
    if manifest.joint_names != joint_names:
        raise BundleError(
            f"{place}: joint_names: {list(manifest.joint_names)} is not this arm {list(joint_names)}; "
            "choose a bundle of this robot"
        )
    if manifest.robot != arm.name:
        raise BundleError(f"{place}: robot: {manifest.robot!r} is not {arm.name!r}; choose a bundle of this robot")
    if manifest.command_interface is not arm.interface:
        raise BundleError(
            f"{place}: command_interface: {manifest.command_interface}, the arm takes {arm.interface} commands here; "
            "choose a bundle of this interface"
        )
    if manifest.geometry_sha256 != geometry_sha256(arm):
        raise BundleError(
            f"{place}: geometry_sha256: kinematics, tool frame, position limits or, for torques, inertias of "
            f"{arm.name} have changed since; export or retrain with the present description"
        )
    joints = len(joint_names)
    scaling = manifest.scaling
    # A network is told the commands (action and history) where they are velocities, see `dynamics.normalizer`.
    features = joints * (4 + manifest.history if arm.interface is CommandInterface.VELOCITY else 3)
    sizes = {
        "lag_s": (manifest.lag_s, joints if arm.interface is CommandInterface.VELOCITY else 0),
        "scaling.feature_mean": (scaling.feature_mean, features),
        "scaling.feature_std": (scaling.feature_std, features),
        "scaling.target_mean": (scaling.target_mean, 3 * joints),
        "scaling.target_std": (scaling.target_std, 3 * joints),
        "scaling.min_log_variance": (scaling.min_log_variance, 3 * joints),
        "scaling.max_log_variance": (scaling.max_log_variance, 3 * joints),
    }
    if arm.interface is CommandInterface.EFFORT and len(scaling.feature_mean) == (4 + manifest.history) * joints:
        raise BundleError(
            f"{place}: scaling.feature_mean: of a network that is told the torque, made by an older version; "
            f"begin another registry: mbrl-control models prior --robot {arm.name} --command effort --registry NEW"
        )
    for field, (values, length) in sizes.items():
        if len(values) != length:
            raise BundleError(f"{place}: {field}: {len(values)} numbers, expected {length}; export the bundle again")
