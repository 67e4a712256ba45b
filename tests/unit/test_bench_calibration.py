"""`bench calibration`: which windows count, what the figures are of, and that the diagram is drawn; small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from benchmarks.calibration import change_figures, misses, region_figures, window_scores
from benchmarks.calibration_plot import plot_reliability
from benchmarks.calibration_sessions import Session, outside
from mbrl_control.learning.calibration import Errors, fit_scale
from tests.unit.noisy_arm import knowing, noisy_arm

NOISE = 0.05
SECOND_NS = 1_000_000_000


def session(seed: int, noise: float = NOISE) -> Session:
    return Session.of(knowing(NOISE), noisy_arm(noise, seed, 3000))


def test_windows_at_rest_are_left_out() -> None:
    moving = session(0)
    velocity = moving.rows.velocity.copy()
    velocity[1500:] = 0.0
    half = Session(replace(moving.rows, velocity=velocity), moving.ahead)
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
    beyond = Session(replace(inside.rows, position=edge[1] + np.linspace(0.0, 0.9, 3000)[:, None]), inside.ahead)
    found = region_figures(knowing(NOISE), edge, {"judge": inside, "null": inside, "region": beyond})
    assert found["rows_inside"] == 3000
    assert found["rows_outside"] == pytest.approx(1000, abs=2)
    # Members that always agree tell nothing apart.
    assert found["at_rest"] == found["null_at_rest"] == pytest.approx(0.5)


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


def test_the_diagram_is_a_picture_with_a_panel_for_each_horizon(tmp_path: Path) -> None:
    errors = Errors.of(session(0).ahead[1])
    named = {"best constant": errors.constant(), "as predicted": errors, "scaled": errors.scaled(fit_scale(errors))}
    plot_reliability({1: named, 15: named}, tmp_path / "two.png")
    plot_reliability({1: named}, tmp_path / "one.png")
    two, one = (matplotlib.image.imread(tmp_path / name) for name in ("two.png", "one.png"))
    assert two.shape[1] == pytest.approx(2 * one.shape[1], abs=2)
    assert two.std() > 0.05
