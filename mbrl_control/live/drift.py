"""Whether windows of live motion still are what the bundle promised: a one-sided CUSUM on the logarithm of innovation.

Per quantity (position, velocity, effort): z = (ln innovation - promised mean) / std, sum = max(0, sum + z - 1), and
beyond 6 it is exceeded (Page, Biometrika 41, 1954). Windows that are as promised, normal and independent exceed a sum
after 840,000 windows on average (Siegmund's approximation, Sequential Analysis, 1985: (e^2b - 2b - 1) / 2 with
b = 6 + 1.166), one of the three after 280,000: 39 hours of motion. Windows four stds off are noticed after 3, twelve
after one. Motion unlike the held-out rows is no fault of the arm and may exceed, too: so this alone takes no model
away.
"""

from __future__ import annotations

import numpy as np

from mbrl_control.deployment.manifest import Promise
from mbrl_control.signals import Array

QUANTITIES = ("position", "velocity", "effort")
ALLOWANCE = 1.0
"""Stds off that are put up with for ever."""
LIMIT = 6.0
LEAST_STD = 0.25
"""Of the logarithm: a promise on few windows may claim less scatter than there is; a quarter more is no alarm."""
_MOST = 2.0 * LIMIT
"""So that an alarm ends: 6 windows as promised take it back."""
_LEAST_INNOVATION = 1e-9


class Drift:
    """Sums of one bundle, from its activation on."""

    def __init__(self, promise: Promise) -> None:
        # One standard error of each estimate to the safe side: few windows know mean and scatter less well.
        windows = max(2, promise.windows)
        mean, std = np.array(promise.log_mean), np.maximum(np.array(promise.log_std), LEAST_STD)
        self._mean = mean + std / np.sqrt(windows)
        self._std = std * (1.0 + 1.0 / np.sqrt(2.0 * (windows - 1)))
        self._sums = np.zeros(len(QUANTITIES))

    @property
    def exceeded(self) -> tuple[str, ...]:
        """Quantities that are not as promised, now."""
        return tuple(name for name, value in zip(QUANTITIES, self._sums, strict=True) if value > LIMIT)

    def add(self, innovation: Array) -> None:
        """The next window's [3]; NaN of what was not measured changes nothing."""
        logs = np.log(np.maximum(innovation, _LEAST_INNOVATION))
        after = np.clip(self._sums + (logs - self._mean) / self._std - ALLOWANCE, 0.0, _MOST)
        self._sums = np.where(np.isfinite(innovation), after, self._sums)
