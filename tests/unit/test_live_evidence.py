"""How often windows that are as promised alarm, how soon others do; and what it takes to call one bundle better."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_control.block_bootstrap import paired_difference
from mbrl_control.deployment.manifest import Promise
from mbrl_control.learning.promise import promised
from mbrl_control.live.drift import LIMIT, Drift
from mbrl_control.live.evidence import BLOCK, CONFIDENCE, MARGIN, BetterSoFar, looked
from mbrl_control.signals import Array

KNOWN = Promise(steps=15, windows=1_000_000, innovation=(1, 1, 1), log_mean=(0, 0.5, -1), log_std=(0.3, 0.5, 0.4))


def drawn(stds_off: float, count: int, seed: int, promise: Promise = KNOWN) -> Array:
    """Innovations [n, 3] of windows as promised, but for the position, which is off."""
    normal = np.random.default_rng(seed).normal(size=(count, 3)) + np.array([stds_off, 0.0, 0.0])
    return np.asarray(np.exp(np.array(promise.log_mean) + np.array(promise.log_std) * normal))


def alarms(promise: Promise, windows: Array) -> int:
    """How often the alarm begins."""
    drift, count, before = Drift(promise), 0, False
    for each in windows:
        drift.add(each)
        now = bool(drift.exceeded)
        count, before = count + (now and not before), now
    return count


def test_windows_as_promised_alarm_as_rarely_as_stated() -> None:
    """Once in 280,000; of 60,000 windows three alarms would come once in 700 tries."""
    assert alarms(KNOWN, drawn(0.0, 60_000, 0)) < 3


def test_the_average_between_alarms_is_siegmunds() -> None:
    """At a lower limit, where alarms can be waited for: sums of one quantity, E[T] = (e^2b - 2b - 1) / 2."""
    generator, limit, waits = np.random.default_rng(1), 2.0, []
    for _ in range(400):
        total, wait = 0.0, 0
        while total <= limit:
            total, wait = max(0.0, total + generator.normal() - 1.0), wait + 1
        waits.append(wait)
    b = limit + 1.166
    assert np.mean(waits) == pytest.approx((np.exp(2 * b) - 2 * b - 1) / 2, rel=0.2)


def test_a_promise_on_few_windows_alarms_hardly_more_often() -> None:
    """Mean and scatter of 16 windows are guesses; with one error of each put aside most bundles keep still."""
    silent = 0
    for seed in range(40):
        guessed = promised(drawn(0.0, 16, 100 + seed))
        promise = Promise(**{name: getattr(guessed, name) for name in Promise.model_fields})
        silent += alarms(promise, drawn(0.0, 600, 200 + seed)) == 0
    assert silent >= 36


@pytest.mark.parametrize(("stds_off", "windows"), [(4.0, 3), (12.0, 1)])
def test_a_changed_arm_is_noticed_after_so_many_windows_and_forgotten_after(stds_off: float, windows: int) -> None:
    means = np.exp(np.array(KNOWN.log_mean))
    off = means * np.exp([stds_off * KNOWN.log_std[0], 0.0, 0.0])
    drift = Drift(KNOWN)
    seen = []
    for _ in range(windows):
        seen.append(drift.exceeded)
        drift.add(off)
    assert (seen[-1], drift.exceeded) == ((), ("position",))
    for _ in range(30):
        drift.add(off)
    for _ in range(round(LIMIT) + 1):
        drift.add(means)
    assert drift.exceeded == ()


def test_what_was_not_measured_changes_nothing() -> None:
    drift = Drift(KNOWN)
    for _ in range(5):
        drift.add(np.array([np.nan, 100.0, np.nan]))
    assert drift.exceeded == ("velocity",)
    drift.add(np.full(3, np.nan))
    assert drift.exceeded == ("velocity",)


def test_twelve_windows_won_in_a_row_are_enough_and_a_tie_wins_none() -> None:
    better = BetterSoFar()
    for _ in range(11):
        better.add(0.9, 1.0)
    assert not better.enough
    better.add(0.9, 1.0)
    assert better.enough
    assert better.said == "better in 12 of the last 12 windows"
    tied = BetterSoFar()
    for _ in range(100):
        tied.add(1.0 - 0.5 * MARGIN, 1.0)
    assert not tied.enough


def test_a_bundle_that_wins_every_other_window_is_called_better_as_rarely_as_stated() -> None:
    """At most one in 1000 windows; here 300 runs of 200."""
    generator, called = np.random.default_rng(2), 0
    for _ in range(300):
        better, wins = BetterSoFar(), generator.random(200) < 0.5
        for won in wins:
            better.add(0.5 if won else 2.0, 1.0)
            if better.enough:
                called += 1
                break
    assert called <= 300 * 200 / 1000


def test_the_bound_is_that_of_the_gates_bootstrap() -> None:
    generator = np.random.default_rng(3)
    active = generator.uniform(0.5, 1.5, 60)
    candidate = active * generator.normal(1.0, 0.1, 60)
    found = looked(candidate, active, np.random.default_rng(4))
    blocks = [each.reshape(-1, BLOCK).mean(axis=1) for each in (candidate, active)]
    gate = paired_difference(*blocks, np.random.default_rng(4), confidence=CONFIDENCE)
    assert found.windows == 60
    assert found.limit == pytest.approx(MARGIN * active.mean())
    assert found.upper == pytest.approx(gate.percentile.upper)


def test_a_candidate_beyond_the_margin_passes_as_rarely_as_stated() -> None:
    """5 % over the three looks together; here 200 candidates at the very margin."""
    generator, passed = np.random.default_rng(5), 0
    for _ in range(200):
        active = generator.uniform(0.5, 1.5, 240)
        candidate = active * (1.0 + MARGIN) + generator.normal(0.0, 0.1, 240)
        passed += any(looked(candidate[:n], active[:n], generator).passes for n in (60, 120, 240))
    assert passed <= 20


def test_a_candidate_that_is_better_passes_at_the_first_look() -> None:
    generator = np.random.default_rng(6)
    active = generator.uniform(0.5, 1.5, 60)
    assert looked(0.8 * active, active, generator).passes
