"""The only import of PyBullet: it prints its build date to standard error, where an error of ours is a single line."""

from __future__ import annotations

import os

_STDERR = 2
_kept, _nowhere = os.dup(_STDERR), os.open(os.devnull, os.O_WRONLY)
try:
    os.dup2(_nowhere, _STDERR)
    import pybullet
finally:
    os.dup2(_kept, _STDERR)
    os.close(_kept)
    os.close(_nowhere)

__all__ = ["pybullet"]
