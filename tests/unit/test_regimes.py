"""What counts as the newest regime, is learned for and judges: the declared payload, and an arm that is still the same.

Whole retrainings but for the fit, whose place the prior takes: what is asked is which rows carry the weight and which
blocks the gate gets.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from mbrl_control.cli.locations import arm_file
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.learning.curves import Curves
from mbrl_control.learning.fit_ensemble import FitResult
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.learn import Learned, Parent, learn
from mbrl_control.learning.promise import LEAST_WINDOWS
from mbrl_control.learning.regimes import ALLOWANCE, OLDER_SHARE, QUANTITIES, difference, newest_stretches
from mbrl_control.learning.split_fit import FitTask
from mbrl_control.replay.blocks import BLOCK_NS
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.regimes import as_declared
from mbrl_control.replay.streams import Streams
from mbrl_control.robot import load_arm
from mbrl_control.signals import Array
from tests.unit.synthetic_log import T0_NS, Arm, arm_streams

SECOND = 1_000_000_000
PLANAR = load_arm(arm_file("planar"))
KNOWN, WORN = Arm(lag_ms=(35.0, 55.0)), Arm(lag_ms=(90.0, 20.0))


def model_of(lag_ms: tuple[float, float]) -> ProbabilisticEnsemble:
    """Two members that state the response of an arm with this lag, and some spread."""
    prior = NominalPrior(0.02, (lag_ms[0] * 1e-3, lag_ms[1] * 1e-3))
    ensemble = ProbabilisticEnsemble(EnsembleShape(2, 2, 3, 8), prior, torch.Generator().manual_seed(0))
    ensemble.silence()
    ensemble.target_std = torch.tensor([1e-3, 1e-3, 1e-2, 1e-2, 1.0, 1.0])
    return ensemble.eval()


PARENT = Parent("planar/1", model_of(KNOWN.lag_ms), KNOWN.delay_ms * 1e-3)


@dataclass
class Fitter:
    """In the place of a fit."""

    tasks: list[FitTask] = field(default_factory=list)

    def __call__(self, task: FitTask, progress: object, curves: Curves | None) -> FitResult:
        self.tasks.append(task)
        return FitResult(model_of(KNOWN.lag_ms), np.arange(1), 0.0, 1, 0.0, False)


def run(number: int, seconds: float, payload_kg: float = 0.0, arm: Arm = KNOWN) -> Streams:
    """A log of its own; runs begin 1000 s apart."""
    begin = T0_NS + number * 1000 * SECOND
    return replace(arm_streams(arm, seconds, np.random.default_rng(number), begin), payload_kg=payload_kg)


def learned(streams: list[Streams], parent: Parent | None = None) -> tuple[Learned, FitTask]:
    fitter = Fitter()
    found = learn(streams, PLANAR, 0, parent, FitSettings(), fitter=fitter)
    return found, fitter.tasks[0]


def judged_s(found: Learned, begin_s: float, end_s: float) -> int:
    """How many blocks of the gate lie between these times."""
    begin = (found.judged.losses.blocks * BLOCK_NS - T0_NS) * 1e-9
    return int(((begin >= begin_s) & (begin < end_s)).sum())


def weight_between(task: FitTask, begin_s: float, end_s: float) -> float:
    """Share of the weight that rows of this time carry."""
    assert task.row_weights is not None
    at = (task.transitions.stamp_ns - T0_NS) * 1e-9
    return float(task.row_weights[(at >= begin_s) & (at < end_s)].sum() / task.row_weights.sum())


@pytest.mark.parametrize("parent", [None, PARENT], ids=["first model", "with a parent"])
def test_five_restarts_under_one_payload_are_all_learned_for_and_all_judge(parent: Parent | None) -> None:
    found, task = learned([run(number, 40.0) for number in range(5)], parent)
    assert found.regime.stretches == (0, 1, 2, 3, 4)
    assert found.blocks == len(found.judged.losses.blocks)
    for number in range(5):
        assert judged_s(found, 1000.0 * number, 1000.0 * number + 40.0) >= 4
        assert weight_between(task, 1000.0 * number, 1000.0 * number + 40.0) == pytest.approx(0.2, abs=0.03)
    assert found.judged.others == ()
    assert len(np.unique(task.transitions.session)) == 1
    assert len(np.unique(task.transitions.segment)) >= 5, "no window reaches from one run into the next"


def test_runs_too_short_to_be_judged_alone_are_judged_together() -> None:
    """Each holds four held-out blocks at most, eight are needed."""
    short = [run(number, 24.0) for number in range(5)]
    with pytest.raises(TooLittleData, match="newest regime"):
        learned(short[-1:])
    assert learned(short)[0].blocks >= 8


def test_a_load_that_was_on_in_between_ends_nothing() -> None:
    whole = arm_streams(KNOWN, 120.0, np.random.default_rng(1))
    changes = T0_NS + np.array([40, 80]) * SECOND
    streams = replace(whole, payload_ns=changes, session_kg=(0.0, 2.0, 0.0), payload_kg=0.0)
    found, task = learned([streams], PARENT)
    assert found.regime.stretches == (0, 2)
    assert judged_s(found, 0.0, 40.0) >= 3
    assert judged_s(found, 40.0, 80.0) == 0
    assert judged_s(found, 80.0, 120.0) >= 3
    assert [other.regime for other in found.judged.others] == [1]
    assert weight_between(task, 40.0, 80.0) == pytest.approx(OLDER_SHARE)


def test_a_declared_change_is_judged_alone() -> None:
    found, task = learned([run(0, 60.0), run(1, 60.0), run(2, 80.0, payload_kg=2.0)], PARENT)
    assert found.regime.stretches == (2,)
    assert judged_s(found, 0.0, 1990.0) == 0
    assert judged_s(found, 2000.0, 2080.0) == found.blocks >= 8
    assert [other.regime for other in found.judged.others] == [0, 1]
    assert weight_between(task, 2000.0, 2080.0) == pytest.approx(1.0 - OLDER_SHARE)


def test_an_arm_that_has_changed_undeclared_is_judged_as_it_is_now() -> None:
    """What drift is retrained for: the rows from before it would pull the model back."""
    streams = [run(0, 80.0), run(1, 80.0), run(2, 80.0, arm=WORN), run(3, 80.0, arm=WORN)]
    found, task = learned(streams, PARENT)
    assert found.regime.stretches == (2, 3)
    assert [each.stretch for each in found.regime.changed] == [0, 1]
    assert all(each.quantity in QUANTITIES and each.factor > 2.0 for each in found.regime.changed)
    assert "another arm: innovation of" in found.regime.changed[0].said
    assert judged_s(found, 2000.0, 3080.0) == found.blocks
    assert weight_between(task, 2000.0, 3080.0) == pytest.approx(1.0 - OLDER_SHARE)
    # Without a model there is nobody to ask.
    assert learned(streams)[0].regime == as_declared([0.0] * 4)


def test_an_arm_that_was_another_for_a_while_is_left_out() -> None:
    found, _ = learned([run(0, 80.0), run(1, 80.0, arm=WORN), run(2, 80.0)], PARENT)
    assert found.regime.stretches == (0, 2)
    (changed,) = found.regime.changed
    assert (changed.stretch, changed.factor < 0.5) == (1, True)


def test_the_newest_payload_without_a_row_is_refused_where_no_other_run_has_one() -> None:
    still = run(1, 20.0, payload_kg=2.0)
    still = replace(still, drives_enabled=np.zeros_like(still.drives_enabled))
    with pytest.raises(TooLittleData, match="no usable row with the payload declared last, 2 kg"):
        learned([run(0, 80.0), still])
    # With its payload carried in another run it is only one more run that holds nothing.
    assert learned([run(0, 80.0, payload_kg=2.0), still])[0].regime.stretches == (0, 1)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 2.1, 5.0]), min_size=1, max_size=12))
def test_where_windows_tell_nothing_the_declared_payload_decides(payloads_kg: list[float]) -> None:
    few = np.random.default_rng(0).normal(size=(LEAST_WINDOWS - 1, 3))
    regime = newest_stretches(payloads_kg, lambda stretch: few + 100.0 * stretch)
    assert regime == as_declared(payloads_kg)
    last = payloads_kg[-1]
    assert regime.number == len(payloads_kg) - 1
    assert set(regime.stretches) == {n for n, mass in enumerate(payloads_kg) if abs(mass - last) <= 0.1 * last}


@given(
    st.floats(-4.0, 4.0),
    st.integers(0, 2),
    st.integers(LEAST_WINDOWS, 60),
    st.integers(LEAST_WINDOWS, 60),
    st.integers(0, 99),
)
def test_stretches_are_told_apart_by_more_than_other_motion_explains(
    apart: float, quantity: int, older: int, newer: int, seed: int
) -> None:
    """Apart in units of the scatter between windows; exactly, since both are standardized."""
    generator = np.random.default_rng(seed)
    first, second = (standardized(generator.normal(size=(count, 3))) for count in (older, newer))
    shifted = second + apart * np.eye(3)[quantity]
    told = difference(first, shifted)
    doubt = 2.0 * np.sqrt(1.0 / older + 1.0 / newer)
    # Standardized by n, pooled by n - 2: the scatter comes out a little wider than one.
    std = np.sqrt((older + newer) / (older + newer - 2))
    assume(abs(abs(apart) - std * (ALLOWANCE + doubt)) > 1e-9)
    if abs(apart) <= std * (ALLOWANCE + doubt):
        assert told is None
    else:
        assert told is not None
        assert told[0] == QUANTITIES[quantity]
        assert told[1] == pytest.approx(np.exp(apart))
    other_way = difference(shifted, first)
    assert (told is None) == (other_way is None)


def standardized(values: Array) -> Array:
    return np.asarray((values - values.mean(axis=0)) / values.std(axis=0))
