"""No thread of ONNX Runtime's telemetry in a process that uses a model."""

from __future__ import annotations

import os
import subprocess
import sys

COUNT = "import os; {line}; print(len(os.listdir('/proc/self/task')), os.environ.get('ORT_DISABLE_TELEMETRY'))"


def threads(line: str, **environment: str) -> tuple[int, str]:
    env = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"} | environment
    code = COUNT.format(line=line)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    number, value = done.stdout.split()
    return int(number), value


def test_the_runtime_starts_no_thread_of_its_own() -> None:
    _, value = threads("import mbrl_control.deployment.evaluator")
    assert value == "1"
    quiet, _ = threads("import onnxruntime", ORT_DISABLE_TELEMETRY="1")
    ours, _ = threads("from mbrl_control.deployment.quiet_runtime import ort")
    assert ours == quiet


def test_who_wants_it_can_have_it() -> None:
    assert threads("import mbrl_control.deployment.evaluator", ORT_DISABLE_TELEMETRY="0")[1] == "0"
