"""Is a time linear in the number of rows? A line through the points is not enough: a constant is one, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_OFF = 0.1
"""Largest departure from the line through all, as a share of it."""
_PER_ROW = 0.2
"""By so much the time per row of the most rows may differ from that of the fewest: a constant share shows there."""


def linear(rows: Sequence[int], seconds: Sequence[float]) -> dict[str, Any]:
    """Time per epoch against ``rows``, increasing: the least-squares line, and whether time grows as the rows do.

    `growth`: the time of the most rows over that of the fewest, over the same of the rows; 1 for a time that is
    proportional, below for one with a constant share (27 % of the shortest time make it 0.8 over a factor of 4), above
    for one that grows faster than the rows. Rising, near 1 and near the line is `linear`.
    """
    slope, constant = np.polyfit(rows, seconds, 1)
    line = slope * np.array(rows) + constant
    off = float(np.abs(np.array(seconds) / line - 1.0).max())
    growth = (seconds[-1] / seconds[0]) / (rows[-1] / rows[0])
    return {
        "rows": list(rows),
        "seconds": [round(value, 3) for value in seconds],
        "us_per_row": round(1e6 * float(slope), 3),
        "constant_s": round(float(constant), 4),
        "growth": round(growth, 4),
        "largest_departure": round(off, 4),
        "linear": bool(slope > 0.0 and off <= _OFF and abs(growth - 1.0) <= _PER_ROW),
    }
