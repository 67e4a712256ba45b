"""SHA-256 of a file, or of the part of it that was read."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mbrl_control.episode_log.errors import LogError

_AT_ONCE = 1 << 20


def first_sha256(path: Path, size: int) -> str:
    """Of the first ``size`` bytes, which a log that is still being written does not change any more.

    LogError where they cannot be read, or are not there any more.
    """
    digest, left = hashlib.sha256(), size
    try:
        with path.open("rb") as stream:
            while left > 0 and (part := stream.read(min(left, _AT_ONCE))):
                digest.update(part)
                left -= len(part)
    except OSError as error:
        raise LogError(path, "file", f"cannot be read ({error.strerror})", "check the path") from error
    if left:
        raise LogError(path, "file", f"is {left} bytes shorter than before", "see who changes logs; try again")
    return digest.hexdigest()
