"""`bench retrain`: what it counts from a log and from what the learner says, and what becomes a miss."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import learner_child
from benchmarks.learner_child import Learned, LearnerChild, learned_of
from benchmarks.retrain import (
    Beside,
    Taken,
    by_model,
    cut_log,
    data_end_ns,
    figures,
    first_plan_ns,
    late_beside,
    missed_beside,
    phases,
)
from mbrl_control.cli.processes import GraphFailed
from mbrl_control.cli.progress import StageTimes
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.report.run_data import Cycles, GoalEvent, Plans
from tests.patience import HUNG_S
from tests.unit.bench_windows import window
from tests.unit.synthetic_log import T0_NS, arm_streams, write_streams
from tests.unit.synthetic_log import Arm as Simulated

SECOND = 1_000_000_000
NONE = {"position": 0, "velocity": 0, "acceleration": 0, "jerk": 0}
STAGES = {"reading": 5.0, "fitting": 20.0, "judging": 2.0, "exporting": 8.0, "trying": 1.0}
LEARNED = Learned(
    begun_s=T0_NS * 1e-9 + 4.0,
    passed_s=T0_NS * 1e-9 + 44.0,
    cause="minutes",
    result={"model_id": "panda/2", "rows": 9000, "epochs": 30, "stage_seconds": STAGES},
)
TAKEN = Taken(T0_NS, T0_NS + 9 * SECOND, T0_NS + 46 * SECOND)
SIZES = {"panda/1": "5 x 128 x 2, 15 steps", "panda/2": "5 x 128 x 2, 15 steps"}
PLANNED = {"panda/1": 2300, "panda/2": 50}
CLEAN = Beside(window(), LEARNED, TAKEN, NONE, 0, PLANNED, SIZES)


def test_the_data_end_where_the_excitation_gives_way_to_the_next_phase(tmp_path: Path) -> None:
    marks = ((0, "excitation"), (1, "before"), (2, "excitation"), (5, "rate"), (6, "rate"))
    streams = arm_streams(Simulated(), 8.0, np.random.default_rng(0))
    log = tmp_path / "log_0.mcap"
    write_streams(log, streams, tuple((T0_NS + second * SECOND, name) for second, name in marks))
    assert data_end_ns(log) == T0_NS + 5 * SECOND


def test_the_first_plan_of_the_new_model_is_found_among_those_of_the_old_one() -> None:
    names = ("panda/1", "panda/1", "panda/2", "panda/1", "panda/2")
    nothing = np.zeros(5)
    plans = Plans(np.arange(5) * 20, names, np.arange(5), nothing, np.zeros((5, 7)), nothing)
    assert first_plan_ns(plans, "panda/2") == 40
    assert first_plan_ns(plans, "panda/20") is None


def test_planner_cycles_count_in_motion_from_the_end_of_the_data_to_a_second_after_the_plan() -> None:
    second = np.arange(60)
    slack = np.full(60, 1e-3)
    slack[[3, 12, 30, 40, 55]] = -1e-3
    cycles = Cycles(T0_NS + second * SECOND, second, T0_NS + second * SECOND, slack)
    goal = GoalEvent(T0_NS + 2 * SECOND, "rate", 0, np.zeros(3), window_s=48.0)
    run: Any = SimpleNamespace(cycles=cycles, goals=(goal,))
    taken = Taken(T0_NS + 10 * SECOND, 0, T0_NS + 34 * SECOND)
    assert late_beside(run, taken) == (2, 26)  # seconds 10 to 35
    assert late_beside(run, replace(taken, first_plan_ns=None)) == (3, 41)  # to the end of the goal


def test_guard_ticks_count_in_the_same_time_as_the_planners_cycles() -> None:
    """One is missed before the end of the data, two in the counted time, one after it."""
    kept = np.array([each for each in range(60) if each not in (5, 20, 30, 50)])
    ticks = SimpleNamespace(stamp_ns=T0_NS + kept * SECOND, index=kept)
    goal = GoalEvent(T0_NS + 2 * SECOND, "rate", 0, np.zeros(3), window_s=56.0)
    run: Any = SimpleNamespace(ticks=ticks, goals=(goal,))
    assert missed_beside(run, Taken(T0_NS + 10 * SECOND, 0, T0_NS + 34 * SECOND)) == (2, 26)


def test_plans_of_the_counted_time_are_told_by_model() -> None:
    names = ("panda/1", "panda/1", "panda/1", "panda/2", "panda/2")
    nothing = np.zeros(5)
    plans = Plans(np.arange(5), names, np.arange(5), nothing, np.zeros((5, 7)), nothing)
    assert by_model(plans, np.array([False, True, True, True, False])) == {"panda/1": 2, "panda/2": 1}


def test_phases_add_up_to_the_seconds() -> None:
    found = phases(LEARNED, TAKEN)
    assert list(found) == ["noticing", "starting", *STAGES, "loading"]
    assert sum(found.values()) == pytest.approx(46.0, abs=0.05)
    assert (found["noticing"], found["starting"], found["loading"]) == pytest.approx((4.0, 4.0, 2.0), abs=0.01)


def test_a_clean_run_has_no_miss_and_every_fault_is_one() -> None:
    clean = figures(CLEAN, LEARNED, 2)
    assert (clean["seconds"], clean["seconds_newest_row"], clean["misses"]) == (46.0, 37.0, [])
    assert (clean["valid"], clean["seconds_beside"], clean["reference_model"]) == (True, 40.0, "panda/1")
    slow = replace(CLEAN, taken=replace(TAKEN, first_plan_ns=T0_NS + 61 * SECOND))
    assert figures(slow, LEARNED, 2)["misses"] == ["seconds 61.00 above 60"]
    never = figures(replace(CLEAN, taken=replace(TAKEN, first_plan_ns=None)), LEARNED, 2)
    assert never["misses"] == ["seconds: no plan was made with the new model"]
    assert never["seconds"] is None
    late = figures(replace(CLEAN, window=window(late=1)), LEARNED, 2)
    assert any("excess_late" in miss for miss in late["misses"])
    beyond = figures(replace(CLEAN, limits={**NONE, "jerk": 2}), LEARNED, 2)
    assert beyond["misses"] == ["limit_violations 2 above 0"]
    json.dumps(clean)


@pytest.mark.parametrize(
    ("beside", "processors", "said"),
    [
        (CLEAN, 1, "processors 1"),
        (replace(CLEAN, sizes={**SIZES, "panda/1": "1 x 8 x 2, 15 steps"}), 2, "not the same work"),
        (replace(CLEAN, planned_with={**PLANNED, "panda/0": 3}), 2, "panda/0: neither"),
        (replace(CLEAN, learned=replace(LEARNED, begun_s=T0_NS * 1e-9 - 3.0, cause="drift")), 2, "3.0 s before"),
    ],
)
def test_a_run_that_is_another_one_than_asked_for_is_not_valid(beside: Beside, processors: int, said: str) -> None:
    found = figures(beside, LEARNED, processors)
    assert not found["valid"]
    assert len(found["invalid_reasons"]) == 1
    assert said in found["invalid_reasons"][0]


def test_a_learner_that_made_no_model_fails_the_bench_with_its_reason() -> None:
    begun = {"event": "begun", "time": 10.0, "cause": "minutes"}
    with pytest.raises(GraphFailed, match="not better"):
        learned_of([begun, {"event": "refused", "time": 50.0, "reason": "not better"}])
    passed = {"event": "passed", "time": 50.0, "result": {"model_id": "panda/2"}}
    assert learned_of([begun, passed]) == Learned(10.0, 50.0, "minutes", {"model_id": "panda/2"})


@pytest.mark.parametrize("last", ["passed", "refused", "none"])
def test_the_service_is_ended_when_its_retraining_has_ended(
    last: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in that watches for ever: only a signal ends it; or it ends by itself, without a word."""
    said = [{"event": "begun", "time": 1.0, "cause": "minutes"}]
    said += [{"event": last, "time": 3.0, "result": {}}] if last != "none" else []
    watching = "    signal.pause()\n" if last != "none" else ""
    script = f"try:\n    import json, signal\n    for each in {said!r}:\n"
    script += f"        print(json.dumps(each), flush=True)\n{watching}except KeyboardInterrupt:\n    pass\n"
    monkeypatch.setattr(learner_child, "learner_command", lambda log, options: [sys.executable, "-c", script])
    with LearnerChild(tmp_path, []) as child:
        if last == "passed":
            assert child.learned() == Learned(1.0, 3.0, "minutes", {})
        else:
            with pytest.raises(GraphFailed, match="made no model"):
                child.learned()
        assert child._child.wait(HUNG_S) == 0


def test_the_log_learned_from_is_cut_out_to_the_byte(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    streams = arm_streams(Simulated(), 3.0, np.random.default_rng(0))
    write_streams(tmp_path / "log" / "log_4.mcap", streams)
    later = arm_streams(Simulated(), 3.0, np.random.default_rng(0), start_ns=T0_NS + 10 * SECOND)
    write_streams(tmp_path / "log" / "log_5.mcap", later)
    first, second = (path.stat().st_size for path in sorted((tmp_path / "log").iterdir()))
    sizes = (first, 2 * second // 3)
    cut_log(tmp_path / "log", sizes, tmp_path / "cut")
    assert [path.stat().st_size for path in sorted((tmp_path / "cut").iterdir())] == list(sizes)
    whole, cut = (sum(1 for _ in LogReader(tmp_path / name).raw()) for name in ("log", "cut"))
    assert whole / 2 < cut < whole


def test_stage_times_are_summed_by_stage_on_the_clock_that_is_handed_in() -> None:
    clock = iter([0.0, 2.0, 5.0, 6.0])
    shown: list[tuple[str, float]] = []
    stages = StageTimes(lambda stage, share: shown.append((stage, share)), lambda: next(clock))
    for stage, share in [("reading", 0.0), ("fitting", 0.0), ("fitting", 0.5), ("judging", 0.0)]:
        stages(stage, share)
    assert stages.seconds() == {"reading": 2.0, "fitting": 3.0, "judging": 1.0}
    assert shown == [("reading", 0.0), ("fitting", 0.0), ("fitting", 0.5), ("judging", 0.0)]
