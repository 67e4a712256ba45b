"""Rows of a one-joint servo whose lag is not the prior's, seen with noise: for the tests of what fits do with it."""

from __future__ import annotations

import numpy as np

from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.signals import Transitions

DT_NS = 20_000_000
PRIOR = NominalPrior(0.02, (0.02,))
TRUE = NominalPrior(0.02, (0.12,))


def servo_rows(rows: int, seed: int, noise: float = 0.0) -> Transitions:
    """``noise`` [rad/s] of the measured speed alone; the motion has none."""
    generator = np.random.default_rng(seed)
    commands = np.repeat(generator.uniform(-0.6, 0.6, rows // 20 + 2), 20)[: rows + 3]
    q, dq = np.zeros(rows + 1), np.zeros(rows + 1)
    alpha, gain = TRUE.alpha.item(), TRUE.gain.item()
    for row in range(rows):
        error = dq[row] - commands[row + 3]
        q[row + 1] = q[row] + 0.02 * commands[row + 3] + gain * error
        dq[row + 1] = dq[row] - alpha * error - 0.02 * np.sin(3.0 * q[row])
    seen = dq + noise * generator.normal(size=rows + 1)
    history = np.stack([commands[index : index + rows] for index in range(3)], axis=1)[..., None]
    columns = [value[:, None] for value in (q[:-1], seen[:-1], commands[3:], q[1:], seen[1:], dq[1:])]
    zeros = np.zeros(rows, dtype=np.int64)
    return Transitions(columns[0], columns[1], history, *columns[2:], np.arange(rows) * DT_NS, zeros, zeros)
