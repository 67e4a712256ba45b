"""`bench one_step` on the processor, small: the answers are checked in it, the figures are what they are called."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace

import numpy as np
import pytest

from benchmarks import one_step
from benchmarks.rollout_problem import problem_of
from mbrl_control.deployment.errors import BundleError
from tests.patience import HUNG_S


def test_figures_are_of_all_rows_and_of_matrix_products() -> None:
    found = one_step.measure(Namespace(rows=512, chunk=256, rounds=2, seed=0), "cpu")
    median, least, largest = found["seconds_median_min_max"]["steps"]
    assert 0.0 < least <= median <= largest
    # 21 inputs, three layers of 200 x 200 between, 14 outputs; a multiplication and an addition each, five members.
    assert one_step.FLOPS_PER_ROW == 5 * 2 * (21 * 200 + 3 * 200 * 200 + 200 * 14)
    resident = found["seconds_median_min_max"]["resident"][0]
    assert found["gflops"] == pytest.approx(512 * one_step.FLOPS_PER_ROW / resident * 1e-9, rel=0.2)
    assert found["device"] == "cpu"


def test_a_wrong_answer_gives_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_step, "reference", lambda *_: np.zeros((5, 14, 64)))
    with pytest.raises(BundleError, match="differs from float64"):
        one_step.steps(problem_of(one_step.NETWORK, 0), 64, "cpu")


def test_a_device_that_is_not_there_is_an_error_with_its_remedy() -> None:
    if one_step.cuda_listed():
        pytest.skip("this ONNX Runtime has CUDA")
    command = [sys.executable, "-m", "benchmarks.one_step", "--device", "cuda", "--rows", "64", "--chunk", "64"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=HUNG_S)
    assert ended.returncode == 2
    assert "GPU=1" in ended.stderr
    assert not any(line.startswith("{") for line in ended.stdout.splitlines()), json.dumps(ended.stdout)
