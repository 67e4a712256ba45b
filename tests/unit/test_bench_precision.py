"""`bench precision`: all its variants compute one and the same thing, and what is called int8 multiplies integers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from benchmarks import precision
from benchmarks.rollout_ours import AXES
from benchmarks.rollout_problem import SEQUENCES, Network, Problem, problem_of, reference
from mbrl_control.deployment.graph_names import ACTIONS, BATCH
from mbrl_control.deployment.lanes import Lanes, Layout

NETWORK = Network(24, 2)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return problem_of(NETWORK, 0)


def costs(content: bytes, problem: Problem) -> np.ndarray:
    lanes = Lanes(content, "variant", {BATCH: SEQUENCES}, Layout(), AXES)
    return lanes.run({"state": problem.state, ACTIONS: problem.actions, "goal": problem.goal})["cost"].copy()


@pytest.mark.parametrize("apart", [False, True])
def test_rows_compute_what_everybody_does(problem: Problem, apart: bool) -> None:
    content = precision.exported(precision.Rows(problem, apart))
    np.testing.assert_allclose(costs(content, problem), reference(problem), rtol=1e-4)


def test_every_product_of_an_int8_variant_is_of_integers_and_near_the_truth(problem: Problem) -> None:
    truth = reference(problem)
    for name, content in precision.variants(problem).items():
        kinds = [node.op_type for node in onnx.load_from_string(content).graph.node]
        assert ("MatMul" in kinds) == (name == "float32")
        off = np.abs(costs(content, problem) - truth).max() / truth.std()
        assert off < (1e-3 if name == "float32" else 1.0)


def test_figures_are_of_the_fastest_int8() -> None:
    found = precision.measure(NETWORK, 16, 3, 0)
    ms = found["ms"]
    fastest = min(value for name, value in ms.items() if name != "float32")
    assert found["speedup_int8"] == pytest.approx(ms["float32"] / fastest, rel=0.05)
    assert found["regret_int8"] >= 1.0
