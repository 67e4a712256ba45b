"""Checks a bundle before anything of it runs: names, sizes, hashes, the right arm. NumPy-free and torch-free."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.manifest import Manifest

MANIFEST, STEP, ROLLOUT, WEIGHTS, GOLDEN, CARD = (
    "manifest.json",
    "model.onnx",
    "rollout.onnx",
    "weights.safetensors",
    "golden.npz",
    "card.md",
)
FILES = (STEP, ROLLOUT, WEIGHTS, GOLDEN, CARD)
_LARGEST = {MANIFEST: 1 << 20, CARD: 1 << 20}
_LARGEST_BINARY = 64 << 20


@dataclass(frozen=True, slots=True)
class CheckedBundle:
    """The bytes that were hashed: users load these, never the path again."""

    path: Path
    manifest: Manifest
    manifest_sha256: str
    content: dict[str, bytes]


def verify_bundle(path: Path, joint_names: tuple[str, ...]) -> Manifest:
    """Check the bundle in folder ``path`` for the arm with these joints; BundleError names file, field and remedy."""
    return read_bundle(path, joint_names).manifest


def read_bundle(path: Path, joint_names: tuple[str, ...]) -> CheckedBundle:
    """As `verify_bundle`, and hand over the checked bytes."""
    if path.is_symlink() or not path.is_dir():
        raise BundleError(f"{path}: is not a folder; give models/<robot>/<version>")
    raw = _read(path, MANIFEST)
    manifest = _parse(path, raw)
    _check_arm(path, manifest, joint_names)
    extra = {entry.name for entry in path.iterdir()} - {MANIFEST, *FILES}
    if extra:
        raise BundleError(f"{path / min(extra)}: does not belong to a bundle (external data is refused); remove it")
    if set(manifest.files) != set(FILES):
        raise BundleError(
            f"{path / MANIFEST}: files: names {sorted(manifest.files)}, expected {sorted(FILES)}; export again"
        )
    content = {name: _read(path, name) for name in FILES}
    for name, data in content.items():
        if hashlib.sha256(data).hexdigest() != manifest.files[name]:
            raise BundleError(f"{path / name}: sha256 differs from files[{name}] of the manifest; export or copy again")
    return CheckedBundle(path, manifest, hashlib.sha256(raw).hexdigest(), content)


def _read(folder: Path, name: str) -> bytes:
    """Bytes of a plain file of bounded size; a link could be swapped after the check."""
    path = folder / name
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path}: is a link or no plain file; copy the file itself into the bundle")
        limit = _LARGEST.get(name, _LARGEST_BINARY)
        if status.st_size > limit:
            raise BundleError(f"{path}: {status.st_size} bytes, more than the {limit} allowed; export again")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); export or copy the bundle again") from error


def _parse(folder: Path, raw: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "json"
        raise BundleError(f"{folder / MANIFEST}: {field}: {first['msg']}; export the bundle again") from error


def _check_arm(folder: Path, manifest: Manifest, joint_names: tuple[str, ...]) -> None:
    place = folder / MANIFEST
    if manifest.joint_names != joint_names:
        raise BundleError(
            f"{place}: joint_names: {list(manifest.joint_names)} is not this arm {list(joint_names)}; "
            "choose a bundle of this robot"
        )
    joints = len(joint_names)
    scaling = manifest.scaling
    sizes = {
        "lag_s": (manifest.lag_s, joints),
        "scaling.feature_mean": (scaling.feature_mean, (4 + manifest.history) * joints),
        "scaling.feature_std": (scaling.feature_std, (4 + manifest.history) * joints),
        "scaling.target_mean": (scaling.target_mean, 3 * joints),
        "scaling.target_std": (scaling.target_std, 3 * joints),
        "scaling.min_log_variance": (scaling.min_log_variance, 3 * joints),
        "scaling.max_log_variance": (scaling.max_log_variance, 3 * joints),
    }
    for field, (values, length) in sizes.items():
        if len(values) != length:
            raise BundleError(f"{place}: {field}: {len(values)} numbers, expected {length}; export the bundle again")
