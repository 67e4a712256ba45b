"""`retrain` with seeds and a sweep, start to end: members fitted apart pass the gate and the export as others do."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.cli.locations import arm_file
from mbrl_control.deployment.bundle import prior_bundle
from mbrl_control.deployment.check import CARD, verify_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.robot import load_arm
from tests.patience import SLOW_S
from tests.unit.synthetic_log import T0_NS, arm_streams, write_streams
from tests.unit.synthetic_log import Arm as Simulated

ROOT = Path(__file__).parents[2]
SWEEP = "trained_members: 3\nelites: 2\nwidth: 24\nepochs: 20\nmax_seconds: 1e6\nlearning_rate: [2e-3, 1.0]\n"
"""Small, so that the test is quick; one of the rates throws the weights far off."""


@pytest.mark.timeout(SLOW_S)
def test_the_best_of_a_sweep_goes_through_the_gate_and_the_table_has_all(tmp_path: Path) -> None:
    log = tmp_path / "log.mcap"
    streams = arm_streams(Simulated(lag_ms=(70.0, 90.0)), 100.0, np.random.default_rng(2))
    write_streams(log, streams)
    arm = load_arm(arm_file("planar"))
    registry = Registry(tmp_path / "models", arm.name)
    registry.activate(int(prior_bundle(arm, registry, 0.02, 0.01, 3, T0_NS).name))
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    options = ["--log", str(log), "--registry", str(registry.models), "--robot", "planar", "--seeds", "2"]
    options += ["--sweep", str(tmp_path / "sweep.yaml"), "--table", str(tmp_path / "tried.csv")]
    done = subprocess.run(
        [sys.executable, "-m", "mbrl_control.cli.main", "retrain", *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert list(result["stage_seconds"]) == ["reading", "fitting", "judging", "exporting", "trying"]
    assert [(row["seed"], row["changed"]["learning_rate"]) for row in result["tried"]] == [
        (0, 2e-3), (1, 2e-3), (0, 1.0), (1, 1.0)
    ]  # fmt: skip
    (chosen,) = (row for row in result["tried"] if row["chosen"])
    assert chosen["changed"]["learning_rate"] == 2e-3
    assert chosen["validation_nll"] == min(
        row["validation_nll"] for row in result["tried"] if row["validation_nll"] is not None
    )
    with (tmp_path / "tried.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["chosen"] for row in rows] == ["True", "False", "False", "False"]
    assert registry.active() == 2
    manifest = verify_bundle(registry.path(2), arm)
    assert (manifest.members, manifest.width) == (2, 24)
    assert manifest.training is not None
    assert manifest.training.newest_ns == int(streams.belief_ns[-1])
    card = (registry.path(2) / CARD).read_text(encoding="utf-8")
    assert "--seeds 2 --sweep sweep.yaml" in card
