"""Lanes score what one session scores, in arrays that stay; the layout is chosen by what was measured."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.cadence import SteadyClock
from mbrl_control.deployment import cuda
from mbrl_control.deployment import lanes as module
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.export import export_rollout
from mbrl_control.deployment.graph_names import BATCH
from mbrl_control.deployment.lanes import Lanes, Layout
from mbrl_control.deployment.layout_choice import LayoutChoice, Timing, candidates, choose, choose_layout
from mbrl_control.deployment.rollout_graph import GraphShape, RolloutGraph
from mbrl_control.deployment.session import Session, Threads
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.planning.protocol import ModelFailed
from mbrl_control.robot import load_arm
from mbrl_control.scheduling import kept_on, lane_processors

ARM = Path(__file__).parents[2] / "sim/robots/planar.yaml"
SEQUENCES = 12


@pytest.fixture(scope="module")
def graph() -> bytes:
    arm = load_arm(ARM)
    ensemble = ProbabilisticEnsemble(
        EnsembleShape(3, arm.joints, 2, 16), prior_of(arm, 0.02), torch.Generator().manual_seed(0)
    )
    return export_rollout(RolloutGraph(ensemble, arm, GraphShape(horizon=5)).eval())


@pytest.fixture
def one_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many lanes as a test wants, wherever it runs."""
    processor = min(os.sched_getaffinity(0))
    monkeypatch.setattr(module, "lane_processors", lambda lanes: (processor,) * lanes)


def values_for(lanes: Lanes, seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=shape) for name, shape in lanes.inputs.items()}


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.usefixtures("one_processor")
def test_lanes_score_every_sequence_as_one_session_does(graph: bytes, count: int) -> None:
    one, several = (Lanes(graph, "g", {BATCH: SEQUENCES}, Layout(lanes)) for lanes in (1, count))
    for seed in range(3):
        values = values_for(one, seed)
        expected = {name: value.copy() for name, value in one.run(values).items()}
        for name, value in several.run(values).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.usefixtures("one_processor")
def test_a_lane_is_as_urgent_as_the_process_whoever_scores_first(graph: bytes) -> None:
    """A model that is loaded aside scores first in a thread that stands back."""
    lanes, asked = Lanes(graph, "g", {BATCH: SEQUENCES}, Layout(2)), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_setscheduler", lambda *call: asked.append(call))
        thread = threading.Thread(target=lambda: lanes.run(values_for(lanes, 0)))
        thread.start()
        thread.join()
    assert asked == [(0, os.sched_getscheduler(os.getpid()), os.sched_getparam(os.getpid()))]


@pytest.mark.usefixtures("one_processor")
def test_results_stay_where_they_are_and_hold_the_last_call(graph: bytes) -> None:
    lanes = Lanes(graph, "g", {BATCH: SEQUENCES}, Layout(2))
    first = lanes.run(values_for(lanes, 0))
    kept = first["cost"].copy()
    second = lanes.run(values_for(lanes, 1))
    assert all(second[name] is first[name] for name in first)
    assert not np.array_equal(second["cost"], kept)
    np.testing.assert_array_equal(lanes.run(values_for(lanes, 0))["cost"], kept)


def test_sequences_that_do_not_divide_are_refused(graph: bytes) -> None:
    with pytest.raises(ValueError, match="12 sequences do not divide into 5 lanes"):
        Lanes(graph, "g", {BATCH: SEQUENCES}, Layout(5))


def test_another_number_of_sequences_is_refused(graph: bytes) -> None:
    lanes = Lanes(graph, "g", {BATCH: SEQUENCES}, Layout())
    values = values_for(lanes, 0)
    values["actions"] = values["actions"][1:]
    with pytest.raises(ValueError, match="actions: shape"):
        lanes.run(values)


def test_a_lane_has_a_processor_of_its_own_and_gives_it_back() -> None:
    allowed = os.sched_getaffinity(0)
    assert set(lane_processors(len(allowed))) == allowed
    with pytest.raises(ValueError, match="need as many processors"):
        lane_processors(len(allowed) + 1)
    with kept_on(frozenset({min(allowed)})):
        assert os.sched_getaffinity(0) == {min(allowed)}
    assert os.sched_getaffinity(0) == allowed


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.usefixtures("one_processor")
def test_a_processor_that_is_taken_from_the_process_fails_the_model_by_name(
    graph: bytes, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's cpuset was narrowed: the kernel then refuses to keep a lane on a processor outside it."""
    lanes = Lanes(graph, "g", {BATCH: SEQUENCES}, Layout(count))
    values, taken = values_for(lanes, 0), min(os.sched_getaffinity(0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_setaffinity", refused)
        if count == 1:
            lanes.run(values)
            return
        with pytest.raises(ModelFailed, match=rf"processor {taken} of lane 0 .*start it again.*OSError: .*Invalid"):
            lanes.run(values)
    lanes.run(values)


def refused(*_: object) -> None:
    raise OSError(22, "Invalid argument")


def test_the_choice_is_measured_and_says_why(graph: bytes) -> None:
    choice = choose_layout(graph, "g", {BATCH: SEQUENCES}, SteadyClock())
    allowed = len(os.sched_getaffinity(0))
    assert tuple(timing.layout for timing in choice.timings) == candidates(SEQUENCES, allowed)
    assert choice.layout == choose(choice.timings)
    assert all(0.0 < timing.median <= timing.p90 for timing in choice.timings)
    assert str(choice).startswith(str(choice.layout))


def test_a_gpu_that_cannot_be_used_is_said_aloud_and_the_processor_goes_on(graph: bytes, monkeypatch) -> None:
    """ONNX Runtime lists CUDA where it was built for it, driver or not; here it is only told so."""
    monkeypatch.setattr(cuda.ort, "get_available_providers", lambda: [cuda.PROVIDER, "CPUExecutionProvider"])
    choice = choose_layout(graph, "g", {BATCH: SEQUENCES}, SteadyClock())
    assert not choice.layout.cuda
    assert choice.without_cuda
    assert f"; CUDA could not be used: {choice.without_cuda})" in str(choice)


def test_without_cuda_in_the_runtime_nothing_is_tried_and_asking_for_it_names_the_remedy(graph: bytes) -> None:
    if cuda.cuda_listed():
        pytest.skip("this ONNX Runtime is built for CUDA")
    assert choose_layout(graph, "g", {BATCH: SEQUENCES}, SteadyClock()).without_cuda == ""
    with pytest.raises(BundleError, match="make setup GPU=1"):
        Lanes(graph, "g", {BATCH: SEQUENCES}, Layout(cuda=True))


@pytest.mark.skipif(not cuda.cuda_listed(), reason="this ONNX Runtime is built without CUDA")
def test_a_gpu_answers_as_the_processor_does(graph: bytes) -> None:
    here, there = (Lanes(graph, "g", {BATCH: SEQUENCES}, layout) for layout in (Layout(), Layout(cuda=True)))
    for seed in range(3):  # the first call records, the others replay
        values = values_for(here, seed)
        expected, found = here.run(values), there.run(values)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-4 * max(1.0, float(np.abs(value).max())))


def test_whoever_calls_one_thread_records_and_replays(graph: bytes, monkeypatch) -> None:
    """The arrays that stay, their copies and the thread, on the processor in place of a GPU."""
    monkeypatch.setattr(cuda, "PROVIDER", "CPUExecutionProvider")
    monkeypatch.setattr(cuda, "_DEVICE", "cpu")
    session = Watched(Session(graph, "g", {BATCH: SEQUENCES})._session)
    lanes = Lanes(graph, "g", {BATCH: SEQUENCES}, Layout())
    inputs = {name: np.zeros(shape, np.float32) for name, shape in lanes.inputs.items()}
    outputs = {node.name: np.zeros(node.shape, np.float32) for node in session.get_outputs()}
    bound = cuda.CudaBound(session, inputs, outputs)
    for seed in range(3):
        values = values_for(lanes, seed)
        for name, array in inputs.items():
            np.copyto(array, values[name], casting="same_kind")
        with ThreadPoolExecutor(1, f"caller-{seed}") as caller:
            caller.submit(bound.run).result()
        for name, value in lanes.run(values).items():
            np.testing.assert_allclose(outputs[name], value, rtol=1e-5, atol=1e-6)
    bound.compute()
    assert len(session.ran_in) == 4
    assert {name.rpartition("_")[0] for name in session.ran_in} == {"rollout-cuda"}
    assert len({*session.ran_in}) == 1


class Watched:
    """A session that notes which thread runs it."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.ran_in: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_with_iobinding(self, binding: Any) -> None:
        self.ran_in.append(threading.current_thread().name)
        self._session.run_with_iobinding(binding)


def test_whatever_the_runtime_raises_has_one_name(graph: bytes) -> None:
    lanes = Lanes(graph, "g", {BATCH: SEQUENCES}, Layout())
    bound: Any = lanes._lanes[0][0]
    bound._session = Failing()
    with pytest.raises(ModelFailed, match="onnxruntime: MemoryError: device lost"):
        lanes.run(values_for(lanes, 0))


class Failing:
    """A session whose device is lost."""

    def run_with_iobinding(self, _: Any) -> None:
        raise MemoryError("device lost")


def test_candidates_are_what_the_processors_and_the_sequences_allow() -> None:
    assert candidates(16, 1) == (Layout(),)
    assert [layout.lanes for layout in candidates(12, 4)] == [1, 2, 3, 4, 1, 1]
    assert [layout.lanes for layout in candidates(7, 2)] == [1, 1, 1]
    assert [layout.threads.spinning for layout in candidates(7, 2)] == [False, False, True]
    assert candidates(16, 2, urgent=True) == (Layout(), Layout(2))


@given(st.lists(st.floats(1e-3, 1e-1), min_size=4, max_size=4))
def test_what_is_less_simple_is_chosen_for_a_clear_gain_only(seconds: list[float]) -> None:
    layouts = (Layout(), Layout(2), Layout(1, Threads(2)), Layout(1, Threads(2, spinning=True)))
    timings = tuple(Timing(layout, value, value) for layout, value in zip(layouts, seconds, strict=True))
    chosen = choose(timings)
    taken = seconds[layouts.index(chosen)]
    assert taken <= seconds[0]
    if chosen != Layout():
        assert taken < 0.9 * seconds[0]
    if chosen.threads.spinning:
        assert taken < 0.7 * seconds[0]


def test_where_the_processors_were_away_the_median_chooses_and_says_so() -> None:
    """Of one thread, too, the slow calls take a hundred times as long: they have nothing to do with the layout."""
    timings = (Timing(Layout(), 0.020, 1.1), Timing(Layout(2), 0.011, 2.3), Timing(Layout(1, Threads(2)), 0.018, 0.5))
    assert choose(timings) == Layout(2)
    assert "median, for the machine took the processors away, of a population" in str(LayoutChoice(Layout(2), timings))


def test_a_tail_that_one_thread_has_not_is_the_layouts_own() -> None:
    """A pool that waits busily beside others: fast in the median, and now and then not at all."""
    pool = Layout(1, Threads(2, spinning=True))
    timings = (Timing(Layout(), 0.020, 0.025), Timing(pool, 0.010, 0.5))
    assert choose(timings) == Layout()
    assert "p90, of a population" in str(LayoutChoice(Layout(), timings))
