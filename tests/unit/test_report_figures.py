"""Figures of a made-up run whose every number is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import poisson

from mbrl_control.cli.locations import arm_file
from mbrl_control.episode_log import schema
from mbrl_control.report.reach import PHASES
from mbrl_control.report.report_files import write_report
from mbrl_control.report.targets import misses
from mbrl_control.report.timing import excess_over_reference, skipped, stalls
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import PlanOutcome
from sim.arm_sim import TruthState
from sim.truth_file import TruthFileError, TruthWriter
from tests.unit.synthetic_log import T0_NS, message, write_rows

MS = 1_000_000
SECONDS = 31
OFFSETS_MM = {"nominal": 9.0, "fresh": 2.0, "payload_nominal": 12.0, "payload": 6.0, "relearned": 2.5}


@pytest.fixture(scope="module")
def arm() -> Arm:
    return load_arm(arm_file("panda"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, arm: Arm) -> Path:
    """Five phases of two targets, 3 s each; the tool stays a known distance from every target."""
    folder = tmp_path_factory.mktemp("run")
    targets = [(p, i, np.array([0.4, 0.1 * i, 0.5])) for p in PHASES for i in range(2)]
    _write_truth(folder / "truth.bin", arm, targets)
    rows = _goals(targets) + _planner(arm) + _guard(arm) + _sensors(arm) + _stops()
    write_rows(folder / "log", sorted(rows, key=lambda row: row[0]))
    for name, counts in (("planner", {"cycles": 3000, "late": 0}), ("guard", {"cycles": 12000, "late": 3})):
        (folder / f"reference_{name}.json").write_text(json.dumps(counts))
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    return write_report(folder)


def _write_truth(path: Path, arm: Arm, targets: list[tuple[str, int, np.ndarray]]) -> None:
    with TruthWriter(path, arm, {"simulator": "pybullet", "command_interface": "velocity"}) as writer:
        for step in range(SECONDS * 500):
            elapsed = step / 500
            phase, index, position = targets[min(int(elapsed // 3.0), len(targets) - 1)]
            away = 1e-3 * (OFFSETS_MM[phase] + index) + 0.3 * np.exp(-8.0 * (elapsed % 3.0))
            speed = np.zeros(7)
            speed[3] = 1.03 * arm.velocity[3] if step in (100, 101) else 0.0
            tool = position + np.array([0.0, 0.0, away])
            writer.write(TruthState(T0_NS + step * 2 * MS, step, arm.home, speed, np.zeros(7), tool, 0.0, False))


def _goals(targets: list[tuple[str, int, np.ndarray]]) -> list[tuple[int, schema.Topic, bytes]]:
    rows = []
    for n, (phase, index, position) in enumerate(targets):
        ns = T0_NS + n * 3000 * MS
        rows.append((ns, schema.GOAL, message(schema.GOAL, stamp=ns, position=position, label=f"{phase}/{index}")))
    return rows


def _planner(arm: Arm) -> list[tuple[int, schema.Topic, bytes]]:
    """50 Hz; cycle 200 skipped, 300 published late whatever it says of itself, 400 without a finished iteration, 500 a
    plan of an earlier optimization that calls itself new.

    One swap at cycle 610, with cycle 640 published late. For a second before all that there is no model.
    """
    rows = []
    for cycle in range(-50, 0):
        ns = T0_NS + cycle * 20 * MS
        told = {"deadline": ns + 2 * MS, "cycle": cycle + 60, "outcome": int(PlanOutcome.FAILED)}
        rows.append((ns, schema.PLANNER_REPORT, message(schema.PLANNER_REPORT, stamp=ns, **told)))
    for cycle in range(SECONDS * 50):
        ns = T0_NS + cycle * 20 * MS
        if cycle == 200:
            continue
        outcome = 2 if cycle == 400 else 0
        report = message(
            schema.PLANNER_REPORT, stamp=ns, deadline=ns + 2 * MS, cycle=cycle, plan_epoch=5, plan_sequence=cycle,
            outcome=outcome, iterations=3, slack=0.002,
        )  # fmt: skip
        knots = np.zeros(3 * 7)
        plan = message(
            schema.PLAN, stamp=ns, start=ns + 20 * MS, belief_stamp=ns,
            optimized_stamp=ns - 20 * MS if cycle == 500 else ns, outcome=outcome,
            epoch=5, sequence=cycle, model_id="panda/1" if cycle < 610 else "panda/2",
            joint_names=list(arm.joint_names), times=np.array([0.0, 0.02, 0.04]),
            knots=knots, position=knots, velocity=knots, effort=knots,
            variance=np.zeros(63), epistemic=np.full(3, 0.01),
        )  # fmt: skip
        published = ns + 3 * MS if cycle in (300, 640) else ns + MS
        rows += [(ns, schema.PLANNER_REPORT, report), (published, schema.PLAN, plan)]
    return rows


def _guard(arm: Arm) -> list[tuple[int, schema.Topic, bytes]]:
    """200 Hz; five ticks missing at 2 s (with a stall of the sensors) and one within 1 s of the swap."""
    rows = []
    for tick in range(SECONDS * 200):
        ns = T0_NS + tick * 5 * MS
        if 400 <= tick < 405 or tick == 2500:
            continue
        applied = np.zeros(7)
        applied[0] = 1.0 if tick == 1000 else 0.0
        body = message(
            schema.SAFE_COMMAND, stamp=ns, tick=tick, joint_names=list(arm.joint_names), requested=applied,
            applied=applied, drives_enabled=True, state=5 if 3000 <= tick < 3100 else 2,
        )  # fmt: skip
        rows.append((ns, schema.SAFE_COMMAND, body))
    return rows


def _stops() -> list[tuple[int, schema.Topic, bytes]]:
    """One before any phase; two in the second phase, of which the second says its state twice."""
    told = [(-3, 5, "a"), (-2, 2, ""), (7, 5, "b"), (8, 2, ""), (9, 5, "c"), (9.5, 5, "d"), (10, 2, "")]
    rows = [(T0_NS + n * 6000 * MS, schema.PHASE, message(schema.PHASE, data=p)) for n, p in enumerate(PHASES)]
    for second, state, reason in told:
        ns = T0_NS + round(second * 1000) * MS
        reasons = [reason, "too"] if reason else []
        rows.append((ns, schema.SAFETY_STATUS, message(schema.SAFETY_STATUS, stamp=ns, state=state, reasons=reasons)))
    return rows


def _sensors(arm: Arm) -> list[tuple[int, schema.Topic, bytes]]:
    from tests.unit.synthetic_log import STORE, fill, time_message

    rows = []
    header = STORE.types["std_msgs/msg/Header"]
    for sample in range(SECONDS * 250):
        ns = T0_NS + sample * 4 * MS
        if 500 <= sample < 508:
            continue
        kind = STORE.types[schema.JOINT_STATES.type]
        joint = fill(kind, {"header": header(time_message(ns), ""), "name": list(arm.joint_names)})
        belief = message(
            schema.BELIEF, stamp=ns, joint_names=list(arm.joint_names), position=arm.home,
            velocity=0.02 * np.ones(7), effort=np.zeros(7), covariance=np.zeros(21),
        )  # fmt: skip
        rows.append((ns, schema.JOINT_STATES, bytes(STORE.serialize_cdr(joint, schema.JOINT_STATES.type))))
        rows.append((ns, schema.BELIEF, belief))
    return rows


def test_reach_is_the_settled_distance_of_every_target(report: dict[str, Any]) -> None:
    for phase, offset in OFFSETS_MM.items():
        reach = report[f"reach_mm_{phase}"]
        assert reach["targets"] == 2
        assert reach["median"] == pytest.approx(offset + 0.5, abs=1e-4)
        assert reach["max"] == pytest.approx(offset + 1.0, abs=1e-4)


def test_counts_are_the_ones_put_in(report: dict[str, Any]) -> None:
    assert report["late_raw"] == 5
    assert report["missed_raw"] == 6
    assert report["stalls"] == 1
    assert (report["swaps"], report["swap_missed_ticks"]) == (1, 2)
    assert report["late_whole_log"] == 5
    assert report["guard_stops"] == 1
    by_kind = report["limit_violations_by_kind"]
    assert by_kind["position"] == 0
    assert by_kind["velocity"] == 2
    assert by_kind["acceleration"] == 2
    assert report["limit_violations"] == sum(by_kind.values())
    assert report["plan_rate_hz"] == pytest.approx(50.0, rel=2e-3)
    assert report["guard_rate_hz"] == pytest.approx(200.0, rel=2e-3)
    assert report["valid"], report["invalid_reasons"]


def test_stops_are_told_with_phase_and_reasons(folder: Path, report: dict[str, Any]) -> None:
    assert report["stops"] == {"": ["a; too"], PHASES[1]: ["b; too", "c; too"]}
    assert f"- Stopped in {PHASES[1]}: b; too, c; too." in (folder / "report.md").read_text()


def test_the_report_says_which_simulator_it_was(folder: Path, report: dict[str, Any]) -> None:
    assert (report["simulator"], report["command_interface"]) == ("pybullet", "velocity")
    assert "in pybullet" in (folder / "report.md").read_text()


def test_report_can_be_written_again_and_is_plain_json(folder: Path, report: dict[str, Any]) -> None:
    assert write_report(folder) == report
    assert json.loads((folder / "report.json").read_text()) == report
    for name in ("report.md", "tracking.png", "spread.png", "cycles.png"):
        assert (folder / name).stat().st_size > 500


@pytest.mark.parametrize("count", [0, 1, 3, 20])
def test_poisson_bound_is_the_exact_one(count: int) -> None:
    """At the bound the chance of so few events is 5 %."""
    bound = excess_over_reference(0, 1000, count, 1000).bound
    assert poisson.cdf(count, bound) == pytest.approx(0.05, rel=1e-6)
    excess = excess_over_reference(100, 2000, count, 1000)
    assert excess.excess == pytest.approx(max(0.0, 100 - 2 * bound))
    assert excess.valid == (2 * bound <= 20.0)


def test_restart_misses_nothing_and_a_lone_gap_is_no_stall() -> None:
    assert skipped(np.array([7, 8, 10, 1, 2, 5])).tolist() == [0, 0, 1, 0, 0, 2]
    regular = np.arange(0, 1000, 5) * MS
    assert stalls(np.delete(regular, slice(50, 60)), regular) == 0


def test_missing_reference_and_truth_are_named(folder: Path, tmp_path: Path) -> None:
    for name in ("log", "truth.bin"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    report = write_report(tmp_path)
    assert not report["valid"]
    assert report["excess_late"] is None
    (tmp_path / "truth.bin").unlink()
    with pytest.raises(TruthFileError, match=r"truth\.bin"):
        write_report(tmp_path)


def test_truth_that_ends_early_is_the_worst_reach_not_a_score(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes((folder / "log").read_bytes())
    data = (folder / "truth.bin").read_bytes()
    (tmp_path / "truth.bin").write_bytes(data[: int(0.9 * len(data))])
    report = write_report(tmp_path)
    assert report["reach_mm_relearned"]["median"] is None
    assert not report["valid"]


def _met() -> dict[str, Any]:
    median = {"nominal": 0.3, "fresh": 0.3, "payload_nominal": 12.0, "payload": 10.0, "relearned": 5.0}
    reach = {f"reach_mm_{phase}": {"median": value} for phase, value in median.items()}
    counts = dict.fromkeys(("excess_late", "excess_missed", "swap_missed_ticks", "limit_violations"), 0)
    return reach | counts | {"invalid_reasons": [], "plan_rate_hz": 50.0, "guard_rate_hz": 200.0, "demo_s": 500.0}


def test_a_run_within_all_limits_misses_nothing() -> None:
    assert misses(_met()) == []


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("reach_mm_fresh", {"median": 1.31}),
        ("reach_mm_relearned", {"median": 6.01}),
        ("excess_late", 1.0),
        ("excess_missed", None),
        ("swap_missed_ticks", 1),
        ("limit_violations", 2),
        ("plan_rate_hz", 49.4),
        ("guard_rate_hz", None),
        ("demo_s", 541.0),
        ("demo_s", None),
    ],
)
def test_each_figure_beyond_its_limit_is_named(figure: str, value: Any) -> None:
    found = misses(_met() | {figure: value})
    assert found
    assert all(text.startswith(figure) for text in found)
