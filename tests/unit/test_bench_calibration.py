"""`bench calibration`: which windows count, what the figures are of, and that the diagram is drawn; small."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch

import mbrl_control.learning.learn as learn_module
from benchmarks.calibration import PLANTS, change_figures, measure, misses, region_figures
from benchmarks.calibration_sessions import Bench, Plant, outside
from benchmarks.calibration_table import write_table
from benchmarks.step_cost import CALLS, ROUNDS, deployed_step_us
from mbrl_control.cli.locations import arm_file
from mbrl_control.dynamics.delta_prior import DeltaPrior
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.learning.calibration import Errors, fit_scale
from mbrl_control.learning.compare import Compared
from mbrl_control.learning.reliability_plot import plot_reliability
from mbrl_control.learning.session import Session, window_scores
from mbrl_control.replay.delay import estimate_delay
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface, Transitions
from tests.unit.noisy_arm import DT_S, LAG_S, knowing, noisy_arm

NOISE = 0.05
SECOND_NS = 1_000_000_000


def session(seed: int, noise: float = NOISE) -> Session:
    return Session.of(knowing(NOISE), noisy_arm(noise, seed, 3000))


def test_windows_at_rest_are_left_out() -> None:
    moving = session(0)
    velocity = moving.rows.velocity.copy()
    velocity[1500:] = 0.0
    half = replace(moving, rows=replace(moving.rows, velocity=velocity))
    unit = np.ones(3)
    every, some = (window_scores(each, 1, unit, unit, SECOND_NS)["innovation"] for each in (moving, half))
    assert len(some) == 30
    np.testing.assert_array_equal(some, every[:30])
    # Of velocity and effort one each; the position of that arm has no noise of its own.
    np.testing.assert_allclose(every.mean(), 2.0, rtol=0.1)


def test_a_noisier_arm_is_told_by_innovation_and_not_by_disagreement() -> None:
    sessions = {name: session(seed) for seed, name in enumerate(("fit", "judge", "null", "other_simulator"))}
    sessions |= {"payload": session(5, 3.0 * NOISE), "friction": session(6, 2.0 * NOISE)}
    found = change_figures(knowing(NOISE), sessions)
    assert found["payload"]["innovation_15_steps_1_s"] > 0.95
    assert found["payload"]["disagreement_15_steps_1_s"] == pytest.approx(0.5)
    assert abs(found["null"]["innovation_15_steps_1_s"] - 0.5) < 0.2


def test_region_compares_rows_far_outside_with_rows_inside() -> None:
    inside = session(0)
    edge = np.array([[inside.rows.position.min()], [inside.rows.position.max()]])
    beyond = replace(inside, rows=replace(inside.rows, position=edge[1] + np.linspace(0.0, 0.9, 3000)[:, None]))
    found = region_figures(knowing(NOISE), edge, {"judge": inside, "null": inside, "region": beyond})
    assert found["rows_inside"] == 3000
    assert found["rows_outside"] == pytest.approx(1000, abs=2)
    # Members that always agree tell nothing apart.
    assert found["at_rest"] == found["null_at_rest"] == pytest.approx(0.5)


def test_the_headline_of_the_region_is_what_the_deployed_graph_states() -> None:
    """Of the rows as they move, not of their poses at rest, which no graph is asked about."""
    model = ProbabilisticEnsemble(
        EnsembleShape(3, 1, 1, 8), NominalPrior(DT_S, (LAG_S,)), torch.Generator().manual_seed(0)
    )
    model.target_std = torch.tensor([1e-4, NOISE, 1.0])
    rows = {name: noisy_arm(NOISE, seed, 2000) for seed, name in enumerate(PLANTS)}
    wide = rows["region"]
    rows["region"] = replace(wide, position=wide.position + 0.5, next_position=wide.next_position + 0.5)
    sessions = {name: Session.of(model.eval(), each) for name, each in rows.items()}
    later = [{"moving_velocity_alone": 0.96}, {"moving_velocity_alone": 0.94}]
    found = measure(model, rows["judge"].position, sessions, later)
    assert (found["auroc_region_successor"], found["lineage"]) == (0.94, later)
    assert "auroc_region_successor 0.94 below 0.95" in found["misses"]
    assert found["auroc_region"] == found["region"]["moving_velocity_alone"]
    assert found["auroc_region_at_rest"] == found["region"]["at_rest"] != found["auroc_region"]
    for steps in (1, 15):
        assert found[f"ece_constant_{steps}"] == round(found["calibration"][steps]["ece_constant"], 4)
    assert any(miss.startswith("auroc_region ") for miss in found["misses"]) == (found["auroc_region"] < 0.95)


def test_outside_is_the_farthest_joint_beyond_the_excited_range() -> None:
    excited = np.array([[-1.0, 0.0], [1.0, 2.0]])
    found = outside(np.array([[0.0, 1.0], [1.4, 2.1], [-1.2, -0.5]]), excited)
    np.testing.assert_allclose(found, [0.0, 0.4, 0.5])


def test_a_figure_that_is_no_number_is_a_miss() -> None:
    good = {"ece_1": 0.01, "ece_15": 0.01, "sharpness_ratio": 1.0}
    good |= {"auroc_region": 1.0, "auroc_payload": 1.0, "auroc_friction": 1.0}
    assert misses(good) == []
    assert misses(good | {"ece_1": float("nan"), "auroc_friction": 0.5}) == [
        "ece_1 nan above 0.03",
        "auroc_friction 0.5 below 0.9",
    ]


@pytest.mark.parametrize("interface", list(CommandInterface))
@pytest.mark.parametrize("network", [False, True])
def test_the_cost_is_of_a_graph_that_computes_what_the_model_does(interface: CommandInterface, network: bool) -> None:
    """Which `deployed_step_us` asks: also of a pure network, which no bundle has."""
    arm = load_arm(arm_file("planar"), interface)
    prior = DeltaPrior(0.02) if network else prior_of(arm, 0.02)
    model = ProbabilisticEnsemble(EnsembleShape(3, 2, 2, 8), prior, torch.Generator().manual_seed(0)).eval()
    ticks = iter(np.arange(0.0, 1000.0, 0.5))
    assert deployed_step_us(model, lambda: next(ticks)) == pytest.approx(1e6 * 0.5 / CALLS)
    assert next(ticks) == 0.5 * 2 * ROUNDS


def test_the_table_is_fitted_to_the_rows_that_the_model_was_fitted_to(monkeypatch: pytest.MonkeyPatch) -> None:
    class Seen(Exception):
        pass

    def fit(rows: Transitions, *rest: Any) -> None:
        raise Seen(rows)

    monkeypatch.setattr(learn_module, "fit", fit)
    monkeypatch.setattr(learn_module, "require_blocks", lambda rows, held: 0)
    bench = Bench(arm_file("planar"), CommandInterface.VELOCITY, 30.0)
    streams = bench.streams(Plant(), 0)
    with pytest.raises(Seen) as seen:
        bench.learned(streams, 0)
    rows = bench.trained_on(streams, estimate_delay([streams]).delay_s)
    for name in Transitions.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(rows, name), getattr(seen.value.args[0], name))


def test_the_table_is_written_for_people_and_for_programs(tmp_path: Path) -> None:
    rows = (
        Compared("prior", "nominal", -60.0, -61.0, 1e-2, 4e-2, 0.02, 0.03, 5.0),
        Compared("network", "dropout", -90.0, -90.5, 2e-3, 5e-2, 0.01, 0.04, 25.0),
    )
    written = write_table(rows, tmp_path)
    assert [path.name for path in written] == ["table.csv", "table.md"]
    with written[0].open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["structure"], float(second["step_us"]), float(first["position_15"])) == ("prior", 25.0, 1e-2)
    text = written[1].read_text()
    assert len({line.count("|") for line in text.splitlines()}) == 1
    assert (
        "| network | dropout | **-90.00** | **-90.50** | **2.00e-03** | 5.00e-02 | **0.0100** | 0.0400 | 25.0 |" in text
    )


def test_the_diagram_is_a_picture_with_a_panel_for_each_horizon(tmp_path: Path) -> None:
    errors = Errors.of(session(0).ahead[1])
    named = {"best constant": errors.constant(), "as predicted": errors, "scaled": errors.scaled(fit_scale(errors))}
    plot_reliability({1: named, 15: named}, tmp_path / "two.png", "rows")
    plot_reliability({1: named}, tmp_path / "one.png", "rows")
    two, one = (matplotlib.image.imread(tmp_path / name) for name in ("two.png", "one.png"))
    assert two.shape[1] == pytest.approx(2 * one.shape[1], abs=2)
    assert two.std() > 0.05
