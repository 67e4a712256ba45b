"""SHA-256 of a file, or of the part of it that was read."""

from __future__ import annotations

import hashlib
from pathlib import Path

_AT_ONCE = 1 << 20


def first_sha256(path: Path, size: int) -> str:
    """Of the first ``size`` bytes, which a log that is still being written does not change any more."""
    digest, left = hashlib.sha256(), size
    with path.open("rb") as stream:
        while left > 0 and (part := stream.read(min(left, _AT_ONCE))):
            digest.update(part)
            left -= len(part)
    return digest.hexdigest()
