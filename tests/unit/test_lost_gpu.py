"""A GPU that cannot be used for the next model, or fails while it plans: the processor takes over and says so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mbrl_control.deployment import opener as module
from mbrl_control.deployment.bundle import prior_bundle
from mbrl_control.deployment.cuda import cuda_listed
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.evaluator import Opening, load_model
from mbrl_control.deployment.lanes import Layout
from mbrl_control.deployment.layout_choice import LayoutChoice, Timing
from mbrl_control.deployment.opener import LOST_AFTER, Opener
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.deployment.slot import ModelSlot
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import PlanningModel
from mbrl_control.planning.protocol import ModelFailed
from mbrl_control.planning.watch import CycleWatch
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import PlanOutcome
from tests.contract.planner_bench import ROBOTS, Bench, pose

ARM = load_arm(ROBOTS / "planar.yaml")
GPU, TWO = Layout(cuda=True), Layout(2)
PLACE, HASH = Path("models/planar/3"), "0f"


class Loading:
    """In place of `load_model`: a model is its layout; ``fault`` is what a layout's session raises."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Layout], str] = lambda _: "") -> None:
        self.fault, self.asked = fault, []
        monkeypatch.setattr(module, "load_model", self)

    def __call__(self, path: Path, arm: Arm, manifest_sha256: str | None, opening: Opening) -> Any:
        self.asked.append((path, manifest_sha256, opening.layout))
        if fault := self.fault(opening.layout):
            raise BundleError(fault)
        return loaded(opening.layout)


def loaded(layout: Layout, planning: PlanningModel | None = None) -> Any:
    return SimpleNamespace(
        model_id="planar/3",
        path=PLACE,
        manifest_sha256=HASH,
        rollout=SimpleNamespace(layout=layout),
        rollouts=str(layout),
        without_cuda="",
        planning=planning,
    )


def full(layout: Layout) -> str:
    return "CUDA failure 2: out of memory" if layout.cuda else ""


def test_a_model_that_finds_no_room_on_the_gpu_takes_the_processor_and_the_next_tries_again(monkeypatch) -> None:
    loading = Loading(monkeypatch, full)
    opener = Opener(Opening(layout=GPU), TWO)
    model = opener(PLACE, ARM, HASH)
    assert (model.rollout.layout, model.without_cuda) == (TWO, "CUDA failure 2: out of memory")
    loading.fault = lambda _: ""
    model = opener(PLACE, ARM, HASH)
    assert (model.rollout.layout, model.without_cuda) == (GPU, "")
    assert {each[:2] for each in loading.asked} == {(PLACE, HASH)}


def test_a_bundle_that_the_processor_refuses_too_is_refused_for_what_that_says(monkeypatch) -> None:
    Loading(monkeypatch, lambda layout: "no CUDA" if layout.cuda else "golden.npz: cost: differs")
    with pytest.raises(BundleError, match=r"golden\.npz"):
        Opener(Opening(layout=GPU), TWO)(PLACE, ARM, HASH)


def test_after_some_cycles_in_a_row_the_gpu_is_left_once_and_for_good(monkeypatch) -> None:
    loading = Loading(monkeypatch)
    opener = Opener(Opening(layout=GPU), TWO)
    said = [opener.gives_up(count, "device lost") for count in range(LOST_AFTER + 2)]
    assert said == [False] * LOST_AFTER + [True, False]
    model = opener(PLACE, ARM, HASH)
    assert model.rollout.layout == TWO
    assert model.without_cuda == f"{LOST_AFTER} cycles in a row failed, the last: device lost"
    assert [each[2] for each in loading.asked] == [TWO]


def test_where_the_processor_was_chosen_nothing_is_given_up(monkeypatch) -> None:
    Loading(monkeypatch)
    opener = Opener(Opening(layout=TWO), TWO)
    assert not opener.gives_up(10 * LOST_AFTER, "device lost")
    assert opener(PLACE, ARM, HASH).without_cuda == ""


def test_the_processors_layout_is_the_one_that_was_fastest_beside_the_gpu() -> None:
    timings = (Timing(Layout(), 0.004, 0.005), Timing(TWO, 0.002, 0.003), Timing(GPU, 0.0004, 0.0005))
    assert LayoutChoice(GPU, timings).on_processor == TWO
    assert LayoutChoice(GPU, timings[::2]).on_processor == Layout()


class Held:
    """Loads that end when they are let."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, path: Path, arm: Arm, manifest_sha256: str | None) -> Any:
        self.asked.append((path.name, manifest_sha256))
        self.go.wait()
        return SimpleNamespace(model_id=path.name, path=path, manifest_sha256=manifest_sha256)


def test_what_is_loaded_again_is_what_would_serve_next() -> None:
    """Else a newer model that is on its way would be displaced by the one before it."""
    held = Held()
    first: Any = SimpleNamespace(model_id="1", path=Path("1"), manifest_sha256="a")
    slot = ModelSlot(first, ARM, held)
    slot.again().join()
    assert slot.swap().model_id == "1"
    held.go.clear()
    threads = [slot.request(Path("2"), "b"), slot.again()]
    held.go.set()
    for thread in threads:
        thread.join()
    slot.again().join()  # it has loaded, and does not serve yet
    assert slot.swap().model_id == "2"
    slot.again().join()
    assert held.asked == [("1", "a"), *[("2", "b")] * 4]


def test_cycles_that_a_lost_gpu_fails_end_when_the_processor_has_the_same_model(monkeypatch) -> None:
    pytest.importorskip("rclpy")
    from mbrl_msgs.msg import ModelStatus

    from mbrl_nodes import model_input

    bench, watch, said, receivers = Bench(ARM), CycleWatch(), [], []
    healthy = bench.planner._model
    assert healthy is not None
    loading = Loading(monkeypatch)
    monkeypatch.setattr(module, "load_model", lambda *given: loaded(loading(*given).rollout.layout, healthy))
    first = loaded(GPU, PlanningModel(Lost(bench), bench.evaluator.inner, "planar/3", 0.02, 0.008, healthy.past))
    measured = (first, Opener(Opening(layout=GPU), TWO), LayoutChoice(GPU, (Timing(GPU, 0.001, 0.001),)))
    monkeypatch.setattr(model_input, "load_measured", lambda *_: measured)
    monkeypatch.setattr(model_input, "keep_garbage_short", lambda: None)
    monkeypatch.setattr(model_input, "planning_model", lambda model, _: model.planning)
    node: Any = SimpleNamespace(
        create_subscription=lambda *given: receivers.append(given[2]),
        get_logger=lambda: SimpleNamespace(warning=said.append, error=said.append),
        graph_clock=bench.clock,
    )
    models = model_input.ModelInput(node, ARM, PlannerConfig(), Opening(), bench.planner, watch)
    receivers[0](ModelStatus(status=ModelStatus.ACTIVE, path=str(PLACE), manifest_sha256=HASH))
    outcomes = []
    for number in range(LOST_AFTER + 2):
        cycle = bench.cycle(pose(ARM), 20 * number)
        outcomes.append(cycle.report.outcome)
        watch.take(cycle, bench.clock.now_ns(), 0)
        models.exchange()
        for thread in threading.enumerate():
            if thread.name == "model-load":
                thread.join()
    # The one in between: whether the processor's was loaded before or after that exchange.
    assert outcomes[:LOST_AFTER] == [PlanOutcome.FAILED] * LOST_AFTER
    assert outcomes[-1] is PlanOutcome.OPTIMIZED
    assert loading.asked == [(PLACE, HASH, TWO)]
    assert models.facts()["rollouts"] == str(TWO)
    assert "device lost" in models.facts()["without_cuda"]
    assert "the GPU is lost" in said[0]
    assert said[1].startswith(f"planar/3: rollouts run on the processor: {LOST_AFTER} cycles in a row failed")


class Lost:
    """An evaluator whose device is lost."""

    def __init__(self, bench: Bench) -> None:
        inner = bench.evaluator
        self.batch_size, self.horizon, self.term_names = inner.batch_size, inner.horizon, inner.term_names

    def evaluate(self, *_: object) -> Any:
        raise ModelFailed("onnxruntime: RuntimeError: device lost")


@pytest.mark.skipif(cuda_listed(), reason="this ONNX Runtime is built for CUDA")
def test_a_real_bundle_that_is_to_run_on_a_gpu_that_is_not_there_runs_on_the_processor(tmp_path: Path) -> None:
    registry = Registry(tmp_path, ARM.model_name)
    path = prior_bundle(ARM, registry, 0.02, 0.01, 3, 0, GraphShape(horizon=5))
    slot = ModelSlot(load_model(path, ARM), ARM, Opener(Opening(4, layout=GPU), Layout()))
    slot.request(path).join()
    result = slot.swap()
    assert result is not None
    assert result.refused == ""
    assert "make setup GPU=1" in slot.current.without_cuda
    assert slot.current.rollouts == "cpu, 1 lane of 1 thread, as CUDA failed"
