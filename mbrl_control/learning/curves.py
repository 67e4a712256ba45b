"""Learning curves: what a fit says of every epoch, to whoever listens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol


class Curves(Protocol):
    """Takes the values of an epoch."""

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """``values`` by name, after ``epoch`` (from 1)."""
        ...


class TensorBoardCurves:
    """An event file for `tensorboard --logdir`; a fit that is resumed adds one more to the folder."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """See `Curves`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()  # what was learned before a kill is seen, and an epoch when it is over


@contextmanager
def tensorboard_curves(folder: Path) -> Iterator[TensorBoardCurves]:
    """Curves into ``folder``; OSError where it cannot be written."""
    from torch.utils import tensorboard  # slow to import, and only this needs it

    make: Any = tensorboard.SummaryWriter
    writer = make(str(folder))
    try:
        yield TensorBoardCurves(writer)
    finally:
        writer.close()
