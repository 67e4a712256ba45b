"""The applied commands of the recent past, and their exact mean over any window.

Commands are held until the next one (zero-order hold), as the relay and the drives do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_control.signals import Array

CAPACITY = 1024
"""Commands that are kept: five seconds at the guard's 200 Hz."""


class CommandHistory:
    """Ring of ``capacity`` applied commands. Before the first command ever, the command was zero."""

    def __init__(self, joints: int, capacity: int = CAPACITY) -> None:
        if joints < 1 or capacity < 2:
            raise ValueError(f"joints must be >= 1 and capacity >= 2, got {joints} and {capacity}")
        self._capacity = capacity
        # Twice the capacity: rows stay contiguous and sorted, and are moved to the front once per round.
        self._stamps: NDArray[np.int64] = np.zeros(2 * capacity, dtype=np.int64)
        self._velocity = np.zeros((2 * capacity, joints))
        self._integral = np.zeros((2 * capacity, joints))
        self._count = 0
        self._forgot = False

    def __len__(self) -> int:
        return min(self._count, self._capacity)

    @property
    def last_stamp_ns(self) -> int | None:
        """Stamp of the newest command."""
        return int(self._stamps[self._count - 1]) if self._count else None

    @property
    def last_velocity(self) -> Array:
        """Newest applied command [J] rad/s (zero before the first)."""
        if not self._count:
            return np.zeros(self._velocity.shape[1])
        return np.array(self._velocity[self._count - 1], dtype=np.float64)

    def append(self, stamp_ns: int, velocity: Array) -> bool:
        """Add a command [J] rad/s; False when it is not newer than the last one (it is then left out)."""
        if velocity.shape != self._velocity.shape[1:] or not np.isfinite(velocity).all():
            raise ValueError(f"applied command must be {self._velocity.shape[1]} finite numbers, got {velocity}")
        last = self.last_stamp_ns
        if last is not None and stamp_ns <= last:
            return False
        if self._count == len(self._stamps):
            self._move_to_front()
        i = self._count
        self._stamps[i] = stamp_ns
        self._velocity[i] = velocity
        held = 0.0 if last is None else (stamp_ns - last) * 1e-9
        self._integral[i] = 0.0 if i == 0 else self._integral[i - 1] + self._velocity[i - 1] * held
        self._count = i + 1
        return True

    def mean(self, start_ns: int, end_ns: int) -> Array:
        """Mean command [J] rad/s over [start, end], the newest command held beyond its stamp."""
        return np.asarray(self.means(start_ns, end_ns - start_ns, 1)[0], dtype=np.float64)

    def means(self, start_ns: int, step_ns: int, steps: int) -> Array:
        """Mean commands [steps, J] rad/s of adjacent windows of ``step_ns`` from ``start_ns`` on.

        Raises ValueError for an empty window and for times that the ring has forgotten.
        """
        if step_ns <= 0 or steps < 1:
            raise ValueError(f"a window needs a positive length, got {steps} of {step_ns} ns")
        oldest = self._stamps[max(0, self._count - self._capacity)]
        if self._forgot and start_ns < oldest:
            raise ValueError(f"commands of {start_ns} ns are forgotten (oldest kept: {oldest} ns); raise the capacity")
        edges = self._integral_at(start_ns + step_ns * np.arange(steps + 1, dtype=np.int64))
        return (edges[1:] - edges[:-1]) / (step_ns * 1e-9)

    def _integral_at(self, stamps_ns: NDArray[np.int64]) -> Array:
        """Integral of the command from the first row on, at each stamp [N]: [N, J] rad."""
        rows = np.searchsorted(self._stamps[: self._count], stamps_ns, side="right") - 1
        known = np.maximum(rows, 0)
        held = (stamps_ns - self._stamps[known]) * 1e-9
        held[rows < 0] = 0.0
        return np.asarray(self._integral[known] + self._velocity[known] * held[:, None], dtype=np.float64)

    def _move_to_front(self) -> None:
        keep = slice(self._count - self._capacity, self._count)
        n = self._capacity
        self._stamps[:n] = self._stamps[keep]
        self._velocity[:n] = self._velocity[keep]
        self._integral[:n] = self._integral[keep] - self._integral[keep.start]
        self._count = n
        self._forgot = True
