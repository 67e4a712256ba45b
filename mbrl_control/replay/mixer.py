"""Batches from several buffers in a stated ratio, exact over time: whoever is due next gives the next row.

The ratio is of whole numbers, 1 : 19 for one real row in twenty. One period of turns is laid out beforehand, so that
after any number n of rows every buffer has given its share of n to within less than one row, and exactly its share
after whole periods. Turns go by the earliest deadline among those released (Baruah et al., "Proportionate progress",
Algorithmica 15, 1996; one resource).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.batch import Batch
from mbrl_control.replay.buffer import ReplayBuffer
from mbrl_control.replay.buffer_errors import BufferFault
from mbrl_control.replay.provenance import OriginTable
from mbrl_control.replay.windows import sample_windows

MAX_PERIOD = 10_000


class Mixer:
    """Samples from buffers of one layout. Its rows' ``origin`` is a number of ``origins`` here, not of a buffer's."""

    def __init__(self, buffers: Mapping[str, ReplayBuffer], ratio: Mapping[str, int], drawn: int = 0) -> None:
        """``drawn``: rows or windows given so far, of a mixer that goes on. BufferFault: layouts differ, bad ratio."""
        if not buffers or set(buffers) != set(ratio):
            raise BufferFault("mixer", "ratio", f"names {sorted(ratio)}", f"name exactly {sorted(buffers)}")
        if len({buffer.spec.layout for buffer in buffers.values()}) != 1:
            raise BufferFault("mixer", "buffers", "differ in their layout", "mix buffers of one arm and one layout")
        self._buffers = dict(buffers)
        self._given = turns([ratio[name] for name in buffers])
        self._numbers = {name: np.empty(0, dtype=np.uint32) for name in buffers}
        self.origins = OriginTable()
        self.drawn = drawn

    def sample(self, batch: Batch, generator: np.random.Generator, step: int = 1) -> dict[str, slice]:
        """Fill ``batch`` of rows [B] or windows [B, k]; says which of them came from which buffer.

        BufferFault when a buffer whose turn it is has none; nothing counts as drawn then.
        """
        counts = given(self._given, self.drawn + len(batch)) - given(self._given, self.drawn)
        parts, begin = {}, 0
        for (name, buffer), count in zip(self._buffers.items(), counts.tolist(), strict=True):
            parts[name] = slice(begin, begin + count)
            if count:
                self._fill(name, buffer, batch.part(begin, begin + count), generator, step)
            begin += count
        self.drawn += len(batch)
        return parts

    def _fill(self, name: str, buffer: ReplayBuffer, part: Batch, generator: np.random.Generator, step: int) -> None:
        if part.words.ndim == 2:
            buffer.sample(part, generator)
        else:
            sample_windows(buffer, part, generator, step)
        known = self._numbers[name]
        if len(known) < len(buffer.origins):
            added = [buffer.origins[number] for number in range(len(known), len(buffer.origins))]
            known = self._numbers[name] = np.concatenate([known, self.origins.numbers(added)])
        part.rows["origin"] = known[part.rows["origin"]]


def turns(ratio: Sequence[int]) -> NDArray[np.int64]:
    """[R + 1, buffers] how many each has given after 0..R rows of a period R."""
    if any(not isinstance(weight, int) or weight <= 0 for weight in ratio):
        raise BufferFault("mixer", "ratio", f"{list(ratio)} are not positive whole numbers", "leave out who gives none")
    weights = [weight // math.gcd(*ratio) for weight in ratio]
    period = sum(weights)
    if period > MAX_PERIOD:
        raise BufferFault("mixer", "ratio", f"repeats after {period} rows", f"round it to at most {MAX_PERIOD}")
    counts = np.zeros((period + 1, len(weights)), dtype=np.int64)
    for row in range(period):
        taken = counts[row].tolist()
        released = [i for i, weight in enumerate(weights) if taken[i] * period < (row + 1) * weight]
        due = min(released, key=lambda i: -(-(taken[i] + 1) * period // weights[i]))
        counts[row + 1] = counts[row]
        counts[row + 1, due] += 1
    return counts


def given(counts: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """[buffers] how many each gives among the first ``rows``."""
    period = len(counts) - 1
    return np.asarray(rows // period * counts[-1] + counts[rows % period], dtype=np.int64)
