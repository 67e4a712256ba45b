"""What a cycle hands to the next one: mean and elites of its samples, moved on by the time that has passed."""

from __future__ import annotations

import numpy as np

from mbrl_control.planning.methods.protocol import Method
from mbrl_control.planning.optimize import Begin, Result
from mbrl_control.signals import Array

HELD = 0.8
"""Share of the last step that is left behind the end, per step that has passed. Held as it is (1) it hands its noise on
from cycle to cycle, a random walk; at rest at once (0) an arm that needs several cycles to get away does not."""


class WarmStart:
    """Of one arm; ``count`` elites are handed on, and the mean where ``with_mean``."""

    def __init__(self, joints: int, count: int, with_mean: bool = True) -> None:
        self._joints, self._count, self._with_mean = joints, count, with_mean
        self._rows, self._start_ns = np.zeros((0, 0, joints)), 0
        self._rest = np.zeros(joints)

    def forget(self) -> None:
        """Another epoch."""
        self._rows, self._rest = self._rows[:0], np.zeros_like(self._rest)

    def fit(self, horizon: int) -> None:
        """Another model's horizon: rows of another length are no guess for it."""
        if self._rows.shape[1] != horizon:
            self._rows = np.zeros((0, horizon, self._joints))

    def change(self, torque: Array) -> None:
        """The disturbance [J] that the rows contain besides commands has been given up: the commands are what stays."""
        self._rows, self._rest = self._rows - torque, self._rest - torque

    def settle(self, rest: Array) -> None:
        """The command [J] under which the arm stays where it comes to: rows go there behind their end. Zero is none
        for an arm that sags, which would sink with every cycle and be lifted in the next."""
        self._rest = rest

    def keep(self, result: Result, start_ns: int) -> None:
        """Of a cycle whose plan began at ``start_ns``."""
        self._rows, self._start_ns = np.concatenate([result.mean[None], result.elites]), start_ns

    def begin(self, method: Method, start_ns: int, dt_ns: int, along: float | Array = 0.0) -> Begin:
        """For a plan that begins at ``start_ns``; ``along`` [J] is what it takes, besides, to stay with the goal at the
        end of the horizon."""
        shape = self._rows.shape[1:]
        if not len(self._rows):
            return Begin(np.zeros(shape), np.zeros((0, *shape)))
        rows = self._rows[: 1 + self._count]
        passed = (start_ns - self._start_ns) / dt_ns
        end = self._rest + along
        ends = end + (rows[:, -1:] - end) * HELD**passed
        moved = self.moved(np.concatenate([rows, ends], axis=1), start_ns, dt_ns)[:, :-1]
        mean, elites = moved[0] if self._with_mean else np.zeros(shape), moved[1:]
        return Begin(elites.mean(axis=0) if method.begins_at_elites and len(elites) else mean, elites)

    def moved(self, rows: Array, start_ns: int, dt_ns: int) -> Array:
        """Rows [N, H, J] of the last cycle at the times of a plan that begins at ``start_ns``; held behind it."""
        horizon = rows.shape[1]
        shift = (start_ns - self._start_ns) / dt_ns
        place = np.clip(np.arange(horizon) + shift, 0.0, horizon - 1.0)
        below = np.minimum(place.astype(int), horizon - 2)
        share = (place - below)[None, :, None]
        return np.asarray(rows[:, below] * (1.0 - share) + rows[:, below + 1] * share)
