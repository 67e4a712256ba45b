"""What lets a candidate through besides the held-out blocks: golden logs, and closed loops with other payloads."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.cli.locations import arm_file
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.learning.further_gates import Yardstick, judge_golden, require_stable
from mbrl_control.learning.judge import MARGIN, GoldenScore, RetrainRefused
from mbrl_control.learning.learn import Parent
from mbrl_control.learning.regimes import other_payloads
from mbrl_control.learning.stability import (
    DISTANCE_FACTOR,
    DISTANCE_FLOOR_M,
    REST_RAD_S,
    LoopFigures,
    Loops,
    LoopScore,
    distance_limit,
    faults,
)
from mbrl_control.replay.regimes import SAME_PAYLOAD, same_regime
from mbrl_control.robot import load_arm
from tests.unit.synthetic_log import Arm, arm_streams

PLANAR = load_arm(arm_file("planar"))
TRUE_LAG = (0.035, 0.055)
LOG = Yardstick("week12", 0.0, arm_streams(Arm(), 40.0, np.random.default_rng(0)))


def model(lag_s: tuple[float, float], name: str = "candidate", delay_s: float = 0.012) -> Parent:
    """A prior with this lag and nothing learned; the log's arm has TRUE_LAG and 12 ms."""
    shape = EnsembleShape(2, PLANAR.joints, 3, 8)
    ensemble = ProbabilisticEnsemble(shape, NominalPrior(0.02, lag_s), torch.Generator().manual_seed(0))
    ensemble.silence()
    return Parent(name, ensemble.eval(), delay_s)


def judged(candidate: Parent, reference: Parent | None, newest_kg: float, log: Yardstick = LOG) -> GoldenScore:
    (score,) = judge_golden([log], newest_kg, candidate, reference, PLANAR, 20_000_000, np.random.default_rng(0))
    return score


def test_a_golden_log_asks_what_the_held_out_blocks_ask() -> None:
    score = judged(model(TRUE_LAG), model((0.045, 0.045)), newest_kg=0.0)
    assert score.blocks >= 18, "all of the log judges, not one block of four"
    assert score.limit == pytest.approx(MARGIN * score.reference)
    assert score.difference == pytest.approx(score.candidate - score.reference)
    assert score.lower < score.difference < score.upper < 0.0 < score.limit
    with pytest.raises(RetrainRefused, match=r"week12: mean loss .* over \d+ blocks, 95% sure to be below"):
        judged(model((0.045, 0.045)), model(TRUE_LAG), newest_kg=0.0)


def test_each_model_is_judged_as_it_runs_with_its_own_delay() -> None:
    """The same weights, told a delay that the arm does not have, are another model."""
    own, late = model(TRUE_LAG), model(TRUE_LAG, delay_s=0.030)
    assert judged(own, late, 0.0).candidate < 0.5 * judged(own, late, 0.0).reference
    with pytest.raises(RetrainRefused):
        judged(late, own, 0.0)


def test_where_nothing_was_learned_yet_the_prior_is_to_be_beaten() -> None:
    biased = model(TRUE_LAG)
    with torch.no_grad():
        biased.ensemble.target_mean[2:4] = 0.05
    score = judged(biased, None, newest_kg=2.0)
    assert score.candidate > score.reference
    with pytest.raises(RetrainRefused, match=r"has to be below 0\.000e"):
        judged(biased, None, newest_kg=0.0)


def test_another_regimes_golden_log_is_reported_and_decides_nothing() -> None:
    score = judged(model((0.2, 0.2)), model(TRUE_LAG), newest_kg=2.0)
    assert score.limit is None
    assert score.candidate > 2.0 * score.reference
    within = replace(LOG, payload_kg=1.9)
    with pytest.raises(RetrainRefused):
        judged(model((0.2, 0.2)), model(TRUE_LAG), newest_kg=2.0, log=within)


@pytest.mark.parametrize("newest_kg", [0.0, 2.0])
def test_no_number_is_no_score_in_any_regime(newest_kg: float) -> None:
    broken = model(TRUE_LAG)
    with torch.no_grad():
        broken.ensemble.target_mean[0] = float("nan")
    with pytest.raises(RetrainRefused, match="loss of the candidate is not finite"):
        judged(broken, model(TRUE_LAG), newest_kg)
    with pytest.raises(RetrainRefused, match="loss of the reference is not finite"):
        judged(model(TRUE_LAG), broken, newest_kg)


MASSES = st.floats(0.0, 50.0)


@given(st.lists(MASSES, max_size=12), MASSES)
def test_every_payload_has_a_closed_loop_that_stands_for_it(payloads: list[float], newest_kg: float) -> None:
    others = other_payloads(payloads, newest_kg)
    assert list(others) == sorted(others)
    assert set(others) <= set(payloads)
    for payload in payloads:
        stands = [other for other in others if other >= payload and same_regime(payload, other)]
        assert same_regime(payload, newest_kg) or stands
    for other in others:
        assert abs(other - newest_kg) > SAME_PAYLOAD * newest_kg
    for lighter, heavier in pairwise(others):
        assert not same_regime(lighter, heavier)


FIGURES = st.builds(
    LoopFigures,
    finite=st.booleans(),
    violations=st.integers(0, 3),
    unplanned=st.integers(0, 3),
    speed=st.floats(0.0, 3 * REST_RAD_S),
    distance=st.floats(0.0, 4 * DISTANCE_FLOOR_M),
)


@given(FIGURES, FIGURES)
def test_a_closed_loop_passes_exactly_within_all_bounds(candidate: LoopFigures, reference: LoopFigures) -> None:
    score = LoopScore(1.5, candidate, reference)
    known = DISTANCE_FACTOR * reference.distance if reference.finite else 0.0
    well = candidate.finite and candidate.violations == 0 and candidate.unplanned == 0
    at_rest = candidate.speed <= REST_RAD_S and candidate.distance <= known + DISTANCE_FLOOR_M
    assert (not faults(score)) is (well and at_rest)
    assert distance_limit(reference) >= DISTANCE_FLOOR_M
    if faults(score):
        with pytest.raises(RetrainRefused, match=r"1\.5 kg: "):
            require_stable(Loops((score,)))
    else:
        require_stable(Loops((score,)))


@pytest.mark.parametrize("field", ["speed", "distance"])
def test_a_figure_that_is_no_number_never_passes(field: str) -> None:
    good = LoopFigures(True, 0, 0, 0.0, 0.001)
    assert faults(LoopScore(1.0, good, good)) == ()
    assert faults(LoopScore(1.0, replace(good, **{field: float("nan")}), good)) != ()


def test_one_unstable_payload_of_many_refuses_and_all_that_fail_are_named() -> None:
    good, swinging = LoopFigures(True, 0, 0, 0.01, 0.002), LoopFigures(True, 4, 0, 0.9, 0.3)
    loops = Loops((LoopScore(0.0, good, good), LoopScore(1.0, swinging, good), LoopScore(3.0, swinging, good)))
    with pytest.raises(RetrainRefused, match=r"1 kg: 4 steps beyond .* 0\.9 rad/s .* 300 mm .*; 3 kg: ") as refused:
        require_stable(loops)
    assert "0 kg:" not in str(refused.value)
