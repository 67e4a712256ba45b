"""ONNX Runtime without its telemetry, and with one error for all that its calls raise.

Its wheels since 1.29 start threads in every process that upload usage events unless this variable is set before the
import (Privacy.md in the package). A process that moves an arm neither calls outside nor runs threads it does not know.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mbrl_control.planning.protocol import ModelFailed

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort  # the variable has to stand before this

__all__ = ["failure_named", "ort"]


@contextmanager
def failure_named(what: str = "onnxruntime") -> Iterator[None]:
    """Raises ModelFailed for whatever a call to ``what`` raises: the runtime's own classes have no common base."""
    try:
        yield
    except ModelFailed:
        raise
    except Exception as error:
        raise ModelFailed(f"{what}: {type(error).__name__}: {error}") from error
