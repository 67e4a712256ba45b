"""ONNX Runtime without its telemetry.

Its wheels since 1.29 start threads in every process that upload usage events unless this variable is set before the
import (Privacy.md in the package). A process that moves an arm neither calls outside nor runs threads it does not know.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort  # the variable has to stand before this

__all__ = ["ort"]
