"""Room for sampled rows, made once and filled again and again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mbrl_control.replay.layout import Layout, Rows, Words


@dataclass(frozen=True)
class Batch:
    """B rows, or B windows of k rows."""

    layout: Layout
    words: Words
    """[B, W] or [B, k, W]."""

    @staticmethod
    def empty(layout: Layout, *shape: int) -> Batch:
        """Room for rows [B] or windows [B, k]."""
        return Batch(layout, np.zeros((*shape, layout.words), dtype=np.uint64))

    @cached_property
    def rows(self) -> Rows:
        """[B] or [B, k] records; ``rows["position"]`` is a view [B, J] or [B, k, J] into the batch."""
        return self.layout.rows(self.words)

    def __len__(self) -> int:
        return len(self.words)

    def part(self, begin: int, end: int) -> Batch:
        """A batch of the rows or windows ``begin`` to ``end``, in the same room."""
        return Batch(self.layout, self.words[begin:end])
