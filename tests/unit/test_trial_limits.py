"""What the process of a trial may not do, tried out in one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENTERED = "from mbrl_control.deployment.trial_child import limit, stand_behind; stand_behind(); limit(64, {})\n"
TRIED = """
import json, os, resource, sys

def outcome(attempt):
    try:
        attempt()
    except (OSError, MemoryError) as error:
        return type(error).__name__ + ": " + str(error)
    return "done"

print(json.dumps({
    "write": outcome(lambda: os.write(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), b"x")),
    "memory": outcome(lambda: bytearray(128 << 20)),
    "less memory": outcome(lambda: bytearray(16 << 20)),
    "nice": os.getpriority(os.PRIO_PROCESS, 0),
    "policy": os.sched_getscheduler(0),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
}))
"""


def child(code: str, cpu_s: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", ENTERED.format(cpu_s) + code, *arguments]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)


def test_it_writes_nothing_takes_little_and_stands_behind(tmp_path: Path) -> None:
    done = child(TRIED, 60, str(tmp_path / "written"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "File too large" in found["write"]
    assert (tmp_path / "written").read_bytes() == b""
    assert found["memory"].startswith("MemoryError")
    assert found["less memory"] == "done"
    assert (found["nice"], found["policy"], found["core"]) == (19, os.SCHED_OTHER, [0, 0])


def test_it_is_ended_by_the_processor_time_it_takes() -> None:
    assert child("while True: pass", 1).returncode == -signal.SIGXCPU


def test_it_stands_behind_before_it_imports_what_takes_long() -> None:
    code = (
        "import json, sys; print(json.dumps([name for name in ('numpy', 'onnx', 'pydantic') if name in sys.modules]))"
    )
    assert json.loads(child(code, 60).stdout) == []
