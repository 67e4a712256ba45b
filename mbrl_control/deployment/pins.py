"""Which bundles this installation came with: SHA-256 of their manifests, beside the code and not beside the bundles.

They need no signature and so no private key that the whole project would have to guard: whoever can write the pins
can write the code that checks them. A pinned bundle stays what it is wherever it is copied to.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.files import replace_file
from mbrl_control.deployment.manifest import Sha256

PINS = Path(__file__).with_name("shipped.json")
PINNED = "shipped"
"""Stands where a signed bundle has the id of a key."""


def is_pinned(manifest: bytes) -> bool:
    """These bytes are the manifest of a shipped bundle."""
    return hashlib.sha256(manifest).hexdigest() in installed().values()


def pin(models: Path) -> dict[str, str]:
    """Pin every bundle below ``models``, and nothing else; what was written, by model id."""
    found = sorted(models.glob("*/[0-9]*/manifest.json"))
    pins = {"/".join(path.parts[-3:-1]): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
    replace_file(PINS, (json.dumps(pins, indent=1) + "\n").encode())
    installed.cache_clear()
    return pins


@cache
def installed() -> dict[str, str]:
    """SHA-256 of each shipped manifest, by model id; read once."""
    try:
        return TypeAdapter(dict[str, Sha256]).validate_json(PINS.read_bytes())
    except (OSError, ValidationError) as error:
        raise BundleError(f"{PINS}: cannot be read ({error}); install mbrl_control again") from error
