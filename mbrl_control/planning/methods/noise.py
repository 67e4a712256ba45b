"""Noise along the horizon: coloured, and at fewer knots than steps where that is asked for."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.interpolate import CubicSpline

from mbrl_control.planning.colored_noise import colored_noise
from mbrl_control.signals import Array

Interpolation = Literal["linear", "cubic"]


class KnotNoise:
    """Unit noise [N, H, J] whose free values are ``knots``, evenly spread over the horizon, interpolated in between."""

    def __init__(self, beta: float, horizon: int, knots: int, interpolation: Interpolation) -> None:
        """``knots`` 0: one per step. ValueError for one knot, or more than steps."""
        if knots and not 2 <= knots <= horizon:
            raise ValueError(f"knots: {knots} do not fit {horizon} steps; give 0, or 2 to {horizon}")
        self._beta, self._count = beta, knots or horizon
        self._basis = None if self._count == horizon else basis(horizon, knots, interpolation)

    def draw(self, count: int, joints: int, generator: np.random.Generator) -> Array:
        """Zero mean; unit variance at the knots. In between white noise has 0.5 to 1 of it along lines, 0.6 to 1 along
        a cubic, and before the second and behind the last but one of its knots up to 1.4."""
        values = colored_noise(self._beta, count, self._count, joints, generator)
        return values if self._basis is None else np.einsum("hk,nkj->nhj", self._basis, values)


def basis(horizon: int, knots: int, interpolation: Interpolation) -> Array:
    """[H, K] values at every step of curves that are one at a knot and zero at the others. Through two knots a cubic is
    a line, through three a parabola."""
    steps, places, unit = np.arange(horizon), np.linspace(0.0, horizon - 1.0, knots), np.eye(knots)
    if interpolation == "cubic":
        return np.asarray(CubicSpline(places, unit)(steps))
    return np.stack([np.interp(steps, places, row) for row in unit], axis=1)
