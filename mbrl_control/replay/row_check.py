"""A check of every row that finds a torn, stale or rotten one; computed for thousands of rows at once.

Multilinear hash modulo 2^64 with odd keys (Lemire and Kaser, "Strongly universal string hashing is fast", The Computer
Journal 57(11), 2014): any change within one word is found with certainty, changes of several words but for a chance of
the order of 2^-60. It guards against accidents, not against people: anybody can compute it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.layout import Words

_OFFSET = np.array(0xD1B54A32D192ED03, dtype=np.uint64)
"""So that a row of zeros, as a hole in a file reads, does not pass."""


def row_checks(words: Words) -> NDArray[np.uint64]:
    """[N] the check that belongs into the last word of each row of ``words`` [N, W]."""
    return np.asarray(words[:, :-1] @ _keys(words.shape[1] - 1) + _OFFSET, dtype=np.uint64)


@cache
def _keys(count: int) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) of 1, 2, ...; part of the file format."""
    mixed = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((mixed ^ (mixed >> np.uint64(31))) | np.uint64(1), dtype=np.uint64)
