"""`mbrl-control retrain --checkpoints --tensorboard` as a process that is killed and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mbrl_control.learning.checkpoint import FILE
from tests.patience import HUNG_S, SLOW_S, UNCUT_S
from tests.unit.synthetic_log import Arm, arm_streams, write_streams

ROOT = Path(__file__).parents[2]
CODE = f"""
import sys
from dataclasses import replace
from mbrl_control.cli.main import main
from mbrl_control.learning.fit_settings import FitSettings
deployed = FitSettings.deployed
FitSettings.deployed = lambda command: replace(deployed(command), max_seconds={UNCUT_S})
main(sys.argv[1:])
"""
"""As the command, but a busy machine cuts no fit short."""


def started(folder: Path, registry: str, *options: str) -> subprocess.Popen[str]:
    arguments = ["retrain", "--log", str(folder / "log.mcap"), "--registry", str(folder / registry)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *arguments, "--robot", "planar", "--seed", "3", *options],
        env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(child: subprocess.Popen[str], status: int = 0) -> tuple[str, str]:
    said, errors = child.communicate(timeout=HUNG_S)
    assert child.returncode == status, errors
    return said, errors


def result_of(child: subprocess.Popen[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ended(child)[0].splitlines()[-1])
    return found


@pytest.mark.timeout(SLOW_S)
def test_killed_in_the_fit_the_same_command_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    write_streams(tmp_path / "log.mcap", arm_streams(Arm(lag_ms=(70.0, 90.0)), 80.0, np.random.default_rng(2)))
    kept = ("--checkpoints", str(tmp_path / "state"), "--tensorboard", str(tmp_path / "curves"))
    first, waited_until = started(tmp_path, "models", *kept), time.monotonic() + HUNG_S
    while not (tmp_path / "state" / FILE).exists():
        assert first.poll() is None, first.communicate()[1]
        assert time.monotonic() < waited_until
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    ended(first, -signal.SIGKILL)
    assert not list((tmp_path / "models").rglob("manifest.json"))

    other = started(tmp_path, "models", *kept, "--seed", "4")  # the later of two counts
    assert "of another fit" in ended(other, 2)[1]

    resumed, whole = result_of(started(tmp_path, "models", *kept)), result_of(started(tmp_path, "others"))
    assert (resumed["epochs"], resumed["holdout_nll"]) == (whole["epochs"], whole["holdout_nll"])
    ours, theirs = (tmp_path / name / "planar" / "1" / "weights.safetensors" for name in ("models", "others"))
    assert ours.read_bytes() == theirs.read_bytes()
    assert not (tmp_path / "state" / FILE).exists(), "a fit that was used is no start of the next one"

    steps = []
    for path in (tmp_path / "curves").iterdir():
        events = EventAccumulator(str(path))
        events.Reload()
        if "held_out/mean" in events.Tags()["scalars"]:
            steps.append([event.step for event in events.Scalars("held_out/mean")])
    before, after = sorted(steps)
    assert before[0] == 1
    assert 1 < after[0] <= before[-1] + 1, "resumed at the last checkpoint"
    assert after == list(range(after[0], resumed["epochs"] + 1))
