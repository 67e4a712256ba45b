"""Bundles that tests have changed, signed as their maker would, or by somebody else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from mbrl_control.deployment.keys import Keys
from mbrl_control.deployment.signing import SIGNATURE, sign


def sign_anew(folder: Path, keys: Keys | None = None) -> None:
    """The manifest as it lies there, by the run's own key or that of ``keys``."""
    raw = (folder / "manifest.json").read_bytes()
    (folder / SIGNATURE).write_bytes(sign(raw, keys or Keys(), folder.parent))


def rehash(folder: Path, name: str) -> None:
    """The manifest agrees with the changed file; the signature does not agree with the manifest."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    path.write_text(json.dumps(manifest))
