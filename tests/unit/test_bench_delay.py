"""`bench delay`'s figures on motions and errors written by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.delay import DELAYS_MS, OTHER_LAGS, WAYS, Error, arrival, figures_of

SECONDS = np.linspace(0.01, 3.0, 300)


def tool_at(distance: np.ndarray) -> np.ndarray:
    """Positions along y, so far before a target at y = 0."""
    return np.stack([np.zeros_like(distance), -distance, np.zeros_like(distance)], axis=1)


def test_settled_is_what_stays_and_overshoot_what_lies_behind_the_target() -> None:
    """Within 5 mm at 0.5 s, out again to 8 mm behind it from 1.0 to 1.2 s."""
    distance = np.where(SECONDS < 0.5, 0.3, 0.001)
    distance = np.where((SECONDS >= 1.0) & (SECONDS < 1.2), -0.008, distance)
    settle_s, overshoot_mm = arrival(SECONDS, tool_at(distance), np.zeros(3))
    assert settle_s == pytest.approx(1.2, abs=0.011)
    assert overshoot_mm == pytest.approx(8.0)


def test_who_does_not_settle_has_no_time() -> None:
    assert arrival(SECONDS, tool_at(np.full(300, 0.1)), np.zeros(3)) == (math.inf, 0.0)


def test_ratios_are_of_the_same_seed_over_the_better_way_without_delay() -> None:
    errors = [
        Error(ms, way, seed, 0.1, 0.5 + 1e-3 * ms, 0.0, (1.0 + seed) * (1.0 + ms / 400.0 + (way == "known")), 0.0)
        for ms in DELAYS_MS
        for way in WAYS
        for seed in (0, 1, 2)
    ]
    lagging = [replace(one, track_mm=9.0, lag=lag) for one in errors for lag in OTHER_LAGS]
    found = figures_of([*errors, *lagging])
    assert found["ratios_40ms"]["track_mm"] == {"median": 1.1, "least": 1.1, "largest": 1.1}
    assert found["error_ratio_40ms"] == 1.1
    assert found["misses"] == []
    assert found["by_lag"]["1.25"]["shipped"]["40"]["track_mm"] == 9.0
    assert found["default_ratio_40ms"] == 1.1
    worse = [replace(one, reach_mm=0.2) if (one.way, one.delay_ms) == ("online", 40) else one for one in errors]
    assert figures_of([*worse, *lagging])["misses"] == ["error_ratio_40ms 2.000 above 1.2"]
    assert found["settle_excess_ms_40ms"]["median"] == pytest.approx(40.0)
    assert found["by_delay"]["online"]["40"]["track_mm"] == pytest.approx(2.2)
