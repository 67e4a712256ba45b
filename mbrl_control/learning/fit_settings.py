"""How a model is fitted: what is trained, for how long, where its state is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from mbrl_control.command_interface import CommandInterface
from mbrl_control.learning.method import Method

_ROUNDING = 1e-5
"""Of a sum of 200 products in float32 at most some 1e-6; operands rounded to bfloat16 err by 4e-3 each."""


@cache
def exact_onednn() -> bool:
    """Whether oneDNN, where it may round what it multiplies to bfloat16, does not on this processor: it is tried."""
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 256, 200, generator=generator), torch.randn(2, 200, 200, generator=generator)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        found = torch.bmm(left, right).double()
    finally:
        torch.set_float32_matmul_precision(precision)
    truth = torch.bmm(left.double(), right.double())
    return bool((found - truth).abs().max() < _ROUNDING * truth.abs().max())


@dataclass(frozen=True, slots=True)
class Checkpointing:
    """Where the state of a running fit is kept, and how often."""

    folder: Path
    every: int = 5
    """Epochs."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"checkpointing.every: {self.every} epochs; give 1 or more")


@dataclass(frozen=True, slots=True)
class RolloutLoss:
    """A loss of open-loop motion beside that of one step, see `rollout_loss`."""

    steps: int = 15
    """Model steps without a look at the rows."""
    weight: float = 1.0
    """Of the mean squared error in units of the prior's, beside the one-step loss per output, which is of order one."""
    batch_size: int = 32
    """Windows per gradient step; each costs as much as ``steps`` rows, one after the other."""

    def __post_init__(self) -> None:
        if self.steps < 2 or self.batch_size < 1 or not 0.0 < self.weight < float("inf"):
            raise ValueError(
                f"rollout: steps {self.steps}, weight {self.weight}, batch_size {self.batch_size}; "
                "give at least 2 steps, a positive weight and batch_size"
            )


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How long and how hard to train."""

    trained_members: int = 7
    """Of an ensemble; the other methods train one network."""
    elites: int = 5
    """Members of the model that comes out: the best of an ensemble, the draws of the other methods."""
    width: int = 128
    depth: int = 2
    """Hidden layers."""
    epochs: int = 60
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-5
    patience: int = 10
    """Epochs without a better held-out score before the fit ends."""
    holdout: float = 0.1
    """Share of rows held out, in blocks of ``holdout_block`` neighbours."""
    holdout_block: int = 50
    max_seconds: float = 60.0
    """A fit cut off here is usable but not reproducible; `FitResult.cut_off` says so. Resumed, it goes on."""
    method: Method = Method.ENSEMBLE
    dropout: float = 0.05
    """Share of hidden units left out; of the method of that name alone."""
    rollout: RolloutLoss | None = None
    checkpoint: Checkpointing | None = None
    threads: int = 1
    """Of torch; beside running control there is none to spare."""
    onednn: bool | None = None
    """Matrix products by oneDNN instead of torch's BLAS: twice as fast on some processors (`bench fit`), the weights
    differ in the last digits. None: where it multiplies float32 as such (`exact_onednn`); with AMX it does not."""

    def __post_init__(self) -> None:
        if not 0.0 < self.dropout < 1.0:
            raise ValueError(f"dropout: {self.dropout} is no share of units; give one between 0 and 1")
        if self.threads < 1:
            raise ValueError(f"threads: {self.threads}; give 1 or more")

    @contextmanager
    def on_torch(self) -> Iterator[None]:
        """Torch computes as these settings say, and afterwards as before."""
        threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
        by_onednn = exact_onednn() if self.onednn is None else self.onednn
        torch.set_num_threads(self.threads)
        torch.set_float32_matmul_precision("medium" if by_onednn else "highest")
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(precision)

    @property
    def networks(self) -> int:
        """Trained side by side."""
        return self.trained_members if self.method is Method.ENSEMBLE else 1

    @staticmethod
    def deployed(interface: CommandInterface) -> FitSettings:
        """What an arm's planner can afford every step: beside a network for torques stands the rigid body."""
        return FitSettings() if interface is CommandInterface.VELOCITY else FitSettings(width=64)
